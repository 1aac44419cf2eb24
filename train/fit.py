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
from train.evaluate import figures, probabilities
from train.features import Features
from train.head import Head
from train.recipe import Recipe
from train.seed import seed_all

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
    train: Features, recipe: Recipe, seed: int, validation: Features | None = None
) -> Fitted:
    """Fits a head; the last epoch's weights are the result, whatever the held-out clips say.

    Args:
        train: clips to learn from, every class among them.
        recipe: the head's shape and how to fit it.
        seed: of the first weights, the order of the clips and dropout.
        validation: held-out clips: watched for the learning curve, and by the `plateau` schedule.

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
    train = train.with_crops()
    seed_all(seed)
    head = Head(train.embeddings.shape[1], recipe)
    if recipe.standardize:
        _set_statistics(head, train.embeddings)
    fitting = _Fitting(head, train, recipe)
    history = [fitting.epoch(number, validation) for number in range(1, recipe.epochs + 1)]
    head.temperature.fill_(recipe.temperature)
    return Fitted(head.eval().requires_grad_(False), history)


class _Fitting:
    """What lives through the epochs: optimizer, schedule, loss and the order of the clips."""

    def __init__(self, head: Head, train: Features, recipe: Recipe) -> None:
        self.head, self.recipe = head, recipe
        self.embeddings = torch.from_numpy(train.embeddings)
        self.emotions = torch.from_numpy(train.emotions)
        weights = class_weights(train.emotions) if recipe.class_weights else None
        self.loss = nn.CrossEntropyLoss(weight=weights, label_smoothing=recipe.label_smoothing)
        self.optimizer = torch.optim.AdamW(
            head.parameters(),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=True,  # half the time of the default on a CPU
        )
        steps = sum(1 for _ in batches(torch.arange(len(train)), recipe.batch_size))
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

    def _pass(self) -> float:
        self.head.train()
        total = 0.0
        for rows in batches(torch.randperm(len(self.emotions)), self.recipe.batch_size):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.head(self.embeddings[rows]), self.emotions[rows])
            loss.backward()
            self.optimizer.step()
            if self.one_cycle is not None:
                self.one_cycle.step()
            total += float(loss.detach()) * len(rows)
        return total / len(self.emotions)


def batches(order: Tensor, size: int) -> Iterator[Tensor]:
    """Cuts an order into batches; a last batch of one is left out: it has no batch statistics."""
    for rows in torch.split(order, size):
        if len(rows) > 1:
            yield rows


def class_weights(emotions: npt.NDArray[np.int64]) -> Tensor:
    """Inverse to the classes' frequency, 1 on average over the clips: float32 [8]."""
    counts = np.bincount(emotions, minlength=len(EMOTIONS))
    return torch.from_numpy(len(emotions) / (len(EMOTIONS) * counts)).float()


def _set_statistics(head: Head, embeddings: npt.NDArray[np.float32]) -> None:
    head.mean.copy_(torch.from_numpy(embeddings.mean(axis=0, dtype=np.float64)))
    std = embeddings.std(axis=0, dtype=np.float64)
    head.std.copy_(torch.from_numpy(np.maximum(std, STD_FLOOR)))
