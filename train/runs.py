"""What the command line does: from a folder of recordings to a run, and from a run to figures."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from emotion.errors import ConfigurationError, CorpusError
from emotion.progress import track
from train.checkpoint import (
    Checkpoint,
    ClipNames,
    load_checkpoint,
    load_clip_names,
    save_checkpoint,
    save_clip_names,
    save_encoder,
)
from train.corpora import Clip, load_ravdess
from train.encoder import Embedder, load_whisper
from train.evaluate import Figures, combined, figures, probabilities, result, summary
from train.features import Features, extract
from train.files import write_json
from train.fit import Epoch, Fitted, fit_head
from train.recipe import Recipe, recipe_from
from train.splits import Protocol, Split, emobox_splits, everything, random_split

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """What every training needs.

    Attributes:
        recipe: as used: it names the Whisper that was really taken.
        embedder: the frozen encoder.
        features: embeddings of the whole corpus.
    """

    recipe: Recipe
    embedder: Embedder
    features: Features


def prepare(recipe: Recipe, data: Path, cache: Path, whisper: str | None = None) -> Material:
    """Reads the corpus and runs it through Whisper, or the cache.

    Args:
        recipe: how.
        data: the corpus's folder.
        cache: the feature cache's root.
        whisper: hub name or folder, in place of the recipe's.

    Raises:
        EmotionError: the corpus or Whisper cannot be used.
    """
    clips = load_ravdess(data)
    name = whisper or recipe.whisper
    # A folder is remembered by its last name: where it lay on this machine helps nobody else.
    label = Path(name).resolve().name if Path(name).is_dir() else name
    recipe = msgspec.structs.replace(recipe, whisper=label)
    embedder = Embedder(load_whisper(name), recipe).eval()
    return Material(recipe, embedder, extract(clips, embedder, cache))


def fit_run(
    material: Material,
    out: Path,
    *,
    all_actors: bool = False,
    metrics: dict[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Trains one model and writes its run.

    Args:
        material: recipe, encoder and features.
        out: the run's folder.
        all_actors: for the model that ships: nobody is held out, so nothing measures it.
        metrics: figures to store with it, by protocol; by default those on its held-out clips.

    Returns:
        The result on the held-out clips; None where there are none.
    """
    recipe, clips = material.recipe, material.features.clips
    split = everything(clips, recipe.songs) if all_actors else random_split(clips, recipe.seed)
    fitted, measured = train_split(material, split, recipe.seed)
    report = result("random", measured, recipe) if measured else None
    if metrics is None:
        metrics = {"random": summary(report)} if report else {}
    _save(material, out, split, fitted, metrics)
    return report


def crossval_run(
    material: Material, out: Path, protocol: Protocol, seeds: int = 5
) -> tuple[dict[str, Any], dict[str, list[Epoch]]]:
    """Trains a model for each seed or fold; each is a run of its own under `out`.

    Args:
        material: recipe, encoder and features.
        out: gets `crossval.json`, one `encoder.safetensors` for all, and a run for each model, in
            `seed-S` or `fold-K`.
        protocol: `random`: 80/20 splits drawn with `recipe.seed` and the seeds after it;
            `emobox`: EmoBox's folds.
        seeds: how many random splits.

    Returns:
        The result file's content, and the epochs of each model by its name.
    """
    recipe, clips = material.recipe, material.features.clips
    if protocol == "emobox":
        trainings = [(split, recipe.seed) for split in emobox_splits(clips, recipe.songs)]
    else:
        drawn = range(recipe.seed, recipe.seed + seeds)
        trainings = [(random_split(clips, seed), seed) for seed in drawn]
    save_encoder(out, material.embedder)
    parts: list[tuple[str, Figures]] = []
    histories: dict[str, list[Epoch]] = {}
    for split, seed in track(trainings, "models"):
        fitted, measured = train_split(material, split, seed)
        if measured is None:
            raise CorpusError(f"{split.name}: no clip is held out")
        figures_of = {str(protocol): summary(result(protocol, measured, recipe))}
        _save(material, out / split.name, split, fitted, figures_of, shared_encoder=True)
        parts.append((split.name, measured))
        histories[split.name] = fitted.history
    report = combined(protocol, parts, recipe) | {"best_epoch": best_epochs(histories)}
    write_json(out / "crossval.json", report)
    return report, histories


