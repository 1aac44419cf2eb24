"""Recordings in memory, so that pieces of many of them can be cut at once, on whatever device."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emotion.errors import AudioError, CorpusError
from emotion.progress import track
from train.audio import Backend, read_mono
from train.corpora import Clip, report_skipped
from train.frontend import SAMPLE_RATE

FRAME: Final = 320  # samples, 20 ms
SPEECH_RANGE_DB: Final = 30.0
"""Frames so far below a recording's loudest one still count as speech: what an ITU-T P.56 meter takes
for active speech lies within about 16 dB of its mean, and the loudest frame some 10 dB above that."""
LONGEST_S: Final = 30  # what Whisper's positions reach to
FULL_SCALE: Final = 32_768.0


@dataclass(frozen=True)
class Waves:
    """Recordings one behind the other.

    Attributes:
        samples: int16 [all of them], 16 kHz.
        starts: where each recording begins: int64 [n].
        lengths: int64 [n], samples.
        speech: where each one's speech begins and ends, in samples from its start: int64 [n, 2].
    """

    samples: Tensor
    starts: Tensor
    lengths: Tensor
    speech: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> "Waves":
        """Some of the recordings, by row numbers; the samples are shared."""
        index = torch.from_numpy(rows).to(self.device)
        return Waves(self.samples, self.starts[index], self.lengths[index], self.speech[index])

    @property
    def speech_s(self) -> Tensor:
        """Seconds from the first speech to the last: float32 [n]."""
        return (self.speech[:, 1] - self.speech[:, 0]).float() / SAMPLE_RATE

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.samples.device

    def digest(self) -> str:
        """Of the recordings' samples, and of where speech lies in them; of no other recording's."""
        samples = self.samples.cpu().numpy()
        digest = hashlib.sha256(self.lengths.cpu().numpy().tobytes())
        digest.update(self.speech.cpu().numpy().tobytes())
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            digest.update(samples[start : start + length].tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device) -> "Waves":
        """A copy on another device."""
        parts = (self.samples, self.starts, self.lengths, self.speech)
        return Waves(*(part.to(device) for part in parts))

    def recording(self, row: int) -> Tensor:
        """A whole one: float32 [samples], -1 to 1."""
        start, length = int(self.starts[row]), int(self.lengths[row])
        return self.samples[start : start + length].float() / FULL_SCALE

    def pieces(self, rows: Tensor, first: Tensor, speed: Tensor, samples: int) -> Tensor:
        """Pieces of recordings, resampled where their speed is not 1; silence outside a recording.

        Pitch, formants and tempo move together, as on a tape. Between samples a cubic passes through
        the four around (Catmull and Rom 1974).

        Args:
            rows: int64 [B], which recordings.
            first: float32 [B], where each piece begins, in samples; may lie before the start.
            speed: float32 [B], source samples a sample.
            samples: how many to cut.

        Returns:
            float32 [B, samples], -1 to 1.
        """
        steps = torch.arange(samples, device=self.device)
        position = first[:, None] + speed[:, None] * steps
        whole = position.floor().long()
        at = position - whole
        before, here, after, beyond = (self._read(rows, whole + shift) for shift in (-1, 0, 1, 2))
        bend = 2 * before - 5 * here + 4 * after - beyond
        curve = 3 * (here - after) + beyond - before
        return here + 0.5 * at * (after - before + at * (bend + at * curve))

    def _read(self, rows: Tensor, position: Tensor) -> Tensor:
        lengths = self.lengths[rows][:, None]
        inside = (position >= 0) & (position < lengths)
        index = self.starts[rows][:, None] + position.clamp(min=0).minimum(lengths - 1)
        return self.samples[index].float() / FULL_SCALE * inside


def read_waves(clips: Sequence[Clip], backend: Backend = "soundfile") -> tuple[list[Clip], Waves]:
    """Decodes recordings, their first 30 s; names those that cannot be read and leaves them out.

    Returns:
        The clips that could be read, and their recordings.

    Raises:
        CorpusError: no clip could be read.
    """
    read: list[Clip] = []
    found: list[npt.NDArray[np.int16]] = []
    unreadable: list[str] = []
    for clip in track(clips, "recordings"):
        try:
            found.append(to_int16(read_mono(clip.path, backend)[: LONGEST_S * SAMPLE_RATE]))
            read.append(clip)
        except AudioError as error:
            unreadable.append(str(error))
    report_skipped(unreadable)
    if not read:
        raise CorpusError(f"none of the {len(clips)} recordings could be read")
    lengths = np.array([len(wave) for wave in found], dtype=np.int64)
    speech = np.array([speech_span(wave) for wave in found], dtype=np.int64)
    parts = (np.concatenate(found), np.cumsum(lengths) - lengths, lengths, speech)
    return read, Waves(*(torch.from_numpy(part) for part in parts))


def to_int16(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """float32 [n], -1 to 1 -> int16 [n]; what is louder is clipped."""
    steps = np.rint(waveform * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1)
    return np.asarray(steps, dtype=np.int16)


def speech_span(wave: npt.NDArray[np.int16]) -> tuple[int, int]:
    """First sample of the first frame that is speech by its power, and one past the last one's."""
    whole = len(wave) // FRAME * FRAME
    power = np.square(wave[:whole].astype(np.float64)).reshape(-1, FRAME).mean(axis=1)
    speech = np.flatnonzero(power >= power.max() * 10 ** (-SPEECH_RANGE_DB / 10))
    return int(speech[0]) * FRAME, int(speech[-1] + 1) * FRAME
