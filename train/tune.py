"""Fine-tunes the encoder on pieces of the training clips; the head is fitted anew afterwards.

A small head learns beside the encoder and is thrown away: what it learns of embeddings that the encoder
has learnt by heart is worth less than a fit to pieces of every kind (`fit.py`).

The last state of an interrupted run lies in `tuning.pt`, in the run's folder, and is gone on from.
"""

import copy
import hashlib
import logging
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from emotion.errors import ConfigurationError
from emotion.progress import track
from train.augment import Pieces, masked
from train.baselines import Actors
from train.checkpoint import rounded
from train.encoder import Embedder
from train.features import configuration
from train.files import write
from train.fit import STD_FLOOR, class_weights
from train.frontend import SAMPLE_RATE
from train.head import Head
from train.recipe import Augment, Recipe, Tuning
from train.seed import seed_all
from train.waves import Waves

ADAPTED: Final = 0.5  # of a batch is normalised by statistics of the same actor's clips beside it
WARM_UP: Final = 0.15  # of the steps, until the rates are at their peaks
LARGEST_GRADIENT: Final = 1.0
SPREAD_S: Final = 2.5
"""Length of the pieces that the teacher's spread is taken from."""
AT_ONCE: Final = 96  # of them
HEAD_DECAY: Final = 0.1  # AdamW's weight decay, of what starts from nothing
VERSION: Final = 1
"""Raised when the code changes what comes of a tuning, here or in what it calls."""
KEPT: Final = "tuning.pt"
"""The file's name, in the run's folder."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lessons:
    """What is learnt from.

    Attributes:
        waves: the recordings, on the device that learns.
        actors: what they say and who says it, on the same device.
    """

    waves: Waves
    actors: Actors


def tune(embedder: Embedder, lessons: Lessons, recipe: Recipe, seed: int, folder: Path) -> Embedder:
    """Fine-tunes a copy of the encoder.

    Args:
        embedder: what to begin with; left as it is.
        lessons: training clips, of two emotions or more.
        recipe: `tuning` and `augment` are read, and what shapes the loss.
        seed: of everything random.
        folder: keeps the state between epochs, and after the last one until the run is written
            (`KEPT`); made where it is missing.

    Returns:
        The copy on the CPU, in evaluation mode, its weights frozen and rounded.

    Raises:
        ConfigurationError: the recipe does not say how, or there are too few clips.
    """
    run = _Run(embedder, lessons, recipe, seed)
    kept = folder / KEPT
    run.resume(kept)
    for _ in track(range(run.epoch, run.settings.epochs), "tuning"):
        loss = run.one_epoch()
        _log.info("epoch %d of %d: loss %.3f", run.epoch, run.settings.epochs, loss)
        write(kept, run.save)
    tuned = run.result().cpu().eval().requires_grad_(False)
    rounded(tuned)
    return tuned


def identity(embedder: Embedder, lessons: Lessons, recipe: Recipe, seed: int) -> str:
    """A digest of all that decides what a tuning's weights come to be.

    Of the same machine and libraries, that is: others round otherwise (`seed.py`).

    Args:
        embedder: what it begins with.
        lessons: the training clips; nothing else in the corpus counts.
        recipe: how; what only the head learns by does not count.
        seed: of everything random.

    Returns:
        32 hexadecimal digits.
    """
    waves, actors = lessons.waves, lessons.actors
    encoder = configuration(embedder, recipe.audio_backend)
    chance = Pieces.chance(seed, waves.device)
    what = (VERSION, chance, encoder, waves.digest(), without_head(recipe))
    digest = hashlib.sha256(repr(what).encode())
    for part in (actors.emotions, actors.actors, actors.seconds):
        digest.update(part.cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def without_head(recipe: Recipe) -> Recipe:
    """A recipe with all that tuning does not read set to one value, whatever value that is.

    What is not named here counts: a field that is new tunes anew, whoever reads it.

    Args:
        recipe: any.

    Returns:
        Only good for being compared.
    """
    augment = recipe.augment and msgspec.structs.replace(
        recipe.augment, plain_views=0, spoken_views=0, varied_views=0
    )
    return msgspec.structs.replace(
        recipe,
        name="",
        whisper="",  # its weights count
        augment=augment,
        adapted=0.0,
        traits=0,
        trust=0.0,
        learning_rate=1.0,
        weight_decay=0.0,
        schedule="constant",
        batch_size=2,
        epochs=1,
        temperature=1.0,
        songs=False,  # the recordings count
        seed=0,  # so does that of the run
    )


class _Run:
    """What lives through the epochs."""

    def __init__(self, embedder: Embedder, lessons: Lessons, recipe: Recipe, seed: int) -> None:
        self.settings, self.augment = _settings(recipe)
        self._recipe, self._lessons, self._seed = recipe, lessons, seed
        seed_all(seed)
        device = lessons.waves.device
        self.epoch = 0
        self._identity = identity(embedder, lessons, recipe, seed)
        self._pieces = Pieces(lessons.waves, self.augment, seed)
        self._embedder = copy.deepcopy(embedder).to(device)
        _make_trainable(self._embedder, self.settings.dropout)
        self._head = Head(embedder.dim, _throw_away(recipe)).to(device)
        self._normal = nn.BatchNorm1d(embedder.dim, affine=False, track_running_stats=False)
        self._average = AveragedModel(
            self._embedder,
            multi_avg_fn=get_ema_multi_avg_fn(self.settings.average),  # type: ignore[no-untyped-call]
        )
        self._loss = nn.CrossEntropyLoss(
            class_weights(lessons.actors.emotions.cpu().numpy()).to(device)
            if recipe.class_weights
            else None,
            label_smoothing=recipe.label_smoothing,
        )
        groups = _groups(self._embedder, self._head, self.settings)
        # The schedule moves the first of the betas between 0.95 and 0.85, against the rate.
        self._optimizer = torch.optim.AdamW(groups, betas=(0.95, 0.98), fused=True)
        steps = len(list(self._batches())) * self.settings.epochs
        if not steps:
            raise ConfigurationError(
                f"{len(lessons.waves)} clips to tune on: expected a batch of tuning.clips = "
                f"{self.settings.clips} for each actor or more; lower it, or tuning.actors"
            )
        self._schedule = OneCycleLR(
            self._optimizer, [g["lr"] for g in groups], total_steps=steps, pct_start=WARM_UP
        )
        self._teacher: Embedder | None = None
        if self.settings.teacher:
            self._teacher = _teacher(embedder, recipe).to(device)
            self._spread = self._spread_of(self._teacher)

    def one_epoch(self) -> float:
        """One pass over the clips; gives the mean loss."""
        self._embedder.train()
        self._head.train()
        losses = [self._step(rows) for rows in self._batches()]
        self.epoch += 1
        return float(torch.stack(losses).mean())

    def result(self) -> Embedder:
        """What has come of it."""
        kept: Embedder = copy.deepcopy(self._embedder)
        if self.settings.average:
            kept.load_state_dict(self._average.module.state_dict())
        return kept

    # --- between sessions ---

    def save(self, path: Path) -> None:
        """Writes all that `resume` needs."""
        torch.save(self._state(), path)

    def resume(self, path: Path) -> None:
        """Goes on from what `save` wrote, where it belongs to this very run."""
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self._lessons.waves.device, weights_only=True)
            found = state["identity"]
        except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, EOFError) as error:
            _log.warning("%s: damaged (%s): tuning from the beginning", path, error)
            return
        if found != self._identity:
            _log.warning("%s: of another recipe, seed or clips: tuning from the beginning", path)
            return
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.epoch = state["epoch"]
        self._pieces.go_on(state["pieces"])
        torch.set_rng_state(state["chance"].cpu())
        torch.cuda.set_rng_state_all([chance.cpu() for chance in state["chance_on_cuda"]])
        _log.info("%s: going on after epoch %d", path, self.epoch)

    def _state(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts().items()} | {
            "identity": self._identity,
            "epoch": self.epoch,
            "pieces": self._pieces.state(),
            "chance": torch.get_rng_state(),
            "chance_on_cuda": torch.cuda.get_rng_state_all(),  # empty without a GPU
        }

    def _parts(self) -> dict[str, Any]:
        return {
            "embedder": self._embedder,
            "head": self._head,
            "average": self._average,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
        }

    # --- a step ---

    def _step(self, rows: Tensor) -> Tensor:
        spoken, heard = self._hear(rows)
        log_mel = self._embedder.spectrogram(heard)
        if self._teacher is None:
            log_mel = masked(log_mel, self.augment, self._pieces.generator)
        embeddings = self._embedder.mixed_precision(log_mel)
        loss = self._emotion_loss(rows, self._normal(embeddings))
        if self._teacher is not None:
            loss = loss + self.settings.teacher * self._distance(spoken, embeddings)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._embedder.parameters(), LARGEST_GRADIENT)
        self._optimizer.step()
        self._schedule.step()
        self._average.update_parameters(self._embedder)
        return loss.detach()

    def _emotion_loss(self, rows: Tensor, embeddings: Tensor) -> Tensor:
        """Of embeddings normalised by the batch's statistics, half of them by a channel's own."""
        actors = self._lessons.actors
        beside = Actors(actors.emotions[rows], actors.actors[rows], actors.seconds[rows])
        index = torch.arange(len(rows), device=rows.device)
        sets = beside.random_sets(index, self._pieces.generator)
        # Half the prior: a batch holds few clips of each actor, and the encoder is to feel them.
        prior_s = self._recipe.prior_s / 2
        mean, std = beside.statistics(index, embeddings, sets, embeddings, prior_s)
        own = self._chance(len(rows)) < ADAPTED
        logits = self._head(torch.where(own, (embeddings - mean) / std, embeddings))
        loss: Tensor = self._loss(logits, beside.emotions)
        return loss

    def _distance(self, spoken: Tensor, embeddings: Tensor) -> Tensor:
        """From what the teacher hears, in squared standard deviations of what it heard before."""
        assert self._teacher is not None
        with torch.no_grad():
            taught = self._teacher.mixed_precision(self._teacher.spectrogram(spoken))
        return ((embeddings - taught).square() / self._spread).mean()

    def _hear(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """A piece of each clip, as it was spoken and as it is heard: float32 [B, samples] each."""
        spoken = self._pieces.spoken(rows, self._pieces.length())
        plain = self._chance(len(rows)) < self.settings.plain
        return spoken, torch.where(plain, spoken, self._pieces.heard(spoken))

    def _chance(self, count: int) -> Tensor:
        """Uniform in 0 to 1: float32 [count, 1]."""
        generator = self._pieces.generator
        return torch.rand(count, 1, device=generator.device, generator=generator)

    def _batches(self) -> Iterator[Tensor]:
        """Rows, so many actors a batch and so many clips of each: int64 [B]."""
        actors = self._lessons.actors.actors.cpu().numpy()
        chance = np.random.default_rng((self._seed, self.epoch))
        left = [chance.permutation(np.flatnonzero(actors == who)) for who in np.unique(actors)]
        size = self.settings.clips
        for _ in range(len(actors) // (size * min(self.settings.actors, len(left)))):
            # Those with most clips left first, so that nobody's wait for the end.
            order = np.argsort([-len(clips) - chance.random() for clips in left])
            taken = order[: self.settings.actors]
            rows = np.concatenate([left[who][:size] for who in taken])
            for who in taken:
                left[who] = left[who][size:]
            yield torch.from_numpy(rows).to(self._lessons.waves.device)

    @torch.no_grad()
    def _spread_of(self, teacher: Embedder) -> Tensor:
        """Variance of what it hears of the clips as they were recorded: float32 [D]."""
        rows = torch.arange(len(self._lessons.waves), device=self._lessons.waves.device)
        samples = round(SPREAD_S * SAMPLE_RATE)
        found = [
            teacher.mixed_precision(teacher.spectrogram(self._pieces.plain(part, samples)))
            for part in torch.split(rows, AT_ONCE)
        ]
        return torch.cat(found).var(dim=0).clamp(min=STD_FLOOR**2)


def _settings(recipe: Recipe) -> tuple[Tuning, Augment]:
    if recipe.tuning is None or recipe.augment is None:
        raise ConfigurationError(
            f"recipe {recipe.name}: tuning the encoder needs both [tuning] and [augment]"
        )
    return recipe.tuning, recipe.augment


def _teacher(embedder: Embedder, recipe: Recipe) -> Embedder:
    """The encoder as published, hearing every frame."""
    whole = copy.deepcopy(embedder)
    whole.merge = (1,) * len(recipe.merge or whole.merge)
    return whole


def _throw_away(recipe: Recipe) -> Recipe:
    """The shape of the head that learns beside the encoder."""
    assert recipe.tuning is not None
    dropout = (recipe.tuning.head_dropout, *recipe.dropout[1:])[: len(recipe.hidden)]
    return msgspec.structs.replace(recipe, dropout=dropout)


def _make_trainable(embedder: Embedder, dropout: float) -> None:
    """All weights but the positions, which were never learnt, the front end and the final norm."""
    layers: Any = embedder.layers
    for layer in layers:
        layer.dropout = dropout
    for part in (embedder.conv1, embedder.conv2, embedder.layers, embedder.attention):
        if part is not None:
            part.requires_grad_(True)


def _groups(embedder: Embedder, head: Head, settings: Tuning) -> list[dict[str, Any]]:
    """The optimizer's: a rate a layer, the convolutions below the lowest."""
    layers: Any = embedder.layers
    depth = len(layers)
    parts = [nn.ModuleList([embedder.conv1, embedder.conv2]), *layers]
    groups = [
        {
            "params": list(part.parameters()),
            "lr": settings.learning_rate * settings.layer_decay ** (depth - level),
            "weight_decay": settings.weight_decay,
        }
        for level, part in enumerate(parts)
    ]
    fresh = [*head.parameters(), *(embedder.attention or nn.Identity()).parameters()]
    groups.append({"params": fresh, "lr": settings.head_rate, "weight_decay": HEAD_DECAY})
    return groups
