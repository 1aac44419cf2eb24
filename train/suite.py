"""Every figure of the model card in one run: trains what is missing, measures, prints one table.

    OUT/emobox/    a cross-validation over EmoBox's folds; OUT/emobox-43/, ...: with the seeds after
    OUT/random/    one over random splits
    OUT/int8/      a fold's model in the precision that ships, with parity.json; likewise
    OUT/suite.json the table, and what is behind it; suite.md: the table alone
    OUT/plots/     five plots

An interrupted run goes on where it was: models of the same recipe, Whisper and recordings are kept, and
so are embeddings.
"""

import importlib.util
import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from emotion.engine import load_voice
from emotion.errors import ConfigurationError
from train import report as reports
from train import runs
from train.corpora import load_corpus, load_ravdess, require_ravdess
from train.evaluate import combined
from train.files import write, write_json
from train.frontend import SAMPLE_RATE
from train.held_out import Fold
from train.measure import Measured, measure
from train.recipe import load_recipe
from train.rows import Row, adapted_ua, as_markdown, by_seed, precision_row, rows, unseen
from train.runs import Material
from train.splits import Protocol
from train.streams import Answers, by_position, pooled
from train.suite_plots import plot_suite

PRECISION = "int8"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to evaluate, and where.

    Attributes:
        recipe: a shipped one's name or a .toml file.
        data: the corpus's folder.
        out: the run's folder.
        cache: for features and embeddings.
        whisper: hub name or folder, in place of the recipe's.
        seeds: how many random splits.
        trainings: of each of EmoBox's folds, with the recipe's seed and those after it.
        target: instruction set that int8 is judged for; None: leave that row out.
    """

    recipe: str
    data: Path
    out: Path
    cache: Path
    whisper: str | None = None
    seeds: int = 5
    trainings: int = 3
    target: str | None = "avx2"


@dataclass(frozen=True)
class Training:
    """A cross-validation over EmoBox's folds.

    Attributes:
        seed: that all of its models were trained with.
        folder: with a run for each.
        folds: the runs' names.
    """

    seed: int
    folder: Path
    folds: tuple[str, ...]


def evaluate(order: Order) -> tuple[dict[str, Any], list[Row]]:
    """Runs or resumes the whole evaluation and writes its files.

    Returns:
        The result file's content, and the table.

    Raises:
        EmotionError: the corpus, Whisper or an earlier run cannot be used.
    """
    require_ravdess(load_corpus(order.data), "suite")
    material = runs.prepare(load_recipe(order.recipe), order.data, order.cache, order.whisper)
    recipe = material.recipe
    random = _cross_validated(material, order.out / "random", "random", order.seeds)
    shared = [seed["accuracy"] for seed in random["seeds"]]
    seeds = range(recipe.seed, recipe.seed + order.trainings)
    trainings = [_training(material, order, seed) for seed in seeds]
    del material  # the whole corpus's recordings
    folds = [fold for training in trainings for fold in _measured(order, training)]
    parts = [(name, fold.figures()) for name, fold in zip(_names(folds), folds, strict=True)]
    report = combined("emobox", parts, recipe, seeds) | {"rows": [], "detail": detail(folds)}
    plot_suite(report, folds, order.out / "plots")
    heard = unseen(folds)
    table = _written(order.out, report, rows(heard, shared))
    if order.target is not None:
        # The longest step, and another program's: what it might fail at loses nothing.
        table = _written(order.out, report, rows(heard, shared, _precision(order, trainings)))
    return report, table


def _written(out: Path, report: dict[str, Any], table: list[Row]) -> list[Row]:
    """Puts the table into the report, and both into their files."""
    report["rows"] = [row.as_json() for row in table]
    write_json(out / "suite.json", report)
    markdown = as_markdown(table)
    write(out / "suite.md", lambda path: path.write_text(markdown, encoding="utf-8"))
    return table


def _names(folds: Sequence[Measured]) -> list[str]:
    several = len(by_seed(folds)) > 1
    return [f"seed-{fold.seed}/{fold.name}" if several else fold.name for fold in folds]


def detail(folds: Sequence[Measured]) -> dict[str, Any]:
    """What is behind the rows: each condition's figures, and UA by position in the streams."""
    conditions = {}
    for name in folds[0].clips:
        each = [fold.figures(name) for fold in folds]
        conditions[name] = {
            "ua": float(np.mean([figures["ua"] for figures in each])),
            "ua_adapted": adapted_ua(folds, name),
            "folds": [
                {"name": fold} | dict(figures)
                for fold, figures in zip(_names(folds), each, strict=True)
            ],
        }
    streams = {
        kind: {
            way: by_position(pooled([getattr(fold.streams[kind], way) for fold in folds]))
            for way in ("adapted", "unadapted")
        }
        for kind in folds[0].streams
    }
    hand_over = {
        way: by_position(pooled([fold.hand_over[way] for fold in folds]))
        for way in folds[0].hand_over
    }
    return {
        "conditions": conditions,
        "windows": _windows(folds),
        "ua_by_position": streams,
        "hand_over_ua_by_position": hand_over,
    }


