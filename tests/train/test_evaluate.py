"""The figures against scikit-learn's, and the result file's shape."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from emotion.errors import ConfigurationError
from emotion.labels import EMOTIONS
from train.evaluate import (
    Figures,
    calibration_error,
    combined,
    crossval_metrics,
    figures,
    result,
    summary,
)
from train.recipe import Recipe


def _answers(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 8, n)
    scores = random.normal(size=(n, 8)) + 1.5 * np.eye(8)[truth]
    predicted = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return truth, predicted.astype(np.float32)


@pytest.mark.parametrize("n", [1, 2, 9, 300])
def test_figures_agree_with_scikit_learn(n: int) -> None:
    truth, predicted = _answers(n)
    answers = predicted.argmax(axis=1)
    found = figures(truth, predicted)
    assert found["n"] == n
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, answers))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, answers, average="macro"))
    assert found["confusion"] == confusion_matrix(truth, answers, labels=range(8)).tolist()
    if n == 300:  # with a class that does not occur, scikit-learn warns
        assert found["ua"] == pytest.approx(balanced_accuracy_score(truth, answers))


def test_a_class_that_does_not_occur_has_no_recall_and_does_not_lower_the_mean() -> None:
    found = figures(np.array([0, 0, 3]), np.eye(8, dtype=np.float32)[[0, 0, 3]])
    assert found["ua"] == 1.0
    assert found["per_class"]["neutral"] == 1.0
    assert found["per_class"]["calm"] is None


def test_calibration_error_is_nothing_where_confidence_equals_accuracy() -> None:
    predicted = np.zeros((4, 8), dtype=np.float32)
    predicted[:, 0], predicted[:, 1] = 0.75, 0.25
    assert calibration_error(np.array([0, 0, 0, 1]), predicted) == pytest.approx(0, abs=1e-7)


def test_calibration_error_is_the_gap_where_it_is_the_same_everywhere() -> None:
    predicted = np.eye(8, dtype=np.float32)[[0, 0, 0, 0]]
    assert calibration_error(np.array([0, 1, 2, 3]), predicted) == pytest.approx(0.75)


def test_calibration_error_agrees_with_a_plain_loop() -> None:
    truth, predicted = _answers(500)
    confidence, correct = predicted.max(axis=1), predicted.argmax(axis=1) == truth
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            gap = abs(correct[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    assert calibration_error(truth, predicted) == pytest.approx(expected, abs=1e-6)


def test_a_result_file_has_the_fields_that_were_agreed(recipe: Recipe) -> None:
    report = json.loads(json.dumps(result("random", figures(*_answers(50)), recipe)))
    assert list(report) == [
        *("protocol", "adaptation", "n", "accuracy", "ua", "macro_f1", "ece"),
        *("per_class", "confusion", "recipe"),
    ]
    assert (report["protocol"], report["adaptation"]) == ("random", "none")
    assert list(report["per_class"]) == list(EMOTIONS)
    assert report["recipe"]["name"] == "small"


@pytest.mark.parametrize(
    ("protocol", "key"), [("random", "seeds"), ("emobox", "folds"), ("speakers", "folds")]
)
def test_several_models_give_means_and_sums(protocol: str, key: str, recipe: Recipe) -> None:
    parts: list[tuple[str, Figures]] = [
        (f"part-{seed}", figures(*_answers(40 + seed, seed))) for seed in range(3)
    ]
    report = json.loads(json.dumps(combined(protocol, parts, recipe)))  # type: ignore[arg-type]
    each = [measured for _, measured in parts]
    assert report["n"] == 123
    assert np.sum(report["confusion"]) == 123
    for name in ("accuracy", "ua", "macro_f1", "ece"):
        values = [measured[name] for measured in each]  # type: ignore[literal-required]
        assert report[name] == pytest.approx(np.mean(values))
        assert report["sd"][name] == pytest.approx(np.std(values, ddof=1))
    assert [part["name"] for part in report[key]] == ["part-0", "part-1", "part-2"]
    assert report[key][1]["accuracy"] == each[1]["accuracy"]


def test_one_model_has_no_spread(recipe: Recipe) -> None:
    assert combined("random", [("seed-1", figures(*_answers(9)))], recipe)["sd"] == {}


def test_the_summary_leaves_the_tables_out(recipe: Recipe) -> None:
    short = summary(combined("random", [("seed-1", figures(*_answers(9)))], recipe))
    assert list(short) == [
        "adaptation",
        "n",
        "accuracy",
        "ua",
        "macro_f1",
        "ece",
        "sd",
        "per_class",
    ]


def _crossval(folder: Path, seed: int, broken: str = "") -> Path:
    folder.mkdir()
    parts = [(f"fold-{fold}", figures(*_answers(240, 10 * seed + fold))) for fold in (1, 2)]
    report = combined("emobox", parts, Recipe(name="small", seed=seed))
    for fold in report["folds"]:
        fold.pop(broken, None)
    (folder / "crossval.json").write_text(json.dumps(report))
    return folder


def test_the_figures_of_several_seeds_are_stored_as_their_mean(tmp_path: Path) -> None:
    folders = [_crossval(tmp_path / str(seed), seed) for seed in (42, 43)]
    recipe = Recipe(name="small", seed=42)
    (first, second, both) = (
        crossval_metrics(given, recipe)["emobox"] for given in (folders[:1], folders[1:], folders)
    )
    assert first["ua"] != second["ua"]
    assert both["ua"] == pytest.approx((first["ua"] + second["ua"]) / 2)
    assert (first["n"], both["n"]) == (480, 960)
    reported = json.loads((folders[0] / "crossval.json").read_text())
    assert first == summary(reported)


def test_figures_that_are_not_those_of_a_cross_validation_are_refused(tmp_path: Path) -> None:
    folder = _crossval(tmp_path / "broken", 42, broken="confusion")
    with pytest.raises(ConfigurationError, match=r"no readable crossval\.json"):
        crossval_metrics([folder], Recipe(name="small"))
    with pytest.raises(ConfigurationError, match="is not the one being fitted"):
        crossval_metrics([_crossval(tmp_path / "whole", 42)], Recipe(name="small", epochs=3))
