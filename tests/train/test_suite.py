"""emotion-train suite: one command, one table, and what was done is not done again."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.speech import speech_like
from train import measure, rows, runs, suite
from train.__main__ import main
from train.rows import RANDOM, UNSEEN
from train.splits import EMOBOX_FOLDS

Suite = Callable[..., int]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two actors of each fold, a clip for each emotion."""
    folder = tmp_path_factory.mktemp("spoken")
    for actor in sorted(actor for fold in EMOBOX_FOLDS for actor in sorted(fold)[:2]):
        for emotion in range(1, 9):
            samples = 0.3 * speech_like(1.2, seed=8 * actor + emotion)
            path = folder / f"03-01-{emotion:02}-01-01-01-{actor:02}.flac"
            soundfile.write(path, samples.astype(np.float32), 16_000)
    return folder


@pytest.fixture
def evaluated(
    spoken: Path, whisper: Path, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Suite:
    monkeypatch.setattr(rows, "SETTLED", 4)  # eight clips an actor, not sixty
    for draws in ("BALANCED_DRAWS", "NEUTRAL_DRAWS", "HAND_OVER_DRAWS"):
        monkeypatch.setattr(measure, draws, 2)

    def run(*more: str) -> int:
        arguments = ["--recipe", recipe_file, "--data", spoken, "--whisper", whisper]
        arguments += [
            "--cache",
            tmp_path / "cache",
            "--out",
            tmp_path / "run",
            "--seeds",
            "2",
            *more,
        ]
        monkeypatch.setattr(sys, "argv", ["emotion-train", "suite", *map(str, arguments)])
        with pytest.raises(SystemExit) as ending:
            main()
        assert isinstance(ending.value.code, int)
        return ending.value.code

    return run


def test_one_command_prints_every_row_and_writes_them(
    evaluated: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluated("--target", "none") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert UNSEEN.split()[0] in printed and RANDOM.split(",")[0] in printed
    report = json.loads((tmp_path / "run" / "suite.json").read_text())
    assert (report["protocol"], report["adaptation"], report["n"]) == ("emobox", "none", 96)
    folds = json.loads((tmp_path / "run" / "emobox" / "crossval.json").read_text())
    assert report["ua"] == pytest.approx(folds["ua"])
    assert len(report["rows"]) == 15
    assert report["rows"][0]["value"] == pytest.approx(folds["ua"])
    assert set(report["detail"]["hand_over_ua_by_position"]) >= {
        "unadapted",
        "as served",
        "fresh start",
    }
    assert len(report["detail"]["ua_by_position"]["balanced"]["adapted"]) == 8
    for plot in ("adaptation", "conditions", "reliability", "confusion", "hand_over"):
        assert (tmp_path / "run" / "plots" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_done_is_kept_unless_the_recipe_is_another(
    evaluated: Suite, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evaluated("--target", "none") == 0
    before = (tmp_path / "run" / "suite.json").read_bytes()
    trained: list[str] = []
    crossval = runs.crossval_run
    monkeypatch.setattr(
        runs, "crossval_run", lambda *given: trained.append(given[2]) or crossval(*given)
    )
    assert evaluated("--target", "none") == 0
    assert not trained and (tmp_path / "run" / "suite.json").read_bytes() == before
    (tmp_path / "run" / "emobox" / "fold-3" / "run.json").unlink()
    assert evaluated("--target", "none") == 0
    assert trained == ["emobox"]
    recipe_file.write_text(recipe_file.read_text().replace("epochs = 4", "epochs = 5"))
    assert evaluated("--target", "none") == 0
    assert trained == ["emobox", "random", "emobox"]


def test_int8_is_judged_by_the_exporter_on_every_fold(
    evaluated: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def export(command: list[str], **_: Any) -> SimpleNamespace:
        asked.append(command)
        out = Path(command[command.index("--out") + 1])
        out.mkdir()
        folds = [{"ua_fp32": 0.5 + 0.1 * fold, "ua": 0.49 + 0.1 * fold} for fold in range(3)]
        (out / "parity.json").write_text(json.dumps({"judge": {"folds": folds}}))
        return SimpleNamespace(returncode=1)  # a limit was missed: that is a result, too

    monkeypatch.setattr(subprocess, "run", export)
    assert evaluated("--target", "avx512_vnni") == 0
    report = json.loads((tmp_path / "run" / "suite.json").read_text())
    (row,) = [row for row in report["rows"] if "int8" in row["figure"]]
    assert row["judged"] == pytest.approx(0.01) and not row["reached"]
    assert row["models"] == pytest.approx([0.49, 0.59, 0.69])
    assert asked[0][1:3] == ["-m", "export"] and "avx512_vnni" in asked[0]
    assert asked[0][asked[0].index("--judge") + 1] == str(tmp_path / "run" / "emobox")


def test_an_exporter_that_fails_is_an_error_of_one_line(
    evaluated: Suite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=2))
    assert evaluated() == 2
    assert "ended with 2" in capsys.readouterr().err


def test_without_the_exporter_the_row_is_missing_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(suite.importlib.util, "find_spec", lambda _: None)
    order = suite.Order("stream", tmp_path, tmp_path, tmp_path)
    assert suite._precision(order) == []
    assert "install the extra `export`" in caplog.text
