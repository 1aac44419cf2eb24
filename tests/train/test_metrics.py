"""The figures that a model carries which was trained on everything."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emotion.errors import ConfigurationError
from train.evaluate import combined, figures, summary
from train.metrics import crossval_metrics
from train.recipe import Recipe
from train.splits import Protocol


def crossval(
    folder: Path,
    seed: int = 42,
    protocol: Protocol = "emobox",
    names: Sequence[str] = ("fold-1", "fold-2"),
    **recipe: Any,
) -> Path:
    """A cross-validation's folder with made-up figures."""
    random = np.random.default_rng([seed, len(names)])
    parts = []
    for name in names:
        truth, answered = random.integers(0, 8, (2, 240))
        parts.append((name, figures(truth, np.eye(8, dtype=np.float32)[answered])))
    report = combined(protocol, parts, Recipe(name="small", seed=seed, **recipe))
    folder.mkdir()
    (folder / "crossval.json").write_text(json.dumps(report | {"best_epoch": {"ua": 1.0}}))
    return folder


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "crossval.json").read_text())
    return report


def test_one_cross_validations_figures_are_stored_as_it_reports_them(tmp_path: Path) -> None:
    folds = crossval(tmp_path / "folds")
    random = crossval(tmp_path / "random", protocol="random", names=("seed-42", "seed-43"))
    found = crossval_metrics([folds, random], Recipe(name="small"))
    assert found == {"emobox": summary(report_of(folds)), "random": summary(report_of(random))}


def test_the_figures_of_several_seeds_are_stored_as_their_mean(tmp_path: Path) -> None:
    folders = [crossval(tmp_path / str(seed), seed) for seed in (42, 43)]
    stored = crossval_metrics(folders, Recipe(name="small"))["emobox"]
    first, second = (report_of(folder)["ua"] for folder in folders)
    assert first != second and stored["ua"] == pytest.approx((first + second) / 2)
    assert (stored["n"], stored["trainings"]) == (480, [42, 43])


def test_the_models_own_seed_has_to_be_among_them(tmp_path: Path) -> None:
    folder = crossval(tmp_path / "43", 43)
    with pytest.raises(ConfigurationError, match=r"seeds \[43\], but the model's is 42"):
        crossval_metrics([folder], Recipe(name="small"))


def test_figures_of_another_recipe_are_refused(tmp_path: Path) -> None:
    folder = crossval(tmp_path / "folds", epochs=3)
    with pytest.raises(ConfigurationError, match="is not the one being fitted"):
        crossval_metrics([folder], Recipe(name="small"))


@pytest.mark.parametrize(
    ("protocol", "names", "again"),
    [("emobox", ("fold-1", "fold-2"), 42), ("random", ("seed-42", "seed-43"), 43)],
)
def test_the_same_models_are_not_counted_twice(
    protocol: Protocol, names: tuple[str, ...], again: int, tmp_path: Path
) -> None:
    folders = [
        crossval(tmp_path / "one", 42, protocol, names),
        crossval(tmp_path / "other", again, protocol, names[1:]),
    ]
    with pytest.raises(ConfigurationError, match=f"another folder has {names[1]} with the same"):
        crossval_metrics(folders, Recipe(name="small"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("{", "truncated"),
        ("[]", "object"),
        ({"folds": []}, "folds"),
        ({"folds": None}, "lists no models"),
        ({"folds": [{"name": "fold-1"}]}, "missing required field"),
        ({"recipe": {"name": "small", "epoch": 3}}, "epoch"),
        ({"protocol": "emo"}, "emo"),
    ],
)
def test_what_is_no_cross_validation_is_refused_with_the_reason(
    content: Any, said: str, tmp_path: Path
) -> None:
    folder = crossval(tmp_path / "broken")
    path = folder / "crossval.json"
    if content is None:
        path.unlink()
    else:
        report = content if isinstance(content, str) else json.dumps(report_of(folder) | content)
        path.write_text(report)
    with pytest.raises(
        ConfigurationError, match=r"no readable crossval\.json \(.*\); run"
    ) as refused:
        crossval_metrics([folder], Recipe(name="small"))
    assert said in str(refused.value)