def _windows(folds: Sequence[Measured]) -> dict[str, Any]:
    """What share of all windows is half speech, and UA by the windows' length."""
    said = pooled([Answers(f.window_truth, f.window_samples, f.windows) for f in folds])
    lengths = {
        f"{samples / SAMPLE_RATE:g}": said[said.position == samples]
        for samples in np.unique(said.position)
    }
    trainings = len(by_seed(folds))  # all of which hear the same windows
    return {
        "share": float(np.mean([fold.window_share for fold in folds])),
        "by_seconds": {
            s: {"n": len(a.truth) // trainings, "ua": a.ua()} for s, a in lengths.items()
        },
    }


def _training(material: Material, order: Order, seed: int) -> Training:
    own = material.recipe.seed
    folder = order.out / ("emobox" if seed == own else f"emobox-{seed}")
    recipe = msgspec.structs.replace(material.recipe, seed=seed)
    report = _cross_validated(replace(material, recipe=recipe), folder, "emobox", 1)
    return Training(seed, folder, tuple(fold["name"] for fold in report["folds"]))


def _cross_validated(
    material: Material, folder: Path, protocol: Protocol, seeds: int
) -> dict[str, Any]:
    """A cross-validation's result file, of what is there already where it fits."""
    report, histories = runs.crossval_run(material, folder, protocol, seeds)
    reports.plot_result(report, histories, folder / "plots")
    return report


def _measured(order: Order, training: Training) -> list[Measured]:
    corpus, voice = load_ravdess(order.data), load_voice()
    # Each fold's recordings are let go of before the next one's are read.
    return [
        measure(Fold(training.folder / name, corpus, order.cache, voice), training.seed)
        for name in training.folds
    ]


def _precision(order: Order, trainings: Sequence[Training]) -> list[Row]:
    """What int8 changes, as `emotion-export` finds it; no row where that is not installed."""
    if importlib.util.find_spec("onnxscript") is None:
        _log.warning("%s against fp32 is not measured: install the extra `export`", PRECISION)
        return []
    judged = [_judged(order, training.folder) for training in trainings]
    return [precision_row(f"{PRECISION} ({order.target})", judged)]


def _judged(order: Order, emobox: Path) -> list[tuple[float, float]]:
    """UA of each fold's model on its held-out clips, in float32 and in int8."""
    out = order.out / emobox.name.replace("emobox", PRECISION)
    command = [sys.executable, "-m", "export", "--run", str(emobox / "fold-1"), "--out", str(out)]
    command += ["--precision", PRECISION, "--target", str(order.target)]
    command += ["--judge", str(emobox), "--data", str(order.data)]
    path = out / "parity.json"
    path.unlink(missing_ok=True)  # what an earlier export left is no answer
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1) or not path.is_file():  # 1: a limit was missed; it is written
        raise ConfigurationError(f"{' '.join(command)} ended with {done.returncode}")
    folds = json.loads(path.read_text(encoding="utf-8"))["judge"]["folds"]
    return [(fold["ua_fp32"], fold["ua"]) for fold in folds]
