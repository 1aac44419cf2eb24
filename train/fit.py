"""Fits a head to embeddings. The encoder is frozen, so an epoch takes a second."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from emotion.errors import ConfigurationError
from emotion.labels import EMOTIONS
from train.baselines import Actors
from train.checkpoint import rounded
from train.evaluate import figures, probabilities
from train.features import Features
from train.head import Head
from train.recipe import Recipe
from train.seed import seed_all
from train.traits import learn_traits

CPU: Final = torch.device("cpu")

VERSION: Final = 2
"""Raised when the code changes what head or traits come of the same embeddings, here or in a callee."""

STD_FLOOR: Final = 1e-4
"""Of the training set's standard deviation: a dimension that never moves must not explode."""


class Epoch(TypedDict):
    """One pass: mean training loss, and what the held-out clips gave after it (None without)."""

    epoch: int
    loss: float
    learning_rate: float
    accuracy: float | None
    ua: float | None
    macro_f1: float | None


@dataclass(frozen=True)
class Fitted:
    """A head after its last epoch, in evaluation mode, and how it got there."""

    head: Head
    history: list[Epoch]


def fit_head(
    train: Features,
    recipe: Recipe,
    seed: int,
    validation: Features | None = None,
    *,
    speech_s: npt.NDArray[np.float32] | None = None,
    device: torch.device = CPU,
) -> Fitted:
    """Fits a head; the last epoch's weights are the result, whatever the held-out clips say.

    Args:
        train: clips to learn from, of two classes or more.
        recipe: the head's shape and how to fit it.
        seed: of the first weights, the order of the clips and dropout.
        validation: held-out clips: watched for the learning curve, and by the `plateau` schedule.
        speech_s: seconds of speech in each clip to learn from, what it weighs where a channel's
            statistics are made up: float32 [clips]; all the same where None.
        device: what computes.

    Raises:
        ConfigurationError: the schedule needs held-out clips and there are none, or there is less
            than one batch of two clips.
    """
    if recipe.schedule == "plateau" and validation is None:
        raise ConfigurationError(
            f"recipe {recipe.name}: schedule 'plateau' needs held-out clips; "
            "give --all a recipe whose schedule is 'constant' or 'one-cycle'"
        )
    if len(train) < 2:
        raise ConfigurationError(f"{len(train)} clips to train on, expected at least 2")
    seed_all(seed)
    head = Head(train.embeddings.shape[1], recipe)
    views = train.views  # once: hundreds of megabytes
    if recipe.standardize:
        _set_statistics(head, views)
    weights = np.ones(len(train), np.float32) if speech_s is None else speech_s
    fitting = _Fitting(head.to(device), train, views, recipe, weights, seed)
    history = [fitting.epoch(number, validation) for number in range(1, recipe.epochs + 1)]
    head.temperature.fill_(recipe.temperature)
    rounded(head)
    head = head.cpu().eval().requires_grad_(False)
    plain = recipe.augment.plain_views if recipe.augment else 0
    learn_traits(head, train, weights, recipe.prior_s, plain)
    return Fitted(head, history)


