"""What the command line does: from a folder of recordings to a run, and from a run to figures."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from emotion.errors import ConfigurationError, CorpusError, ModelError
from emotion.progress import track
from train.audio import usable_backend
from train.augment import PIECES_VERSION
from train.baselines import Actors
from train.checkpoint import (
    Checkpoint,
    ClipNames,
    load_checkpoint,
    load_clip_names,
    save_checkpoint,
    save_clip_names,
    save_encoder,
    stored_recipe,
    weights_sha256,
)
from train.corpora import Clip, emotions_of, load_corpus, missing_emotions, speakers_of
from train.device import fastest
from train.encoder import Embedder, load_whisper
from train.evaluate import Figures, combined, figures, probabilities, result, summary
from train.features import VERSION as FEATURES_VERSION
from train.features import Features, extract, extract_pieces
from train.files import write_json
from train.fit import VERSION as FIT_VERSION
from train.fit import Epoch, Fitted, fit_head
from train.recipe import Recipe
from train.splits import Protocol, Split, emobox_splits, everything, random_split, speaker_splits
from train.tune import KEPT, Lessons
from train.tune import VERSION as TUNE_VERSION
from train.tuned import tuned_encoder
from train.waves import Waves, read_waves

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """What every training needs.

    Attributes:
        recipe: as used: it names the Whisper that was really taken.
        embedder: the encoder as published.
        clips: the corpus, those that could be read.
        waves: their recordings.
        cache: the feature cache's root.
    """

    recipe: Recipe
    embedder: Embedder
    clips: list[Clip]
    waves: Waves
    cache: Path


@dataclass(frozen=True)
class Trained:
    """One model.

    Attributes:
        embedder: the encoder, fine-tuned where the recipe says so.
        fitted: the head.
        measured: figures on the held-out clips; None where there are none.
    """

    embedder: Embedder
    fitted: Fitted
    measured: Figures | None


def prepare(recipe: Recipe, data: Path, cache: Path, whisper: str | None = None) -> Material:
    """Reads the corpus and Whisper.

    Args:
        recipe: how.
        data: the corpus's folder.
        cache: the feature cache's root.
        whisper: hub name or folder, in place of the recipe's.

    Raises:
        EmotionError: the corpus or Whisper cannot be used.
    """
    found = load_corpus(data)
    name = whisper or recipe.whisper
    # A folder is remembered by its last name: where it lay on this machine helps nobody else.
    label = Path(name).resolve().name if Path(name).is_dir() else name
    recipe = msgspec.structs.replace(recipe, whisper=label)
    embedder = Embedder(load_whisper(name), recipe).eval()
    clips, waves = read_waves(found, usable_backend(recipe.audio_backend))
    if missing := missing_emotions(clips):
        _log.warning("no recording is %s: the model will hardly ever say so", " or ".join(missing))
    return Material(recipe, embedder, clips, waves, cache)


def fit_run(
    material: Material,
    out: Path,
    *,
    all_actors: bool = False,
    metrics: dict[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Trains one model and writes its run.

    Args:
        material: recipe, encoder and recordings.
        out: the run's folder.
        all_actors: for the model that ships: nobody is held out, so nothing measures it.
        metrics: figures to store with it, by protocol; by default those on its held-out clips.

    Returns:
        The result on the held-out clips; None where there are none.
    """
    recipe, clips = material.recipe, material.clips
    split = everything(clips, recipe.songs) if all_actors else random_split(clips, recipe.seed)
    trained = train_split(material, split, recipe.seed, out)
    report = result("random", trained.measured, recipe) if trained.measured else None
    if metrics is None:
        metrics = {"random": summary(report)} if report else {}
    save_run(material, out, split, trained, metrics)
    return report


