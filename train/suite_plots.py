"""The evaluation in five plots: adaptation over a stream, over a change of speaker, conditions,
reliability, confusion."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from train.evaluate import ECE_BINS, confidence_bins
from train.measure import Measured
from train.report import ACCENT, blank, plot_confusion, save_plot
from train.rows import adapted_ua, by_seed
from train.streams import SETTLED, by_position, pooled

_GREY: Final = "#888888"
_OTHERS: Final = ("#c8553d", "#4a9c6d")
_TITLES: Final = {
    "balanced": "all emotions equally often",
    "neutral-heavy": "70 % neutral and calm",
}
_SMOOTHED: Final = 3  # places that are averaged, for the eye: a place has few answers


def plot_suite(report: dict[str, Any], folds: Sequence[Measured], to: Path) -> None:
    """Writes conditions.png, reliability.png, confusion.png and, where the model adapts,
    adaptation.png and hand_over.png.

    Args:
        report: the suite's result file.
        folds: what each model said.
        to: the folder; made where it is missing.
    """
    title = f"{report['recipe']['name']}, unseen actors (EmoBox folds, speech)"
    if "trainings" in report:
        title += f", {len(report['trainings'])} trainings"
    save_plot(plot_conditions(folds, title), to / "conditions.png")
    save_plot(plot_reliability(folds, title), to / "reliability.png")
    save_plot(plot_confusion(report["confusion"], title), to / "confusion.png")
    if folds[0].streams:
        save_plot(plot_adaptation(folds, title), to / "adaptation.png")
        save_plot(plot_hand_over(folds, title), to / "hand_over.png")


def plot_adaptation(folds: Sequence[Measured], title: str) -> Figure:
    """UA at each place in a stream, with and without adaptation, for both kinds of stream."""
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), folds[0].streams, strict=True):
        for way, colour in (("adapted", ACCENT), ("unadapted", _GREY)):
            said = pooled([getattr(fold.streams[kind], way) for fold in folds])
            course = _smoothed(by_position(said))
            _curve(axes, course, f"{way}: {100 * said.ua():.1f} overall", colour)
        axes.set(xlabel="clips heard", title=_TITLES[kind])
        axes.legend(fontsize=8, loc="lower right")
    figure.axes[0].set_ylabel("UA, %")
    figure.suptitle(title, fontsize=10)
    return figure


def plot_hand_over(folds: Sequence[Measured], title: str) -> Figure:
    """UA at each place in a stream whose speaker changes half-way, by what is done about it."""
    figure, axes = blank(6.4, 3.8)
    colours = (_GREY, *_OTHERS, ACCENT)
    for way, colour in zip(folds[0].hand_over, colours, strict=False):
        course = by_position(pooled([fold.hand_over[way] for fold in folds]))
        middle = len(course) // 2
        smooth = _smoothed(course[:middle]) + _smoothed(course[middle:])
        _curve(axes, smooth, way, colour)
        axes.axvline(middle + 0.5, color="black", linewidth=0.8, linestyle=":")
    axes.set(xlabel="clips heard; another actor from the dotted line on", ylabel="UA, %")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, loc="lower right")
    return figure


def plot_conditions(folds: Sequence[Measured], title: str) -> Figure:
    """UA of whole clips under each condition, with its standard deviation over the models, and,
    where the model adapts, what it is once a voice is known in that condition."""
    names = list(folds[0].clips)
    uas = 100 * np.array([[fold.figures(name)["ua"] for name in names] for fold in folds])
    figure, axes = blank(7.2, 3.9)
    places = np.arange(len(names))
    spread = uas.std(axis=0, ddof=1) if len(folds) > 1 else None
    adapted = [ua for name in names if (ua := adapted_ua(folds, name)) is not None]
    width = 0.4 if adapted else 0.8
    options: dict[str, Any] = {"width": width, "ecolor": "black", "error_kw": {"linewidth": 0.8}}
    bars = [
        axes.bar(places - 0.4 + width / 2, uas.mean(axis=0), yerr=spread, color=_GREY, **options)
    ]
    if adapted:
        known = [100 * ua for ua in adapted]
        bars.append(axes.bar(places + 0.2, known, width=width, color=ACCENT))
        axes.legend(bars, ["as it is", f"adapted, from clip {SETTLED + 1} on"], fontsize=8)
    for drawn in bars:
        axes.bar_label(drawn, fmt="%.0f", fontsize=7, label_type="center", color="white")
    axes.set_xticks(places, names, rotation=30, ha="right")
    axes.set(ylim=(0, 100), ylabel="UA, whole clips, %")
    axes.set_title(title, fontsize=10)
    return figure


def plot_reliability(folds: Sequence[Measured], title: str) -> Figure:
    """How often the model is right, by how sure it is, a line for each seed; the bars below show how
    many clips that is."""
    figure, axes = blank(4.8, 4.4)
    axes.plot([0, 100], [0, 100], color=_GREY, linewidth=0.8)
    sure = np.concatenate([fold.clips["clean"] for fold in folds]).max(axis=1).astype(np.float64)
    shares = np.bincount(confidence_bins(sure), minlength=ECE_BINS) / len(sure)
    middles = 100 * (np.arange(ECE_BINS) + 0.5) / ECE_BINS
    axes.bar(middles, 100 * shares, 100 / ECE_BINS, color="#cfd8e6")
    seeds = by_seed(folds)
    for pool, colour in zip(seeds, cycle((ACCENT, *_OTHERS))):
        label = f"seed {pool[0].seed}" if len(seeds) > 1 else None
        axes.plot(*_reliability(pool), "o-", color=colour, markersize=4, label=label)
    if len(seeds) > 1:
        axes.legend(fontsize=8, loc="upper left")
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="confidence, %", ylabel="right, %")
    axes.set_title(title, fontsize=9)
    return figure


def _reliability(folds: Sequence[Measured]) -> tuple[list[float], list[float]]:
    """Mean confidence and accuracy, in percent, in each bin that has clips."""
    said = np.concatenate([fold.clips["clean"] for fold in folds])
    right = said.argmax(axis=1) == np.concatenate([fold.truth for fold in folds])
    sure = said.max(axis=1).astype(np.float64)
    index = confidence_bins(sure)
    bins = [index == i for i in np.unique(index)]
    confidence = [100 * float(sure[inside].mean()) for inside in bins]
    return confidence, [100 * float(right[inside].mean()) for inside in bins]


def _curve(axes: Axes, course: Sequence[float], label: str, colour: str) -> None:
    places = range(1, len(course) + 1)
    axes.plot(places, [100 * ua for ua in course], label=label, color=colour, linewidth=1.6)
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)


def _smoothed(course: Sequence[float]) -> list[float]:
    around = range(-(_SMOOTHED // 2), _SMOOTHED // 2 + 1)
    last = len(course) - 1
    return [
        float(np.mean([course[min(max(place + step, 0), last)] for step in around]))
        for place in range(len(course))
    ]
