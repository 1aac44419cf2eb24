"""emotion-train suite: one command, one table, and what was done is not done again."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.speech import speech_like
from train import held_out, measure, rows, runs, suite
from train.__main__ import main
from train.checkpoint import load_checkpoint
from train.rows import UNSEEN
from train.splits import EMOBOX_FOLDS, Split

RECIPE = """
name = "small"
layers = [1, 2]
pooling = ["mean", "std"]
hidden = [16]
batch_norm = [true]
dropout = [0.1]
learning_rate = 3e-3
schedule = "one-cycle"
batch_size = 16
epochs = 2
"""

FOLDS = [f"fold-{number}" for number in range(1, 7)]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two actors of each fold, a clip for each emotion."""
    folder = tmp_path_factory.mktemp("spoken")
    for actor in sorted(actor for fold in EMOBOX_FOLDS for actor in sorted(fold)[:2]):
        for emotion in range(1, 9):
            # The pauses tell a live call's clips apart.
            samples = np.pad(0.3 * speech_like(2.0, seed=8 * actor + emotion), 9_000)
            path = folder / f"03-01-{emotion:02}-01-01-01-{actor:02}.flac"
            soundfile.write(path, samples.astype(np.float32), 16_000)
    return folder


@dataclass
class Evaluation:
    """A folder with a finished evaluation of its own, and the command that made it."""

    folder: Path
    arguments: list[object]

    def again(
        self, monkeypatch: pytest.MonkeyPatch, target: str = "none", trainings: int = 2
    ) -> int:
        options: list[object] = ["--out", self.folder / "run", "--cache", self.folder / "cache"]
        options += ["--target", target, "--trainings", str(trainings)]
        return _program(monkeypatch, [*self.arguments, *options])

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.folder / "run" / "suite.json").read_text())
        return report


def _program(monkeypatch: pytest.MonkeyPatch, arguments: list[object]) -> int:
    monkeypatch.setattr(rows, "SETTLED", 4)  # eight clips an actor, not sixty
    for draws in ("BALANCED_DRAWS", "CONDITION_DRAWS", "NEUTRAL_DRAWS", "HAND_OVER_DRAWS"):
        monkeypatch.setattr(measure, draws, 1)
    monkeypatch.setattr(measure, "LIVE_BALANCED_DRAWS", 1)
    monkeypatch.setattr(measure, "LIVE_NEUTRAL_DRAWS", 1)
    monkeypatch.setattr(sys, "argv", ["emotion-train", "suite", *map(str, arguments)])
    with pytest.raises(SystemExit) as ending:
        main()
    assert isinstance(ending.value.code, int)
    return ending.value.code


