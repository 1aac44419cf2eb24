"""Cached embeddings: a clip goes through Whisper once, whoever asks and however often.

An entry's name is the digest of the recording's bytes, its folder's name the digest of everything
else that decides the embedding. One file a clip, each whole or absent: Ctrl-C loses at most one
clip's work. The random pieces that a head learns from are one file a training set.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from emotion.errors import AudioError, CorpusError
from emotion.progress import track
from train.audio import Backend, read_mono, usable_backend
from train.augment import Pieces
from train.checkpoint import weights_sha256
from train.corpora import Clip, emotions_of, report_skipped, speakers_of
from train.encoder import CONTEXT_SAMPLES, Embedder
from train.files import replacing
from train.recipe import Augment, Recipe
from train.waves import Waves

VERSION: Final = 1
"""Raised when the code changes what an embedding is."""

BATCH: Final = 48  # pieces that are embedded at once

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Features:
    """Embeddings of clips.

    Attributes:
        clips: the clips that could be read, in the corpus's order.
        embeddings: float32 [clips, D].
        pieces: of random pieces of each clip, plain ones first, then spoken, then varied ones:
            float32 [clips, n, D]; None without.
    """

    clips: tuple[Clip, ...]
    embeddings: npt.NDArray[np.float32]
    pieces: npt.NDArray[np.float32] | None = None

    @property
    def emotions(self) -> npt.NDArray[np.int64]:
        """Indices into EMOTIONS: int64 [clips]."""
        return emotions_of(self.clips)

    @property
    def actors(self) -> npt.NDArray[np.int64]:
        """int64 [clips]."""
        return speakers_of(self.clips)

    @property
    def views(self) -> npt.NDArray[np.float32]:
        """Each clip, then its pieces: float32 [clips, 1 + n, D]."""
        whole = self.embeddings[:, np.newaxis]
        return whole if self.pieces is None else np.concatenate([whole, self.pieces], axis=1)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> "Features":
        """A subset, by row numbers."""
        pieces = None if self.pieces is None else self.pieces[rows]
        return Features(tuple(self.clips[row] for row in rows), self.embeddings[rows], pieces)

    def __len__(self) -> int:
        return len(self.clips)


def default_cache() -> Path:
    """$XDG_CACHE_HOME/emotion-monitor/features, or ~/.cache in its place."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "emotion-monitor" / "features"


def extract(clips: Sequence[Clip], embedder: Embedder, cache: Path) -> Features:
    """Embeddings of whole clips, from the cache where it has them.

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


def extract_pieces(
    waves: Waves, embedder: Embedder, recipe: Recipe, seed: int, cache: Path | None
) -> npt.NDArray[np.float32] | None:
    """Embeddings of random pieces of training clips, from the cache where there is one and it has them.

    In bfloat16, many at a time: what a head learns from need not be exact.

    Args:
        waves: the training clips, and nothing else: noise is made of them too.
        embedder: in evaluation mode, on the waves' device.
        recipe: its `augment` says which pieces.
        seed: of everything random.
        cache: the cache's root; None: keep nothing, for an encoder that nobody else will ask.

    Returns:
        float32 [clips, n, D], plain ones first, then spoken, then varied ones; None where the recipe
        has no pieces.
    """
    settings = recipe.augment
    if settings is None or not settings.views:
        return None
    pieces = Pieces(waves, settings, seed)
    if cache is None:
        return _pieces(pieces, len(waves), embedder, settings, seed)
    what = f"{settings} {Pieces.chance(seed, waves.device)} {waves.digest()}"
    heard = hashlib.sha256(what.encode())
    backend = usable_backend(recipe.audio_backend)
    entry = cache / configuration(embedder, backend) / f"pieces-{heard.hexdigest()[:32]}.npy"
    shape = (len(waves), settings.views, embedder.dim)
    return _through(entry, shape, lambda: _pieces(pieces, len(waves), embedder, settings, seed))


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
    if recipe.attention:
        fields["attention"] = True
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:32]


def _embedding(
    clip: Clip, embedder: Embedder, backend: Backend, folder: Path
) -> npt.NDArray[np.float32]:
    """Of a whole clip: float32 [D]; its file is decoded only where the cache does not have it."""
    try:
        digest = hashlib.sha256(clip.path.read_bytes()).hexdigest()
    except OSError as error:
        raise AudioError(f"{clip.path}: cannot be read: {error.strerror}") from error

    def embed() -> npt.NDArray[np.float32]:
        waveform = torch.from_numpy(read_mono(clip.path, backend)[:CONTEXT_SAMPLES])
        with torch.inference_mode():
            row = embedder(waveform.unsqueeze(0).to(embedder.positions.device))[0]
        return np.asarray(row.cpu().numpy(), dtype=np.float32)

    return _through(folder / f"{digest}.npy", (embedder.dim,), embed)


def _pieces(
    pieces: Pieces, clips: int, embedder: Embedder, settings: Augment, seed: int
) -> npt.NDArray[np.float32]:
    """float32 [clips, n, D]."""
    views = (
        [pieces.plain] * settings.plain_views
        + [pieces.spoken] * settings.spoken_views
        + [pieces.varied] * settings.varied_views
    )
    out = np.zeros((clips, len(views), embedder.dim), dtype=np.float32)
    chance = np.random.default_rng(seed)
    for number, view in enumerate(track(views, "pieces")):
        order = torch.from_numpy(chance.permutation(clips))
        for rows in torch.split(order.to(pieces.generator.device), BATCH):
            with torch.inference_mode():
                heard = embedder.spectrogram(view(rows, pieces.length()))
                out[rows.cpu().numpy(), number] = embedder.mixed_precision(heard).cpu().numpy()
    return out


def _through(
    entry: Path, shape: tuple[int, ...], compute: Callable[[], npt.NDArray[np.float32]]
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
