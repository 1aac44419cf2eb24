"""A run that broke off goes on, redoes nothing that is done, and holds little."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clients.analyze import run
from clients.analyze.found import Found
from clients.analyze.store import open_store
from tests.clients.analyze.recordings import Analyze, Client, events, lines, write

ROOT = Path(__file__).parents[3]


def killed_at(folder: Path, out: Path, model: Path, where: str, count: int) -> None:
    """Runs the command and kills it, as `kill -9` does, when this method is called for the n-th time."""
    module, name = where.split(":")
    holder, method = name.split(".")
    code = f"""
import os, signal, sys
from importlib import import_module
holder = getattr(import_module({module!r}), {holder!r})
real, calls = getattr(holder, {method!r}), []
def deadly(*arguments):
    calls.append(1)
    if len(calls) == {count}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
setattr(holder, {method!r}, deadly)
from clients.__main__ import main
sys.argv = ["emotion-client", "analyze", {str(folder)!r}, "--out", {str(out)!r},
            "--model", {str(model)!r}, "--jobs", "1"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode == -9, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="not in CI: Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("where", "count", "finished"),
    [
        ("clients.analyze.store:Store.begin", 1, 0),
        ("clients.analyze.store:Store.keep", 3, 2),
        ("clients.analyze.store:Store.finish", 3, 2),
        ("clients.analyze.outputs:JsonLines.row", 4, 4),
        ("clients.analyze.outputs:JsonLines.close", 1, 4),
    ],
)
def test_killed_at_any_moment_it_goes_on_and_ends_the_same(
    analyze: Analyze,
    folder: Path,
    tmp_path: Path,
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    count: int,
    finished: int,
) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert analyze(folder, "--out", whole).code == 0
    killed_at(folder, out, model_folder, where, count)
    assert not out.exists()
    again = counted(monkeypatch)
    assert analyze(folder, "--out", out).code == 0
    assert len(again) == 4 - finished
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        *("out.jsonl", "out.jsonl.progress", "whole.jsonl", "whole.jsonl.progress")
    ]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recordings that are judged from now on."""
    judged, real = list[str](), run.judge_file

    def judge(path: Path, *arguments: Any) -> Iterator[Any]:
        judged.append(path.name)
        return real(path, *arguments)

    monkeypatch.setattr(run, "judge_file", judge)
    return judged


def test_an_old_output_stays_until_the_new_one_is_whole(
    analyze: Analyze, folder: Path, tmp_path: Path, model_folder: Path
) -> None:
    out = tmp_path / "out.jsonl"
    assert analyze(folder, "--out", out).code == 0
    before = out.read_bytes()
    write(folder / "d.wav", 2.0)
    if os.name != "nt":
        killed_at(folder, out, model_folder, "clients.analyze.outputs:JsonLines.row", 5)
        assert out.read_bytes() == before
    assert analyze(folder, "--out", out).code == 0
    assert out.read_bytes() != before


def test_only_what_is_new_or_has_changed_is_judged_again(
    analyze: Analyze, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    analyze(folder, "--out", out)
    judged = counted(monkeypatch)
    ran = analyze(folder, "--out", out)
    assert (judged, ran.code) == ([], 0)
    assert "4 of 4 are finished already" in ran.err
    write(folder / "a.wav", 2.5, seed=7)
    write(folder / "new.wav", 2.0)
    (folder / "b.flac").unlink()
    assert analyze(folder, "--out", out).code == 0
    assert sorted(judged) == ["a.wav", "new.wav"]
    names = dict.fromkeys(Path(line["path"]).name for line in lines(out))
    assert list(names) == ["a.wav", "new.wav", "c.wav", "stereo.wav"]


def test_a_bad_file_that_was_repaired_is_judged(
    analyze: Analyze, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    (folder / "d.wav").write_text("no audio")
    assert analyze(folder, "--out", out).code == 1
    judged = counted(monkeypatch)
    write(folder / "d.wav", 2.0)
    assert analyze(folder, "--out", out).code == 0
    assert judged == ["d.wav"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--hop 0.5", "hop_s was 1.0 and is 0.5"),
        ("--mix", "mix was false and is true"),
        ("--no-adapt", "adapt was true and is false"),
        ("--no-vad --window 2", "window_s was 3.0 and is 2.0; vad was true and is false"),
    ],
)
def test_other_settings_are_refused_unless_it_begins_anew(
    analyze: Analyze, folder: Path, tmp_path: Path, options: str, said: str
) -> None:
    out = tmp_path / "out.jsonl"
    assert analyze(folder, "--out", out).code == 0
    before = out.read_bytes()
    ran = analyze(folder, "--out", out, *options.split())
    assert ran.code == 2
    assert said in ran.error and "--fresh" in ran.error
    assert out.read_bytes() == before
    assert analyze(folder, "--out", out, "--fresh", *options.split()).code == 0
    assert out.read_bytes() != before


def test_a_default_that_is_said_is_no_other_setting(
    analyze: Analyze, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    assert analyze(folder, "--out", out).code == 0
    judged = counted(monkeypatch)
    assert analyze(folder, "--out", out, "--adapt").code == 0
    assert judged == []


def test_a_model_that_cannot_adapt_judges_all_but_who_insists(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    from tests.fakes import write_model

    model = write_model(tmp_path / "fixed", classifier=False)
    command = ("analyze", folder, "--out", tmp_path / "out.jsonl", "--model", model)
    ran = client(*command, "--adapt")
    assert ran.code == 2 and "the model 'fake' cannot adapt" in ran.error
    assert client(*command).code == 0
    found = events(lines(tmp_path / "out.jsonl"))
    assert {event.get("adapted_s", 0) for event in found} == {0}
    assert client(*command, "--no-adapt").code == 0


def test_another_model_is_another_setting(
    analyze: Analyze, client: Client, folder: Path, tmp_path: Path
) -> None:
    from tests.fakes import write_model

    out = tmp_path / "out.jsonl"
    analyze(folder, "--out", out)
    other = write_model(tmp_path / "other", version="2")
    ran = client("analyze", folder, "--out", out, "--model", other)
    assert ran.code == 2 and "model was" in ran.error


def test_a_file_of_somebody_elses_is_not_overwritten(
    analyze: Analyze, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine.jsonl"
    out.write_text("precious")
    ran = analyze(folder, "--out", out)
    assert ran.code == 2 and "--fresh" in ran.error
    assert out.read_text() == "precious"


def test_a_summary_of_somebody_elses_is_not_replaced(
    analyze: Analyze, folder: Path, tmp_path: Path
) -> None:
    beside = tmp_path / "calls.summary.csv"
    beside.write_text("precious")
    ran = analyze(folder, "--out", tmp_path / "calls.csv")
    assert ran.code == 2 and "calls.summary.csv: exists" in ran.error
    assert beside.read_text() == "precious"


def test_two_runs_do_not_write_the_same_output(
    analyze: Analyze, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    with open_store(out, {}):
        for more in ((), ("--fresh",)):
            ran = analyze(folder, "--out", out, *more)
            assert ran.code == 2 and "another run" in ran.error
        assert out.with_name("out.jsonl.progress").exists()


def test_progress_that_is_none_is_one_line(analyze: Analyze, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.progress").write_text(
        "not a database, but long enough to be read as one"
    )
    ran = analyze(folder, "--out", tmp_path / "out.jsonl")
    assert ran.code == 2 and "--fresh" in ran.error


def test_no_more_recordings_are_taken_than_are_worked_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 recordings must not wait in memory as futures, or their results."""
    taken = list[int]()

    def recordings() -> Iterator[Found]:
        for number in range(100):
            taken.append(number)
            yield Found(f"{number}.wav", f"{number}.wav")

    monkeypatch.setattr(run, "_judge", lambda found, *_: run.Outcome(found, 0.0, None))
    settings: Any = None
    outcomes = run.judge_all(recordings(), settings, settings, settings, jobs=3)
    for number, _ in enumerate(outcomes):
        assert len(taken) <= number + 1 + 2 * 2 * 3
    assert len(taken) == 100


