"""Tuned encoders in the cache: another head does not need another encoder.

An entry's name is a digest of all that decides the weights (`tune.identity`). What only the head learns
by is not among it: recipes that differ in nothing else share encoders.
"""

import copy
import logging
from pathlib import Path
from typing import Final

from emotion.errors import ModelError, ModelNotFoundError
from train.checkpoint import load_encoder, save_encoder, weights_sha256
from train.encoder import Embedder
from train.files import write
from train.recipe import Recipe
from train.tune import Lessons, identity, tune

DIGEST: Final = "encoder.sha256"
"""The file's name, beside the encoder's: of its weights, written once they are."""

_log = logging.getLogger(__name__)


def tuned_encoder(
    embedder: Embedder, lessons: Lessons, recipe: Recipe, seed: int, folder: Path, cache: Path
) -> Embedder:
    """The encoder as `tune` leaves it, from the cache where that has it.

    Args:
        embedder: what to begin with; left as it is.
        lessons: training clips.
        recipe: how; it has `tuning`.
        seed: of everything random.
        folder: keeps the state of an interrupted tuning.
        cache: the cache's root, made where it is missing; it grows by the encoder in half precision,
            27 MB for four layers of Whisper base.

    Returns:
        On the CPU, in evaluation mode, its weights frozen and rounded.

    Raises:
        ConfigurationError: as `tune`.
    """
    entry = cache / "tuned" / identity(embedder, lessons, recipe, seed)
    kept = _cached(entry, embedder)
    if kept is not None:
        _log.info("%s: tuned before", entry)
        return kept
    tuned = tune(embedder, lessons, recipe, seed, folder)
    save_encoder(entry, tuned)
    digest = weights_sha256(tuned)
    write(entry / DIGEST, lambda path: path.write_text(digest, encoding="ascii"))
    return tuned


def _cached(entry: Path, embedder: Embedder) -> Embedder | None:
    kept = copy.deepcopy(embedder).cpu()
    try:
        expected = (entry / DIGEST).read_text(encoding="ascii")
        load_encoder(entry, kept)
    except (FileNotFoundError, ModelNotFoundError):
        return None  # or half written
    except (OSError, ValueError, ModelError):
        expected = None
    if expected is None or weights_sha256(kept) != expected:
        _log.warning("%s: damaged cache entry, tuning again", entry)
        return None
    return kept.eval().requires_grad_(False)