class _Fitting:
    """What lives through the epochs: optimizer, schedule, loss and the order of the clips."""

    def __init__(
        self,
        head: Head,
        train: Features,
        views: npt.NDArray[np.float32],
        recipe: Recipe,
        speech_s: npt.NDArray[np.float32],
        seed: int,
    ) -> None:
        self.head, self.recipe = head, recipe
        device = head.mean.device
        self.views = torch.from_numpy(views).to(device)
        emotions = torch.from_numpy(train.emotions).to(device)
        count = self.views.shape[1] if recipe.adapted else 0
        self.normal = [(self.views[:, view] - head.mean) / head.std for view in range(count)]
        self.actors = Actors(
            emotions,
            torch.from_numpy(train.actors).to(device),
            torch.from_numpy(speech_s).to(device),
        )
        self.generator = torch.Generator(device).manual_seed(seed)
        weights = class_weights(train.emotions).to(device) if recipe.class_weights else None
        self.loss = nn.CrossEntropyLoss(weight=weights, label_smoothing=recipe.label_smoothing)
        self.optimizer = torch.optim.AdamW(
            head.parameters(),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=True,  # half the time of the default on a CPU
        )
        steps = sum(1 for _ in batches(torch.arange(self._examples), recipe.batch_size))
        self.plateau, self.one_cycle = None, None
        if recipe.schedule == "plateau":
            self.plateau = ReduceLROnPlateau(self.optimizer, mode="max", factor=0.5, patience=3)
        elif recipe.schedule == "one-cycle":
            self.one_cycle = OneCycleLR(
                self.optimizer, recipe.learning_rate, total_steps=steps * recipe.epochs
            )

    def epoch(self, number: int, validation: Features | None) -> Epoch:
        rate = float(self.optimizer.param_groups[0]["lr"])
        loss = self._pass()
        record = Epoch(
            epoch=number, loss=loss, learning_rate=rate, accuracy=None, ua=None, macro_f1=None
        )
        if validation is not None:
            measured = figures(validation.emotions, probabilities(self.head, validation.embeddings))
            record["accuracy"], record["ua"] = measured["accuracy"], measured["ua"]
            record["macro_f1"] = measured["macro_f1"]
            if self.plateau is not None:
                self.plateau.step(measured["accuracy"])
        return record

    @property
    def _examples(self) -> int:
        """Clips and their pieces."""
        return self.views.shape[0] * self.views.shape[1]

    def _pass(self) -> float:
        self.head.train()
        total = torch.zeros((), device=self.views.device)
        for examples in batches(torch.randperm(self._examples), self.recipe.batch_size):
            clips, views = (part.to(self.views.device) for part in self._divided(examples))
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self._logits(clips, views), self.actors.emotions[clips])
            loss.backward()
            self.optimizer.step()
            if self.one_cycle is not None:
                self.one_cycle.step()
            total += loss.detach() * len(examples)
        return float(total) / self._examples

    def _divided(self, examples: Tensor) -> tuple[Tensor, Tensor]:
        """The clips first, then the first piece of each, and so on: which clip, which view of it."""
        clips = self.views.shape[0]
        return examples % clips, examples // clips

    def _logits(self, clips: Tensor, views: Tensor) -> Tensor:
        """float32 [B, 8]; for a share of the rows as an adapting session would have them."""
        embeddings = self.views[clips, views]
        if not self.recipe.adapted:
            logits: Tensor = self.head(embeddings)
            return logits
        mean, std = self.head.mean, self.head.std
        sets = self.actors.random_sets(clips, self.generator)
        # One view of all clips, whichever the judged one is of: a channel may begin in quiet, and go on
        # over a line or in noise.
        view = int(torch.randint(len(self.normal), ()))
        others = self.normal[view]
        own_mean, own_std = self.actors.statistics(
            clips, (embeddings - mean) / std, sets, others, self.recipe.prior_s
        )
        chance = torch.rand(len(clips), 1, device=mean.device, generator=self.generator)
        adapted = chance < self.recipe.adapted
        mean, std = (
            torch.where(adapted, mean + std * own_mean, mean),
            torch.where(adapted, std * own_std, std),
        )
        result: Tensor = self.head(embeddings, mean, std.reciprocal())
        return result


def batches(order: Tensor, size: int) -> Iterator[Tensor]:
    """Cuts an order into batches; a last batch of one is left out: it has no batch statistics."""
    for rows in torch.split(order, size):
        if len(rows) > 1:
            yield rows


def class_weights(emotions: npt.NDArray[np.int64]) -> Tensor:
    """Inverse to the classes' frequency, 1 on average over the clips: float32 [8].

    A class without clips weighs nothing.
    """
    counts = np.bincount(emotions, minlength=len(EMOTIONS))
    occur = counts > 0
    even = len(emotions) / (occur.sum() * np.maximum(counts, 1))
    return torch.from_numpy(np.where(occur, even, 0.0)).float()


def _set_statistics(head: Head, views: npt.NDArray[np.float32]) -> None:
    head.mean.copy_(torch.from_numpy(views.mean(axis=(0, 1), dtype=np.float64)))
    std = views.std(axis=(0, 1), dtype=np.float64)
    head.std.copy_(torch.from_numpy(np.maximum(std, STD_FLOOR)))
