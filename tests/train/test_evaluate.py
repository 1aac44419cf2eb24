"""The figures against scikit-learn's, and the result file's shape."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from emotion.labels import EMOTIONS
from train.evaluate import Figures, calibration_error, combined, figures, result, summary
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


def test_clips_that_several_trainings_judged_are_counted_once() -> None:
    parts = [(f"seed-{seed}/fold-1", figures(*_answers(9, seed))) for seed in (1, 2)]
    report = combined("emobox", parts, Recipe(name="small"), [1, 2])
    assert (report["n"], report["trainings"]) == (9, [1, 2])
    assert summary(report)["trainings"] == [1, 2]
    assert report["ua"] == pytest.approx((parts[0][1]["ua"] + parts[1][1]["ua"]) / 2)
    alone = combined("emobox", parts[:1], Recipe(name="small"), [1])
    assert alone["n"] == 9 and "trainings" not in alone
