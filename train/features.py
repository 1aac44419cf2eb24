"""Cached embeddings: a clip goes through Whisper once, whoever asks and however often.

An entry's name is the digest of the recording's bytes, its folder's name the digest of everything
else that decides the embedding. One file a clip, each whole or absent: Ctrl-C loses at most one
clip's work.
"""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from emotion.errors import AudioError, CorpusError
from train.audio import Backend, read_mono, usable_backend
from train.checkpoint import weights_sha256
from train.corpora import Clip, report_skipped
from train.encoder import CONTEXT_SAMPLES, Embedder
from train.files import replacing
from train.progress import track

VERSION: Final = 1
"""Raised when the code changes what an embedding is."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Features:
    """Embeddings of a corpus.

    Attributes:
        clips: the clips that could be read, in the corpus's order.
        embeddings: float32 [clips, D].
    """

    clips: tuple[Clip, ...]
    embeddings: npt.NDArray[np.float32]

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
        return Features(tuple(self.clips[row] for row in rows), self.embeddings[rows])

    def __len__(self) -> int:
        return len(self.clips)


def default_cache() -> Path:
    """$XDG_CACHE_HOME/emotion-monitor/features, or ~/.cache in its place."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "emotion-monitor" / "features"


def extract(clips: Sequence[Clip], embedder: Embedder, cache: Path) -> Features:
    """Embeddings of all clips, from the cache where it has them.

    Files that cannot be read are named in the log and left out. Recordings over 30 s are cut there,
    as Whisper cuts them.

    Args:
        clips: the corpus.
        embedder: in evaluation mode; its recipe says how to decode.
        cache: the cache's root, made where it is missing.

    Raises:
        CorpusError: no clip could be read.
    """
    backend = usable_backend(embedder.recipe.audio_backend)
    folder = cache / configuration(embedder, backend)
    found: list[tuple[Clip, npt.NDArray[np.float32]]] = []
    unreadable: list[str] = []
    for clip in track(clips, "features"):
        try:
            found.append((clip, _embedding(clip, embedder, backend, folder)))
        except AudioError as error:
            unreadable.append(str(error))
    report_skipped(unreadable)
    if not found:
        raise CorpusError(f"none of the {len(clips)} recordings could be read")
    return Features(tuple(clip for clip, _ in found), np.stack([row for _, row in found]))


def configuration(embedder: Embedder, backend: Backend) -> str:
    """A digest of all that decides an embedding besides the recording."""
    recipe = embedder.recipe
    fields = {
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
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:32]


def _embedding(
    clip: Clip, embedder: Embedder, backend: Backend, folder: Path
) -> npt.NDArray[np.float32]:
    try:
        digest = hashlib.sha256(clip.path.read_bytes()).hexdigest()
    except OSError as error:
        raise AudioError(f"{clip.path}: cannot be read: {error.strerror}") from error
    entry = folder / f"{digest}.npy"
    cached = _cached(entry, embedder.dim)
    if cached is not None:
        return cached
    waveform = torch.from_numpy(read_mono(clip.path, backend)[:CONTEXT_SAMPLES])
    with torch.inference_mode():
        row = embedder(waveform.unsqueeze(0))[0].numpy()
    with replacing(entry) as temporary, temporary.open("wb") as file:
        np.save(file, row, allow_pickle=False)
    return np.asarray(row, dtype=np.float32)


def _cached(entry: Path, dim: int) -> npt.NDArray[np.float32] | None:
    """The entry, or None where it is absent or, after a disk's mishap, damaged."""
    try:
        row = np.load(entry, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        row = None
    if row is None or row.shape != (dim,) or row.dtype != np.float32:
        _log.warning("%s: damaged cache entry, computing it again", entry)
        return None
    return np.asarray(row)