def crossval_run(
    material: Material, out: Path, protocol: Protocol, seeds: int = 5
) -> tuple[dict[str, Any], dict[str, list[Epoch]]]:
    """Trains a model for each seed or fold; each is a run of its own under `out`.

    Runs of the same recipe and split that are there already are kept, so that an interrupted
    cross-validation goes on where it was.

    Args:
        material: recipe, encoder and recordings.
        out: gets `crossval.json`, and a run for each model, in `seed-S` or `fold-K`; where the
            encoder is not tuned, one `encoder.safetensors` for all.
        protocol: `random`: 80/20 splits drawn with `recipe.seed` and the seeds after it;
            `emobox`: EmoBox's folds of RAVDESS; `speakers`: folds of any corpus's speakers.
        seeds: how many random splits.

    Returns:
        The result file's content, and the epochs of each model by its name.
    """
    recipe = material.recipe
    if recipe.tuning is None:
        save_encoder(out, material.embedder)
    parts: list[tuple[str, Figures]] = []
    histories: dict[str, list[Epoch]] = {}
    for split, seed in track(trainings(material, protocol, seeds), "models"):
        folder = out / split.name
        kept = _finished(material, split, folder)
        trained = kept or train_split(material, split, seed, folder)
        if trained.measured is None:
            raise CorpusError(f"{split.name}: no clip is held out")
        figures_of = {str(protocol): summary(result(protocol, trained.measured, recipe))}
        if kept is None:
            save_run(material, folder, split, trained, figures_of, shared=True)
        parts.append((split.name, trained.measured))
        histories[split.name] = trained.fitted.history
    report = combined(protocol, parts, recipe) | {"best_epoch": best_epochs(histories)}
    write_json(out / "crossval.json", report)
    return report, histories


def trainings(material: Material, protocol: Protocol, seeds: int) -> list[tuple[Split, int]]:
    """What a cross-validation trains: each split, and the seed of its fit."""
    recipe, clips = material.recipe, material.clips
    if protocol == "emobox":
        return [(split, recipe.seed) for split in emobox_splits(clips, recipe.songs)]
    if protocol == "speakers":
        return [(split, recipe.seed) for split in speaker_splits(clips, recipe.songs)]
    return [(random_split(clips, seed), seed) for seed in range(recipe.seed, recipe.seed + seeds)]


def train_split(material: Material, split: Split, seed: int, folder: Path) -> Trained:
    """Trains a model on one side of a split and measures it on the other.

    Args:
        material: recipe, encoder and recordings.
        split: rows of the material's clips.
        seed: of everything random.
        folder: keeps the state of an interrupted tuning.

    Returns:
        The model, and its figures on the held-out clips where there are any.
    """
    recipe, device = material.recipe, fastest()
    waves = material.waves[split.train].to(device)
    train = [material.clips[row] for row in split.train]
    embedder = material.embedder
    if recipe.tuning is not None:
        lessons = Lessons(waves, actors_of(train, waves))
        embedder = tuned_encoder(embedder, lessons, recipe, seed, folder, material.cache)
    embedder = embedder.to(device)
    # What a tuned encoder says of its own training's pieces is hundreds of megabytes, made in minutes.
    shared = material.cache if recipe.tuning is None else None
    pieces = extract_pieces(waves, embedder, recipe, seed, shared)
    whole = extract(train, embedder, material.cache)
    if whole.clips != tuple(train):
        raise CorpusError("recordings that could be read a moment ago cannot be read any more")
    heard = Features(whole.clips, whole.embeddings, pieces)
    held_out = None
    if len(split.test):
        held_out = extract([material.clips[row] for row in split.test], embedder, material.cache)
    speech_s = waves.speech_s.cpu().numpy()
    fitted = fit_head(heard, recipe, seed, held_out, speech_s=speech_s, device=device)
    measured = None
    if held_out is not None:
        measured = figures(held_out.emotions, probabilities(fitted.head, held_out.embeddings))
    return Trained(embedder.cpu(), fitted, measured)


def _finished(material: Material, split: Split, folder: Path) -> Trained | None:
    """A run of the same recipe and recordings, measured again; None where there is none."""
    if not (folder / "run.json").is_file():
        return None
    try:
        if stored_recipe(folder) != (material.recipe, made_of(material, split)):
            return None
        if load_clip_names(folder) != _names(material, split):
            return None
        checkpoint = load_checkpoint(folder)
    except ModelError as error:
        _log.warning("training again: %s", error)
        return None
    held_out = extract(
        [material.clips[row] for row in split.test], checkpoint.embedder, material.cache
    )
    found = probabilities(checkpoint.head, held_out.embeddings)
    _log.info("%s: already there", folder)
    fitted = Fitted(checkpoint.head, history(folder))
    return Trained(checkpoint.embedder, fitted, figures(held_out.emotions, found))


