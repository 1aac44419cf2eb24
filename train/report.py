"""Plots: confusion matrix, recall of each class, learning curve; and the figures as text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emotion.labels import EMOTIONS
from train.files import write
from train.fit import Epoch

DPI: Final = 120

ACCENT: Final = "#3566a8"


def plot_result(report: dict[str, Any], histories: Mapping[str, Sequence[Epoch]], to: Path) -> None:
    """Writes confusion.png, per_class.png and, where there are histories, learning_curve.png.

    Args:
        report: a result file's content.
        histories: each model's epochs, by the model's name.
        to: the folder; made where it is missing.
    """
    title = f"{report['recipe']['name']}, {_PROTOCOLS[report['protocol']]}"
    save_plot(plot_confusion(report["confusion"], title), to / "confusion.png")
    save_plot(plot_per_class(report["per_class"], title), to / "per_class.png")
    if any(histories.values()):
        save_plot(plot_learning(histories, title), to / "learning_curve.png")


def plot_confusion(confusion: Sequence[Sequence[int]], title: str) -> Figure:
    """Rows are the truth, in percent of each row; the count stands below the percentage."""
    counts = np.array(confusion)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = blank(6.4, 5.6)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            colour = "white" if share[row, column] > 0.5 else "black"
            text = f"{100 * share[row, column]:.0f} %\n{counts[row, column]}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(EMOTIONS)), EMOTIONS, rotation=45, ha="right")
    axes.set_yticks(range(len(EMOTIONS)), EMOTIONS)
    axes.set(xlabel="answered", ylabel="truth", title=title)
    return figure


def plot_per_class(per_class: Mapping[str, float | None], title: str) -> Figure:
    """A bar for each class's recall."""
    recalls = [100 * (per_class[label] or 0.0) for label in EMOTIONS]
    figure, axes = blank(6.4, 3.6)
    bars = axes.bar(EMOTIONS, recalls, color=ACCENT)
    axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set(ylim=(0, 108), ylabel="recall, %", title=title)
    axes.tick_params(axis="x", labelrotation=30)
    return figure


def plot_learning(histories: Mapping[str, Sequence[Epoch]], title: str) -> Figure:
    """Accuracy on the held-out clips and the training loss after each epoch, a line a model."""
    figure, axes = blank(6.4, 3.8)
    losses = axes.twinx()
    for name, history in histories.items():
        epochs = [epoch["epoch"] for epoch in history]
        accuracies = [np.nan if (a := epoch["accuracy"]) is None else 100 * a for epoch in history]
        axes.plot(epochs, accuracies, label=name, linewidth=1.2)
        losses.plot(epochs, [epoch["loss"] for epoch in history], color="grey", linewidth=0.5)
    axes.set(xlabel="epoch", ylabel="accuracy on held-out clips, %", title=title)
    losses.set_ylabel("training loss (grey)")
    axes.legend(fontsize=7, loc="lower right")
    return figure


def lines(report: dict[str, Any]) -> list[str]:
    """The figures for people, in percent."""
    spread = report.get("sd", {})
    names = (("accuracy", "WA"), ("ua", "UA"), ("macro_f1", "macro F1"), ("ece", "ECE"))
    figures = [
        f"{name} {100 * report[key]:.1f}" + (f" ± {100 * spread[key]:.1f}" if key in spread else "")
        for key, name in names
    ]
    recalls = [
        f"{label} {100 * recall:.0f}"
        for label, recall in report["per_class"].items()
        if recall is not None
    ]
    several = (
        f", {len(report['trainings'])} trainings of each fold" if "trainings" in report else ""
    )
    return [
        f"{report['recipe']['name']}, {_PROTOCOLS[report['protocol']]}, {report['n']} clips{several}, "
        "in %",
        ", ".join(figures),
        "recall: " + ", ".join(recalls),
    ]


_PROTOCOLS: Final = {
    "random": "random split (actors on both sides)",
    "emobox": "unseen actors (EmoBox folds, speech)",
    "speakers": "unseen speakers (folds by speaker, speech)",
    "other": "clips not trained on",
}


def blank(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty plot, its size in inches."""
    # Without pyplot: no global state, no window system, nothing to close.
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def save_plot(figure: Figure, path: Path) -> None:
    """Writes a PNG; the same plot gives the same bytes."""
    with matplotlib.rc_context({"svg.hashsalt": ""}):
        write(path, lambda temporary: figure.savefig(temporary, format="png", dpi=DPI))