@pytest.fixture(scope="module")
def finished(spoken: Path, whisper: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.toml").write_text(RECIPE)
    inputs = ["--recipe", folder / "small.toml", "--data", spoken, "--whisper", whisper]
    evaluation = Evaluation(folder, [*inputs, "--seeds", "1"])
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert evaluation.again(monkeypatch) == 0
    return evaluation


@pytest.fixture
def evaluation(finished: Evaluation, tmp_path: Path) -> Evaluation:
    """A copy, to be changed."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    return Evaluation(tmp_path, ["--recipe", tmp_path / "small.toml", *finished.arguments[2:]])


def test_one_command_writes_every_row_what_is_behind_it_and_plots(evaluation: Evaluation) -> None:
    report, run = evaluation.report(), evaluation.folder / "run"
    assert (report["protocol"], report["adaptation"], report["n"]) == ("emobox", "none", 96)
    assert report["trainings"] == [42, 43]
    trained = [run / "emobox" / "fold-1", run / "emobox-43" / "fold-1"]
    assert [load_checkpoint(folder).recipe.seed for folder in trained] == [42, 43]
    seeds = [json.loads((fold.parent / "crossval.json").read_text()) for fold in trained]
    assert seeds[0]["confusion"] != seeds[1]["confusion"]
    assert report["rows"][0]["seeds"] == pytest.approx([seed["ua"] for seed in seeds])
    assert report["ua"] == report["rows"][0]["value"]
    assert report["ua"] == pytest.approx(np.mean([seed["ua"] for seed in seeds]))
    assert [fold["name"] for fold in report["folds"]] == [
        f"seed-{seed}/{fold}" for seed in (42, 43) for fold in FOLDS
    ]
    assert len(report["rows"]) == 19
    assert [row["figure"] for row in report["rows"] if row["protocol"] != UNSEEN] == [
        "accuracy, random split, no adaptation"
    ]
    ways = {"unadapted", "never forgetting", "as served", "fresh start"}
    assert set(report["detail"]["hand_over_ua_by_position"]) == ways
    assert len(report["detail"]["ua_by_position"]["balanced"]["adapted"]) == 8
    windows = report["detail"]["windows"]
    assert 96 <= sum(part["n"] for part in windows["by_seconds"].values()) <= 4 * 96
    assert 0 < windows["share"] <= 1
    for plot in ("adaptation", "conditions", "reliability", "confusion", "hand_over"):
        assert (run / "plots" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_done_is_not_done_again_and_gives_the_same_table(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = evaluation.report()
    monkeypatch.setattr(runs, "train_split", None)
    monkeypatch.setattr(held_out, "embed", None)
    assert evaluation.again(monkeypatch) == 0
    assert evaluation.report() == before
    printed = " ".join(capsys.readouterr().out.split())
    assert "telephone" in printed and "babble 5 dB" in printed and "random" in printed
    assert "96 clips, 2 trainings of each fold" in printed and "with seed 42, 43" in printed
    assert evaluation.again(monkeypatch, trainings=1) == 0
    alone = evaluation.report()
    assert "trainings" not in alone and [fold["name"] for fold in alone["folds"]] == FOLDS
    assert alone["rows"][0]["value"] == before["rows"][0]["seeds"][0]


@pytest.mark.parametrize(
    ("change", "trained"),
    [("a model is missing", ["fold-3"]), ("another recipe", ["seed-42", *FOLDS, *FOLDS])],
)
def test_a_model_is_trained_again_where_it_is_missing_or_another_recipes(
    change: str, trained: list[str], evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    if change == "a model is missing":
        (evaluation.folder / "run" / "emobox" / "fold-3" / "run.json").unlink()
    else:
        (evaluation.folder / "small.toml").write_text(RECIPE.replace("epochs = 2", "epochs = 1"))
    assert _trained_again(evaluation, monkeypatch) == trained


def test_a_model_is_trained_again_where_a_recording_that_it_learnt_from_is_another(
    evaluation: Evaluation, spoken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shutil.copytree(spoken, evaluation.folder / "data")
    evaluation.arguments[evaluation.arguments.index(spoken)] = data
    held_out_of_the_first = data / f"03-01-01-01-01-01-{min(EMOBOX_FOLDS[0]):02}.flac"
    samples = 0.3 * speech_like(1.2, seed=1_000)
    soundfile.write(held_out_of_the_first, samples.astype(np.float32), 16_000)
    names = _trained_again(evaluation, monkeypatch)
    assert [name for name in names if name.startswith("fold")] == 2 * FOLDS[1:]


def _trained_again(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that a second run trains."""
    names: list[str] = []
    train = runs.train_split

    def train_split(material: runs.Material, split: Split, *others: Any) -> runs.Trained:
        names.append(split.name)
        return train(material, split, *others)

    monkeypatch.setattr(runs, "train_split", train_split)
    assert evaluation.again(monkeypatch) == 0
    return names


def test_int8_is_judged_by_the_exporter_on_every_fold(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def export(command: list[str], **_: Any) -> SimpleNamespace:
        asked.append(command)
        out = Path(command[command.index("--out") + 1])
        out.mkdir()
        lost = 0.01 * len(asked)
        folds = [{"ua_fp32": 0.5 + 0.1 * fold, "ua": 0.5 + 0.1 * fold - lost} for fold in range(2)]
        (out / "parity.json").write_text(json.dumps({"judge": {"folds": folds}}))
        return SimpleNamespace(returncode=1)  # a limit was missed: that is a result, too

    monkeypatch.setattr(subprocess, "run", export)
    assert evaluation.again(monkeypatch, "avx512_vnni") == 0
    (row,) = [row for row in evaluation.report()["rows"] if "int8" in row["figure"]]
    assert row["judged"] == pytest.approx(0.015) and not row["reached"]
    assert row["seeds"] == pytest.approx([0.01, 0.02])
    assert row["models"] == pytest.approx([0.49, 0.59, 0.48, 0.58])
    run = evaluation.folder / "run"
    for command, folder, out in zip(
        asked, ("emobox", "emobox-43"), ("int8", "int8-43"), strict=True
    ):
        assert command[command.index("--out") + 1] == str(run / out)
        assert command[1:3] == ["-m", "export"] and "avx512_vnni" in command
        assert command[command.index("--judge") + 1] == str(run / folder)
        assert command[command.index("--run") + 1] == str(run / folder / "fold-1")


def test_an_exporter_that_fails_is_an_error_of_one_line_and_the_other_rows_are_written(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = evaluation.report()
    (evaluation.folder / "run" / "suite.json").unlink()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=2))
    assert evaluation.again(monkeypatch, "avx2") == 2
    assert "ended with 2" in capsys.readouterr().err
    assert evaluation.report() == before


def test_without_the_exporter_the_row_is_missing_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(suite.importlib.util, "find_spec", lambda _: None)
    order = suite.Order(recipe="stream", data=tmp_path, out=tmp_path, cache=tmp_path)
    assert suite._precision(order, []) == []
    assert "install the extra `export`" in caplog.text
