"""Tuned encoders in the cache: another head does not need another encoder.

An entry's name is a digest of all that decides the weights (`tune.identity`). What only the head learns
by is not among it: recipes that differ in nothing else share encoders.
"""

import copy
import logging
from pathlib import Path

from emotion.errors import ModelError, ModelNotFoundError
from train.checkpoint import load_encoder, save_encoder
from train.encoder import Embedder
from train.recipe import Recipe
from train.tune import Lessons, identity, tune

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
    return tuned


def _cached(entry: Path, embedder: Embedder) -> Embedder | None:
    kept = copy.deepcopy(embedder).cpu()
    try:
        load_encoder(entry, kept)
    except ModelNotFoundError:
        return None
    except ModelError as error:
        _log.warning("damaged cache entry, tuning again: %s", error)
        return None
    return kept.eval().requires_grad_(False)
