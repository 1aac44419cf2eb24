"""A recording on disk -> PCM as it is streamed: 16 bits, interleaved, in portions.

Whatever soundfile reads: WAV, FLAC, OGG, MP3. The file keeps its sample rate where the protocol takes it
(the server resamples), and is read in portions: a long one never stands in memory.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import soxr

from emotion.audio import MAX_RATE, MIN_RATE, RESAMPLING_QUALITY, Samples, to_pcm
from emotion.contract import SAMPLE_RATE
from emotion.errors import AudioError

READ_S: Final = 1.0  # read at a time


@dataclass(frozen=True)
class Recording:
    """An open file.

    Attributes:
        path: of the file.
        sample_rate: Hz of the PCM.
        channels: names of the PCM's interleaved channels.
        duration_s: seconds, as the file's header says.
        notices: what was done to the audio that its owner might not expect.
    """

    path: Path
    sample_rate: int
    channels: tuple[str, ...]
    duration_s: float
    notices: tuple[str, ...]
    _file: Any

    def portions(self, seconds: float) -> Iterator[bytes]:
        """The recording from where it was last read: pcm_s16le, so many seconds at a time.

        Args:
            seconds: of each portion but the last, which is what is left.

        Raises:
            AudioError: the file cannot be read on, or holds a sample that is not finite.
        """
        size = round(seconds * self.sample_rate) * len(self.channels) * 2
        rest = bytearray()
        for pcm in self._pcm():
            rest += pcm
            while len(rest) >= size:
                yield bytes(rest[:size])
                del rest[:size]
        if rest:
            yield bytes(rest)

    def _pcm(self) -> Iterator[bytes]:
        resampled = self._file.samplerate != self.sample_rate
        columns = self._blocks()
        for samples in _resampled(columns, self._file.samplerate) if resampled else columns:
            yield to_pcm(samples).tobytes()

    def _blocks(self) -> Iterator[Samples]:
        """float32 [n, channels] at the file's rate, mixed down where that was announced."""
        frames = round(READ_S * self._file.samplerate)
        while len(samples := self._read(frames)):
            if not np.isfinite(samples).all():
                raise AudioError(
                    f"{self.path}: holds samples that are not finite numbers; save it again as PCM"
                )
            mixed = len(self.channels) < samples.shape[1]
            yield samples.mean(axis=1, keepdims=True) if mixed else samples

    def _read(self, frames: int) -> Samples:
        try:
            samples: Samples = self._file.read(frames, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError(f"{self.path}: cannot be read on: {_reason(error)}") from error
        return samples


@contextmanager
def open_recording(
    path: Path, channels: tuple[str, ...] | None = None, *, apart: bool = False
) -> Iterator[Recording]:
    """Opens a file for streaming.

    Args:
        path: of a file that soundfile reads.
        channels: names of the file's channels.
        apart: whether a file with several channels and no names for them keeps them apart, as `left`
            and `right` or `channel-1`, `channel-2` and so on; else it is mixed down to `mono`.

    Raises:
        AudioError: there is no such file, it is not audio, it is empty, or it has another number of
            channels than named.
    """
    with _open(path) as file:
        if channels is None and apart:
            channels = usual_names(file.channels)
        yield _described(path, file, channels)


def usual_names(count: int) -> tuple[str, ...]:
    """What the channels of a file are called where nobody has named them."""
    usual = {1: ("mono",), 2: ("left", "right")}
    return usual.get(count) or tuple(f"channel-{number + 1}" for number in range(count))


class _Forwards(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from front to back.

    Where a file can be sought, soundfile seeks after every read, to where the file stands anyway. An
    MP3's decoder then forgets the bits that frames keep in those before them: samples after each read
    would be others than those of one read of the whole.
    """

    def seekable(self) -> bool:
        """No: nobody seeks."""
        return False


def _open(path: Path) -> Any:
    if not path.exists():
        raise AudioError(f"{path}: no such file")
    if not path.is_file():
        raise AudioError(f"{path}: expected an audio file, found a folder or a device")
    try:
        # As bytes: soundfile would not encode a name that is not UTF-8.
        return _Forwards(os.fsencode(path) if os.name == "posix" else path)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: headerless .raw files
        formats = "expected WAV, FLAC, OGG or MP3"
        raise AudioError(
            f"{path}: cannot be read as audio ({_reason(error)}); {formats}"
        ) from error


def _described(path: Path, file: Any, channels: tuple[str, ...] | None) -> Recording:
    rate, count, notices = file.samplerate, file.channels, []
    if not file.frames:
        raise AudioError(f"{path}: holds no audio")
    if channels is not None and len(channels) != count:
        raise AudioError(
            f"{path}: has {count} channel{'s' * (count != 1)}, "
            f"but --channels names {len(channels)} ({','.join(channels)})"
        )
    if channels is None and count > 1:
        notices.append(
            f"{path.name}: {count} channels mixed down to one; "
            "name them to keep them apart, for example --channels customer,agent"
        )
    sent_rate = rate
    if not MIN_RATE <= rate <= MAX_RATE:
        sent_rate = SAMPLE_RATE
        notices.append(
            f"{path.name}: resampled from {rate:,} Hz to {SAMPLE_RATE:,} Hz; "
            f"streams take {MIN_RATE:,} to {MAX_RATE:,} Hz"
        )
    names = channels or ("mono",)
    return Recording(path, sent_rate, names, file.frames / rate, tuple(notices), file)


def _resampled(blocks: Iterator[Samples], rate: int) -> Iterator[Samples]:
    """To 16 kHz what `emotion.audio.Resampler` leaves alone, because no stream may have such a rate."""
    stream: Any = None
    width = 1
    for samples in blocks:
        width = samples.shape[1]
        stream = stream or soxr.ResampleStream(
            rate, SAMPLE_RATE, width, dtype="float32", quality=RESAMPLING_QUALITY
        )
        yield stream.resample_chunk(np.ascontiguousarray(samples)).reshape(-1, width)
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, width), np.float32), last=True).reshape(-1, width)


def _reason(error: Exception) -> str:
    """The last part of "Error opening 'a.wav': Format not recognised."; the file is named already."""
    return str(error).rpartition(": ")[2].rstrip(".").lower()
