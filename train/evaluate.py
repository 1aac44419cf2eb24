"""How good a model is: the figures that every report shows, and the shape of a result file."""

from collections.abc import Sequence
from typing import Any, Final, TypedDict

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from emotion.labels import EMOTIONS
from train.head import Head
from train.recipe import Recipe
from train.splits import Protocol

ECE_BINS: Final = 15

AVERAGED: Final = ("accuracy", "ua", "macro_f1", "ece")


class Figures(TypedDict):
    """Fractions of 1, not percents.

    `accuracy` is the weighted accuracy (WA), `ua` the unweighted one: the mean recall of the
    classes that occur. `per_class` holds recalls, None for a class that does not occur; `confusion`
    has a row for each true class and a column for each answer, in EMOTIONS order.
    """

    n: int
    accuracy: float
    ua: float
    macro_f1: float
    ece: float
    per_class: dict[str, float | None]
    confusion: list[list[int]]


def probabilities(head: Head, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 [n, D] -> float32 [n, 8], in evaluation mode; the head's mode is left as it was."""
    training = head.training
    head.eval()
    with torch.inference_mode():
        rows = torch.from_numpy(embeddings).to(head.mean.device)
        result = head(rows).softmax(dim=1).cpu().numpy()
    head.train(training)
    return np.asarray(result, dtype=np.float32)


def figures(truth: npt.NDArray[np.int64], predicted: npt.NDArray[np.float32]) -> Figures:
    """The figures of one set of clips.

    Args:
        truth: indices into EMOTIONS: int64 [n], n at least 1.
        predicted: probabilities: float32 [n, 8].
    """
    answers = predicted.argmax(axis=1)
    size = len(EMOTIONS)
    confusion = np.zeros((size, size), dtype=np.int64)
    np.add.at(confusion, (truth, answers), 1)
    hits, occur, answered = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    recalls = [float(h / o) if o else None for h, o in zip(hits, occur, strict=True)]
    known = [recall for recall in recalls if recall is not None]
    involved = (occur + answered) > 0
    f1 = 2 * hits[involved] / (occur + answered)[involved]
    return Figures(
        n=len(truth),
        accuracy=float(hits.sum() / len(truth)),
        ua=float(np.mean(known)),
        macro_f1=float(f1.mean()),
        ece=calibration_error(truth, predicted),
        per_class=dict(zip(EMOTIONS, recalls, strict=True)),
        confusion=confusion.tolist(),
    )


def calibration_error(
    truth: npt.NDArray[np.int64], predicted: npt.NDArray[np.float32], bins: int = ECE_BINS
) -> float:
    """Expected calibration error over equally wide bins of confidence (Guo et al. 2017)."""
    confidence = predicted.max(axis=1).astype(np.float64)
    correct = predicted.argmax(axis=1) == truth
    index = confidence_bins(confidence, bins)
    gaps = np.zeros(bins)
    np.add.at(gaps, index, correct - confidence)
    return float(np.abs(gaps).sum() / len(truth))


def confidence_bins(
    confidence: npt.NDArray[np.float64], bins: int = ECE_BINS
) -> npt.NDArray[np.int64]:
    """In which of equally wide bins each confidence lies, from 0: int64 [n]."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def result(protocol: Protocol, measured: Figures, recipe: Recipe) -> dict[str, Any]:
    """A result file about one model."""
    head = {"protocol": protocol, "adaptation": "none"}
    return head | dict(measured) | {"recipe": msgspec.to_builtins(recipe)}


def combined(
    protocol: Protocol,
    parts: Sequence[tuple[str, Figures]],
    recipe: Recipe,
    trainings: Sequence[int] = (),
) -> dict[str, Any]:
    """A result file about several models: figures are means over them, the confusion is their sum.

    Args:
        protocol: `random`: the parts are split seeds; `emobox`, `speakers`: they are folds.
        parts: names such as `seed-42` or `fold-1`, each with its figures.
        recipe: the one they share.
        trainings: where each fold was trained with several seeds, these: `n` counts its clips once.
    """
    columns = {key: _column(parts, key) for key in AVERAGED}
    means = {key: float(column.mean()) for key, column in columns.items()}
    several = len(parts) > 1
    spread = {key: float(c.std(ddof=1)) for key, c in columns.items()} if several else {}
    counts = {
        "n": sum(measured["n"] for _, measured in parts) // max(1, len(trainings)),
        "per_class": {label: _mean_recall(parts, label) for label in EMOTIONS},
        "confusion": np.sum([measured["confusion"] for _, measured in parts], axis=0).tolist(),
    }
    listed = [{"name": name} | dict(measured) for name, measured in parts]
    return (
        {"protocol": protocol, "adaptation": "none"}
        | {"n": counts["n"]}
        | means
        | {"sd": spread}
        | counts
        | ({"trainings": list(trainings)} if len(trainings) > 1 else {})
        | {"seeds" if protocol == "random" else "folds": listed}
        | {"recipe": msgspec.to_builtins(recipe)}
    )


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """What of a result file travels inside a model: the figures without the tables behind them."""
    keys = ("adaptation", "n", "trainings", *AVERAGED, "sd", "per_class")
    return {key: report[key] for key in keys if key in report}


def _column(parts: Sequence[tuple[str, Figures]], key: str) -> npt.NDArray[np.float64]:
    return np.array([dict(measured)[key] for _, measured in parts], dtype=np.float64)


def _mean_recall(parts: Sequence[tuple[str, Figures]], label: str) -> float | None:
    recalls = [measured["per_class"][label] for _, measured in parts]
    known = [recall for recall in recalls if recall is not None]
    return float(np.mean(known)) if known else None