def made_of(material: Material, split: Split) -> str:
    """A digest of what a training comes from besides its recipe: Whisper, recordings, the code."""
    versions = (PIECES_VERSION, FEATURES_VERSION, TUNE_VERSION, FIT_VERSION)
    names = _names(material, split).train
    heard = material.waves[split.train].digest()
    parts = f"{versions} {weights_sha256(material.embedder)} {names} {heard}"
    # RAVDESS's names say it all; a manifest may come to say something else of the same names.
    clips = [material.clips[row] for row in (*split.train, *split.test)]
    if any(clip.speaker for clip in clips):
        parts += f" {[(clip.emotion, clip.speaker) for clip in clips]}"
    return hashlib.sha256(parts.encode()).hexdigest()


def _names(material: Material, split: Split) -> ClipNames:
    names = [clip.name for clip in material.clips]
    return ClipNames(*(tuple(names[row] for row in rows) for rows in (split.train, split.test)))


def actors_of(clips: Sequence[Clip], waves: Waves) -> Actors:
    """What clips say and who says it, on the device of their recordings."""
    emotions, actors = (
        torch.from_numpy(of(clips)).to(waves.device) for of in (emotions_of, speakers_of)
    )
    return Actors(emotions, actors, waves.speech_s)


def best_epochs(histories: Mapping[str, Sequence[Epoch]]) -> dict[str, Any]:
    """Means over the models of each one's best epoch, chosen on the very clips it is measured on.

    The published figures were chosen so. They are no estimate of anything; the reports show them
    under this name alone, beside the last epochs' figures.
    """
    best = [
        max(history, key=lambda epoch: epoch["accuracy"] or 0.0)
        for history in histories.values()
        if history
    ]
    count = max(1, len(best))
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
    protocol, clips = _unheard(run, checkpoint, load_corpus(data))
    features = extract(clips, checkpoint.embedder, cache)
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


def save_run(
    material: Material,
    folder: Path,
    split: Split,
    trained: Trained,
    metrics: dict[str, Any],
    *,
    shared: bool = False,
) -> None:
    """Writes a run's folder.

    Args:
        material: what it was trained from.
        folder: made where it is missing.
        split: what it was trained and measured on.
        trained: the model.
        metrics: figures to store with it, by protocol.
        shared: whether an encoder that was not tuned lies in the folder above.
    """
    (folder / "run.json").unlink(missing_ok=True)  # what lies there is another run's from here on
    save_clip_names(folder, _names(material, split))
    write_json(folder / "history.json", trained.fitted.history)
    save_checkpoint(
        folder,
        material.recipe,
        trained.embedder,
        trained.fitted.head,
        metrics,
        shared_encoder=shared and material.recipe.tuning is None,
        made_of=made_of(material, split),
    )
    # All that an interrupted tuning needs is in the run now.
    (folder / KEPT).unlink(missing_ok=True)


def _unheard(
    run: Path, checkpoint: Checkpoint, clips: Sequence[Clip]
) -> tuple[Protocol, list[Clip]]:
    names = load_clip_names(run)
    held_out, trained = frozenset(names.held_out), frozenset(names.train)
    judged = [clip for clip in clips if clip.name in held_out]
    if judged:
        folds: tuple[Protocol, ...] = ("emobox", "speakers")
        return next((each for each in folds if each in checkpoint.metrics), "random"), judged
    judged = [clip for clip in clips if clip.name not in trained]
    if not judged:
        raise CorpusError(
            f"{run} was trained on all these clips: figures on them would say nothing; "
            "use emotion-train crossval"
        )
    _log.warning("none of the run's held-out clips is there: judging %d others", len(judged))
    return "other", judged