def train_split(material: Material, split: Split, seed: int) -> tuple[Fitted, Figures | None]:
    """Fits a head to one split and measures it.

    Args:
        material: recipe, encoder and features.
        split: rows of the features' clips.
        seed: of the fit.

    Returns:
        The head, and its figures on the held-out clips; None where there are none.
    """
    held_out = material.features[split.test] if len(split.test) else None
    fitted = fit_head(material.features[split.train], material.recipe, seed, held_out)
    if held_out is None:
        return fitted, None
    measured = figures(held_out.emotions, probabilities(fitted.head, held_out.embeddings))
    return fitted, measured


def best_epochs(histories: Mapping[str, Sequence[Epoch]]) -> dict[str, Any]:
    """Means over the models of each one's best epoch, chosen on the very clips it is measured on.

    The published figures were chosen so. They are no estimate of anything; the reports show them
    under this name alone, beside the last epochs' figures.
    """
    best = [
        max(history, key=lambda epoch: epoch["accuracy"] or 0.0) for history in histories.values()
    ]
    count = len(best)
    return {
        "chosen_on": "the held-out clips themselves",
        "accuracy": sum(epoch["accuracy"] or 0.0 for epoch in best) / count,
        "ua": sum(epoch["ua"] or 0.0 for epoch in best) / count,
        "macro_f1": sum(epoch["macro_f1"] or 0.0 for epoch in best) / count,
        "epochs": [epoch["epoch"] for epoch in best],
    }


def evaluate_run(
    run: Path, data: Path, cache: Path
) -> tuple[dict[str, Any], dict[str, list[Epoch]]]:
    """Measures a run on its held-out clips, or, elsewhere, on all clips it was not trained on.

    Returns:
        The result file's content, and the run's epochs by its name.

    Raises:
        CorpusError: the run was trained on every clip there is.
    """
    checkpoint = load_checkpoint(run)
    protocol, clips = _unheard(run, checkpoint, load_ravdess(data))
    features = extract(clips, checkpoint.embedder, cache, pieces=False)
    measured = figures(features.emotions, probabilities(checkpoint.head, features.embeddings))
    return result(protocol, measured, checkpoint.recipe), {run.name: history(run)}


def history(run: Path) -> list[Epoch]:
    """A run's epochs; empty where it has none."""
    path = run / "history.json"
    if not path.is_file():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Epoch])
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{path}: unreadable: {error}") from error


def crossval_metrics(folders: Sequence[Path], recipe: Recipe) -> dict[str, Any]:
    """The figures of cross-validations, by protocol, for the model that is trained on everything.

    Raises:
        ConfigurationError: a folder holds no cross-validation, or one of another recipe.
    """
    metrics = {}
    for folder in folders:
        path = folder / "crossval.json"
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            protocol, found = report["protocol"], recipe_from(report["recipe"])
        except (OSError, ValueError, KeyError) as error:
            raise ConfigurationError(
                f"--metrics-from {folder}: no readable crossval.json; run emotion-train crossval"
            ) from error
        if found != recipe:
            raise ConfigurationError(
                f"--metrics-from {folder}: its recipe is not the one being fitted, so its figures "
                "are not this model's; run crossval again"
            )
        metrics[protocol] = summary(report)
    return metrics


def _save(
    material: Material,
    folder: Path,
    split: Split,
    fitted: Fitted,
    metrics: dict[str, Any],
    *,
    shared_encoder: bool = False,
) -> None:
    names = [clip.name for clip in material.features.clips]
    train, test = (tuple(names[i] for i in rows) for rows in (split.train, split.test))
    save_clip_names(folder, ClipNames(train, test))
    write_json(folder / "history.json", fitted.history)
    save_checkpoint(
        folder,
        material.recipe,
        material.embedder,
        fitted.head,
        metrics,
        shared_encoder=shared_encoder,
    )


def _unheard(
    run: Path, checkpoint: Checkpoint, clips: Sequence[Clip]
) -> tuple[Protocol, list[Clip]]:
    names = load_clip_names(run)
    held_out, trained = frozenset(names.held_out), frozenset(names.train)
    judged = [clip for clip in clips if clip.name in held_out]
    if judged:
        return ("emobox" if "emobox" in checkpoint.metrics else "random"), judged
    judged = [clip for clip in clips if clip.name not in trained]
    if not judged:
        raise CorpusError(
            f"{run} was trained on all these clips: figures on them would say nothing; "
            "use emotion-train crossval"
        )
    _log.warning("none of the run's held-out clips is there: judging %d others", len(judged))
    return "other", judged
