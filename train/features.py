"""Cached embeddings: a clip goes through Whisper once, whoever asks and however often.

An entry's name is the digest of the recording's bytes, its folder's name the digest of everything
else that decides the embedding. One file a clip, each whole or absent: Ctrl-C loses at most one
clip's work.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from emotion.errors import AudioError, CorpusError
from emotion.progress import track
from train.audio import Backend, read_mono, usable_backend
from train.checkpoint import weights_sha256
from train.corpora import Clip, report_skipped
from train.encoder import CONTEXT_SAMPLES, Embedder
from train.files import replacing
from train.frontend import SAMPLE_RATE

VERSION: Final = 1
"""Raised when the code changes what an embedding is."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Features:
    """Embeddings of a corpus.

    Attributes:
        clips: the clips that could be read, in the corpus's order.
        embeddings: float32 [clips, D].
        crops: of random pieces of each clip, float32 [clips, n, D]; None without.
    """

    clips: tuple[Clip, ...]
    embeddings: npt.NDArray[np.float32]
    crops: npt.NDArray[np.float32] | None = None

    @property
    def emotions(self) -> npt.NDArray[np.int64]:
        """Indices into EMOTIONS: int64 [clips]."""
        return np.array([clip.emotion for clip in self.clips], dtype=np.int64)

    @property
    def actors(self) -> npt.NDArray[np.int64]:
        """int64 [clips]."""
        return np.array([clip.actor for clip in self.clips], dtype=np.int64)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> "Features":
        """A subset, by row numbers."""
        crops = None if self.crops is None else self.crops[rows]
        return Features(tuple(self.clips[row] for row in rows), self.embeddings[rows], crops)

    def with_crops(self) -> "Features":
        """The clips and, behind them, their pieces, each a clip of its own."""
        if self.crops is None:
            return self
        count = self.crops.shape[1]
        pieces = self.crops.reshape(-1, self.crops.shape[2])
        clips = tuple(clip for clip in self.clips for _ in range(count))
        return Features(self.clips + clips, np.concatenate([self.embeddings, pieces]))

    def __len__(self) -> int:
        return len(self.clips)


def default_cache() -> Path:
    """$XDG_CACHE_HOME/emotion-monitor/features, or ~/.cache in its place."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "emotion-monitor" / "features"


def extract(
    clips: Sequence[Clip], embedder: Embedder, cache: Path, *, pieces: bool = True
) -> Features:
    """Embeddings of all clips, from the cache where it has them.

    Files that cannot be read are named in the log and left out. Recordings over 30 s are cut there,
    as Whisper cuts them.

    Args:
        clips: the corpus.
        embedder: in evaluation mode; its recipe says how to decode.
        cache: the cache's root, made where it is missing.
        pieces: whether to embed the recipe's pieces of the clips too, for training.

    Raises:
        CorpusError: no clip could be read.
    """
    backend = usable_backend(embedder.recipe.audio_backend)
    folder = cache / configuration(embedder, backend)
    pieces = pieces and embedder.recipe.crops > 0
    found: list[tuple[Clip, npt.NDArray[np.float32], npt.NDArray[np.float32] | None]] = []
    unreadable: list[str] = []
    for clip in track(clips, "features"):
        try:
            recording = _Recording(clip, embedder, backend)
            cut = recording.crops(folder) if pieces else None
            found.append((clip, recording.embedding(folder), cut))
        except AudioError as error:
            unreadable.append(str(error))
    report_skipped(unreadable)
    if not found:
        raise CorpusError(f"none of the {len(clips)} recordings could be read")
    crops = [row for _, _, row in found if row is not None]
    return Features(
        tuple(clip for clip, _, _ in found),
        np.stack([row for _, row, _ in found]),
        np.stack(crops) if crops else None,
    )


def configuration(embedder: Embedder, backend: Backend) -> str:
    """A digest of all that decides an embedding besides the recording."""
    recipe = embedder.recipe
    fields: dict[str, object] = {
        "version": VERSION,
        "weights": weights_sha256(embedder),
        "heads": embedder.config.encoder_attention_heads,
        "activation": embedder.config.activation_function,
        "backend": backend,
        "context": recipe.context,
        "layers": recipe.layers,
        "final_norm": recipe.final_norm,
        "pooling": recipe.pooling,
    }
    if any(frames > 1 for frames in recipe.merge):
        fields["merge"] = recipe.merge
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:32]


class _Recording:
    """A clip's file; read and decoded only where the cache does not have what is asked for."""

    def __init__(self, clip: Clip, embedder: Embedder, backend: Backend) -> None:
        self._clip, self._embedder, self._backend = clip, embedder, backend
        self._waveform: npt.NDArray[np.float32] | None = None
        try:
            self._digest = hashlib.sha256(clip.path.read_bytes()).hexdigest()
        except OSError as error:
            raise AudioError(f"{clip.path}: cannot be read: {error.strerror}") from error

    def embedding(self, folder: Path) -> npt.NDArray[np.float32]:
        """Of the whole clip: float32 [D]."""
        return self._through(
            folder / f"{self._digest}.npy",
            (self._embedder.dim,),
            lambda: self._embed(self._decoded()),
        )

    def crops(self, folder: Path) -> npt.NDArray[np.float32]:
        """Of its random pieces: float32 [n, D]. The clip itself seeds them: they are always the same."""
        recipe = self._embedder.recipe
        shortest, longest = recipe.crop_s
        name = f"crops-{recipe.crops}-{shortest:g}-{longest:g}-{recipe.crop_gain_db:g}"
        return self._through(
            folder / name / f"{self._digest}.npy",
            (recipe.crops, self._embedder.dim),
            lambda: np.stack([self._embed(piece) for piece in self._pieces()]),
        )

    def _pieces(self) -> Iterator[npt.NDArray[np.float32]]:
        recipe, waveform = self._embedder.recipe, self._decoded()
        random = np.random.default_rng(int(self._digest[:16], 16))
        for _ in range(recipe.crops):
            length = min(round(random.uniform(*recipe.crop_s) * SAMPLE_RATE), len(waveform))
            start = int(random.integers(0, len(waveform) - length + 1))
            gain_db = random.uniform(-recipe.crop_gain_db, recipe.crop_gain_db)
            yield waveform[start : start + length] * np.float32(10 ** (gain_db / 20))

    def _decoded(self) -> npt.NDArray[np.float32]:
        if self._waveform is None:
            self._waveform = read_mono(self._clip.path, self._backend)[:CONTEXT_SAMPLES]
        return self._waveform

    def _embed(self, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            row = self._embedder(torch.from_numpy(waveform).unsqueeze(0))[0]
        return np.asarray(row.numpy(), dtype=np.float32)

    def _through(
        self,
        entry: Path,
        shape: tuple[int, ...],
        compute: Callable[[], npt.NDArray[np.float32]],
    ) -> npt.NDArray[np.float32]:
        """The cache's entry, or else what is computed, which is put there."""
        cached = _cached(entry, shape)
        if cached is not None:
            return cached
        computed = compute()
        with replacing(entry) as temporary, temporary.open("wb") as file:
            np.save(file, computed, allow_pickle=False)
        return computed


def _cached(entry: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32] | None:
    """The entry, or None where it is absent or, after a disk's mishap, damaged."""
    try:
        row = np.load(entry, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        row = None
    if row is None or row.shape != shape or row.dtype != np.float32:
        _log.warning("%s: damaged cache entry, computing it again", entry)
        return None
    return np.asarray(row)
