"""One model of a cross-validation, and the clips that it never heard, under every condition.

Embeddings are kept on disk, a file for each model and condition, so that an interrupted evaluation
goes on where it was. Nothing that a head or its statistics learn from comes from here.
"""

import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from emotion.errors import CorpusError
from emotion.vad import SPEECH_PROBABILITY, VoiceActivity, voice_path
from train.audio import Backend, read_mono, usable_backend
from train.checkpoint import Checkpoint, load_checkpoint, load_clip_names
from train.conditions import Bystanders, Noise, Waveform, mixed, telephone, voiced
from train.corpora import Clip, emotions_of, speakers_of
from train.encoder import CONTEXT_SAMPLES, Embedder
from train.features import configuration
from train.files import write
from train.live import Said, judged_windows, live
from train.streams import Voice
from train.windows import HOP_S, WINDOW_S, speech_s, windows

VERSION: Final = 1
"""Raised when the code changes what a condition sounds like or how windows are cut."""

BATCH: Final = 8

SNRS_DB: Final = (20, 10, 5)
NOISES: Final[tuple[Noise, ...]] = ("speech-shaped", "babble")

MIN_SPEECH: Final = 0.5
"""Share of speech from which a window's label is taken to be its clip's."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Windows:
    """The windows of all clips with at least half speech.

    Attributes:
        embeddings: float32 [m, D].
        clip: which clip each is of: int64 [m].
        samples: how long each is: int64 [m].
        cut: how many windows there are, silent ones included.
    """

    embeddings: npt.NDArray[np.float32]
    clip: npt.NDArray[np.int64]
    samples: npt.NDArray[np.int64]
    cut: int


class Fold:
    """One model and its held-out clips.

    Args:
        folder: a run, one of a cross-validation's.
        corpus: all clips.
        cache: folder for embeddings.
        voice: voice activity.

    Attributes:
        name: the folder's name.
        checkpoint: the model.
        clips: the held-out ones.

    Raises:
        ModelError: the run cannot be read.
        CorpusError: a held-out clip is not in the corpus.
    """

    def __init__(
        self, folder: Path, corpus: Sequence[Clip], cache: Path, voice: VoiceActivity
    ) -> None:
        self.name = folder.name
        self.checkpoint: Checkpoint = load_checkpoint(folder)
        held_out = frozenset(load_clip_names(folder).held_out)
        self.clips = tuple(clip for clip in corpus if clip.name in held_out)
        if not self.clips or len(self.clips) != len(held_out):
            raise CorpusError(
                f"{folder}: {len(self.clips)} of its {len(held_out)} held-out clips are in the "
                "corpus; give the --data it was trained on"
            )
        self._cache, self._voice = cache, voice
        self._backend: Backend = usable_backend(self.checkpoint.recipe.audio_backend)

    @property
    def emotions(self) -> npt.NDArray[np.int64]:
        """Indices into EMOTIONS: int64 [n]."""
        return emotions_of(self.clips)

    @property
    def actors(self) -> npt.NDArray[np.int64]:
        """int64 [n]."""
        return speakers_of(self.clips)

    @cached_property
    def waveforms(self) -> list[Waveform]:
        """As decoded, cut at 30 s: float32 [any] each."""
        return [read_mono(clip.path, self._backend)[:CONTEXT_SAMPLES] for clip in self.clips]

    def clean(self) -> npt.NDArray[np.float32]:
        """Embeddings of the whole clips: float32 [n, D]."""
        return self._embedded("clean", lambda: self.waveforms)

    def over_telephone(self) -> npt.NDArray[np.float32]:
        """Likewise, heard through a telephone."""
        return self._embedded("telephone", lambda: [telephone(w) for w in self.waveforms])

    def in_noise(self, kind: Noise, snr_db: int) -> npt.NDArray[np.float32]:
        """Likewise, in noise made of the fold's other actors, whom the model has not heard either."""

        def noisy() -> list[Waveform]:
            return [
                mixed(w, self._bystanders[clip.actor].noise(kind, clip.name, len(w)), snr_db)
                for clip, w in zip(self.clips, self.waveforms, strict=True)
            ]

        return self._embedded(f"{kind}-{snr_db}dB", noisy)

    def windows(self) -> Windows:
        """The windows that the server would cut out of each clip, those with half speech embedded."""

        def compute() -> dict[str, npt.NDArray[Any]]:
            cut = [
                (i, w) for i, wave in enumerate(self.waveforms) for w in windows(wave, self._voice)
            ]
            spoken = [(i, w) for i, w in cut if w.speech_ratio >= MIN_SPEECH]
            rows = embed(self.checkpoint.embedder, [window.waveform for _, window in spoken])
            return {
                "embeddings": rows,
                "clip": np.array([i for i, _ in spoken], dtype=np.int64),
                "samples": np.array([w.end - w.start for _, w in spoken], dtype=np.int64),
                "cut": np.array(len(cut)),
            }

        kept = self._kept("windows", compute)
        return Windows(kept["embeddings"], kept["clip"], kept["samples"], int(kept["cut"]))

    def live(self, calls: Sequence[npt.NDArray[np.int64]]) -> list[list[Said]]:
        """What a session that adapts says of calls.

        Args:
            calls: each the clips in the order in which they are heard, by their indices.
        """
        sounds = [[self.waveforms[i] for i in call] for call in calls]
        digest = hashlib.sha256(b"".join(call.tobytes() + b"end" for call in calls)).hexdigest()

        def compute() -> dict[str, npt.NDArray[Any]]:
            heard = [judged_windows(sound, self._voice) for sound in sounds]
            rows = embed(self.checkpoint.embedder, [window for call in heard for window in call])
            return {"embeddings": rows, "windows": np.array([len(call) for call in heard])}

        kept = self._kept(f"live-{digest[:16]}", compute)
        parts = np.split(kept["embeddings"], kept["windows"].cumsum()[:-1])
        return [
            live(sound, self.checkpoint, part, self._voice, MIN_SPEECH)
            for sound, part in zip(sounds, parts, strict=True)
        ]

    def voices(self, embeddings: npt.NDArray[np.float32] | None = None) -> dict[int, Voice]:
        """Each held-out actor's clips, by actor.

        Args:
            embeddings: of the clips under some condition; clean where None. How much speech there
                is in a clip is always that of the clean one.
        """
        embeddings = self.clean() if embeddings is None else embeddings
        seconds = self._kept("speech", lambda: {"speech_s": self._speech_s()})["speech_s"]
        everyone = Voice(embeddings, self.emotions, seconds)
        return {
            actor: everyone[np.flatnonzero(self.actors == actor)]
            for actor in sorted(set(self.actors.tolist()))
        }

    def _speech_s(self) -> npt.NDArray[np.float64]:
        return np.array([speech_s(waveform, self._voice) for waveform in self.waveforms])

    @cached_property
    def _bystanders(self) -> dict[int, Bystanders]:
        """By actor: the fold's others."""
        voices = [
            (clip.actor, voiced(w)) for clip, w in zip(self.clips, self.waveforms, strict=True)
        ]
        return {
            actor: Bystanders([voice for other, voice in voices if other != actor])
            for actor in set(self.actors.tolist())
        }

    def _embedded(
        self, condition: str, sound: Callable[[], list[Waveform]]
    ) -> npt.NDArray[np.float32]:
        embedder = self.checkpoint.embedder
        return self._kept(condition, lambda: {"embeddings": embed(embedder, sound())})["embeddings"]

    @cached_property
    def _key(self) -> str:
        """A digest of both models' weights and settings, of how windows are cut, and of the clips'
        samples."""
        digest = hashlib.sha256()
        for clip, waveform in zip(self.clips, self.waveforms, strict=True):
            digest.update(clip.name.encode())
            digest.update(waveform.tobytes())
        parts = [
            VERSION,
            [WINDOW_S, HOP_S, MIN_SPEECH, SPEECH_PROBABILITY],
            hashlib.sha256(voice_path().read_bytes()).hexdigest(),
            configuration(self.checkpoint.embedder, self._backend),
            digest.hexdigest(),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _kept(
        self, what: str, compute: Callable[[], dict[str, npt.NDArray[Any]]]
    ) -> dict[str, npt.NDArray[Any]]:
        """Arrays from the cache, or else computed and put there."""
        path = self._cache / "held-out" / self._key / f"{what}.npz"
        kept = _loaded(path)
        if kept is None:
            kept = compute()
            write(path, partial(_save, kept))
        return kept


def embed(embedder: Embedder, waveforms: Sequence[Waveform]) -> npt.NDArray[np.float32]:
    """Embeddings of waveforms of any lengths, those of equal length together: float32 [n, D]."""
    rows = np.zeros((len(waveforms), embedder.dim), dtype=np.float32)
    by_length = sorted(range(len(waveforms)), key=lambda i: len(waveforms[i]))
    with torch.inference_mode():
        for batch in _batches(by_length, waveforms):
            stacked = torch.from_numpy(np.stack([waveforms[i] for i in batch]))
            rows[batch] = embedder(stacked).numpy()
    return rows


def _batches(order: Sequence[int], waveforms: Sequence[Waveform]) -> list[list[int]]:
    batches: list[list[int]] = []
    for i in order:
        last = batches[-1] if batches else []
        if last and len(last) < BATCH and len(waveforms[last[0]]) == len(waveforms[i]):
            last.append(i)
        else:
            batches.append([i])
    return batches


def _loaded(path: Path) -> dict[str, npt.NDArray[Any]] | None:
    """What was saved; None where nothing was, or, after a disk's mishap, nothing whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        _log.warning("%s: damaged cache entry, computing it again", path)
        return None


def _save(arrays: dict[str, npt.NDArray[Any]], path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