def test_rows_of_a_long_recording_do_not_wait_for_its_end(
    analyze: Analyze, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clients.analyze.store import Store

    monkeypatch.setattr(run, "CHUNK", 8)
    sizes, real = list[int](), Store.keep

    def keep(store: Store, number: int, rows: list[Any]) -> None:
        sizes.append(len(rows))
        real(store, number, rows)

    monkeypatch.setattr(Store, "keep", keep)
    write(tmp_path / "long.wav", 60.0)
    assert analyze(tmp_path / "long.wav", "--out", tmp_path / "out.jsonl").code == 0
    assert sum(sizes) == 60 and max(sizes) <= 8 + 10
    assert [event["seq"] for event in events(lines(tmp_path / "out.jsonl"))] == list(range(1, 61))


def test_the_progress_is_small(analyze: Analyze, tmp_path: Path) -> None:
    """So that 100,000 recordings fit on a disk."""
    write(tmp_path / "a.wav", 60.0)
    analyze(tmp_path / "a.wav", "--out", tmp_path / "out.jsonl", "--hop", "0.25", "--no-vad")
    with sqlite3.connect(tmp_path / "out.jsonl.progress") as database:
        ((size,),) = database.execute("select sum(length(rows)) from chunks").fetchall()
    database.close()
    assert size < (tmp_path / "out.jsonl").stat().st_size / 3


def test_ctrl_c_keeps_what_is_finished(
    analyze: Analyze, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = tmp_path / "out.jsonl", run._judge

    def judge(found: Found, *arguments: Any) -> Any:
        if found.name.endswith("c.wav"):
            raise KeyboardInterrupt
        return real(found, *arguments)

    monkeypatch.setattr(run, "_judge", judge)
    ran = analyze(folder, "--out", out, "--jobs", 1)
    assert ran.code == 130
    assert re.search(r"out\.jsonl\.progress; the same command goes on", ran.err)
    monkeypatch.setattr(run, "_judge", real)
    judged = counted(monkeypatch)
    assert analyze(folder, "--out", out).code == 0
    assert "a.wav" not in judged and "c.wav" in judged
