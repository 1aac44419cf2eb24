"""Many recordings into one file; `emotion-client local` is the oracle."""

import csv
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.clients.analyze.recordings import Analyze, Client, events, lines, write


@pytest.mark.parametrize(
    "options", ["", "--no-vad --window 2 --hop 0.25", "--no-adapt --no-vad --hop 0.5"]
)
def test_events_are_those_of_local(
    analyze: Analyze, client: Client, folder: Path, tmp_path: Path, model_folder: Path, options: str
) -> None:
    out = tmp_path / "out.jsonl"
    assert analyze(folder, "--out", out, *options.split()).code == 0
    by_path: dict[str, list[dict[str, Any]]] = {}
    for line in lines(out):
        by_path.setdefault(line["path"], []).append(line)
    assert [Path(path).name for path in by_path] == ["a.wav", "b.flac", "c.wav", "stereo.wav"]
    for path, found in by_path.items():
        stereo = ["--channels", "left,right", "--analyze", "left,right"]
        apart = stereo if path.endswith("stereo.wav") else []
        near = client("local", path, "--model", model_folder, *apart, *options.split())
        assert events(found) == events(near.messages)
        assert len(events(found)) > 1
        assert found[-1]["type"] == "summary"
        counts = {c["channel"]: c["dominant"] for c in found[-1]["channels"]}
        assert counts == near.messages[-1]["dominant"]
        assert found[-1]["duration_s"] == near.messages[-1]["audio_s"]


def test_mixed_down_a_stereo_file_is_what_local_makes_of_it(
    analyze: Analyze, client: Client, folder: Path, tmp_path: Path, model_folder: Path
) -> None:
    path, out = folder / "inner" / "stereo.wav", tmp_path / "out.jsonl"
    assert analyze(path, "--out", out, "--mix").code == 0
    near = client("local", path, "--model", model_folder)
    assert events(lines(out)) == events(near.messages)


def test_the_summary_means_what_it_says(analyze: Analyze, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    ran = analyze(folder / "a.wav", "--out", out)
    *found, summary = lines(out)
    (channel,) = summary["channels"]
    judged = [event["probabilities"] for event in found if event["type"] == "emotion"]
    assert channel["inferred"] == len(judged) and channel["windows"] == len(found)
    for label, mean in channel["probabilities"].items():
        assert mean == pytest.approx(np.mean([p[label] for p in judged]), abs=2e-6)
    assert channel["dominant"] == max(channel["probabilities"], key=channel["probabilities"].get)
    assert 0 < channel["speech_share"] <= 1
    assert "a.wav" in ran.out and channel["dominant"] in ran.out


def test_without_speech_there_is_nothing_to_mean(analyze: Analyze, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(48_000), 16_000)
    out = tmp_path / "out.jsonl"
    assert analyze(tmp_path / "quiet.wav", "--out", out).code == 0
    (channel,) = lines(out)[-1]["channels"]
    assert (channel["dominant"], channel["probabilities"], channel["speech_share"]) == (
        None,
        None,
        0,
    )


def test_a_bad_file_is_skipped_named_and_not_the_end(
    analyze: Analyze, folder: Path, tmp_path: Path
) -> None:
    (folder / "broken.wav").write_text("no audio")
    whole = (folder / "b.flac").read_bytes()
    (folder / "half.flac").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp3").touch()
    out = tmp_path / "out.jsonl"
    ran = analyze(folder, "--out", out)
    assert ran.code == 1
    end = ran.err[ran.err.index("3 skipped:") :]
    assert all(name in end for name in ("broken.wav", "half.flac", "empty.mp3"))
    assert {Path(line["path"]).name for line in lines(out)} == {
        *("a.wav", "b.flac", "c.wav", "stereo.wav")
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.wav",), "no such file or folder"),
        (("{calls}", "--out", "{tmp}/no/out.jsonl"), "there is no folder"),
        (("{calls}", "--out", "{tmp}"), "a folder"),
        (("{calls}", "--out", "{pipe}", "--format", "csv", "--fresh"), "a device or a pipe"),
        (("{calls}", "--out", "{tmp}/out.txt"), "--format"),
        (("{calls}", "--format", "cvs"), "did you mean 'csv'"),
        (("{calls}", "--timeline-format", "gif"), "svg, html, png"),
        (("{calls}", "--hop", "9"), "hop_s"),
        (("{calls}", "--mix", "--channels", "a,b"), "--mix"),
        (("{calls}", "--channels", "a,b", "--analyze", "c"), "analyze names 'c'"),
        (("{calls}", "--jobs", "0"), "jobs"),
        (("{empty}",), "no recordings"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_anything_is_judged(
    analyze: Analyze, folder: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    places = {"calls": folder, "tmp": tmp_path, "empty": tmp_path / "empty"}
    places["pipe"] = tmp_path / "pipe"
    given = [text.format(**places) for text in arguments]
    ran = analyze("--out", tmp_path / "out.jsonl", *given)
    assert ran.code == 2
    assert said in ran.error
    assert not (tmp_path / "out.jsonl").exists()
    assert (tmp_path / "pipe").is_fifo()


def test_the_agent_is_analysed_only_where_it_is_named(
    analyze: Analyze, folder: Path, tmp_path: Path
) -> None:
    stereo = folder / "inner" / "stereo.wav"
    both = ("--channels", "customer,agent")
    ran = analyze(stereo, "--out", tmp_path / "a.jsonl", *both)
    assert {line.get("channel", "customer") for line in lines(tmp_path / "a.jsonl")} == {"customer"}
    assert "agent is not analysed" in ran.err
    ran = analyze(stereo, "--out", tmp_path / "b.jsonl", *both, "--analyze", "customer,agent")
    found = events(lines(tmp_path / "b.jsonl"))
    assert {event["channel"] for event in found} == {"customer", "agent"}
    assert "not analysed" not in ran.err


def test_a_table_has_the_same_rows_as_the_lines(
    analyze: Analyze, folder: Path, tmp_path: Path
) -> None:
    for name in ("out.jsonl", "out.csv"):
        assert analyze(folder, "--out", tmp_path / name).code == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [line for line in lines(tmp_path / "out.jsonl") if line["type"] != "summary"]
    assert len(rows) == len(found)
    for row, event in zip(rows, found, strict=True):
        assert (row["path"], row["channel"], row["type"]) == (
            *(event["path"], event["channel"], event["type"]),
        )
        assert float(row["end_s"]) == event["end_s"]
        for label, share in event.get("probabilities", {}).items():
            assert float(row[label]) == share
    with (tmp_path / "out.summary.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 5


def test_parquet_has_the_same_rows_with_types(
    analyze: Analyze, folder: Path, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install '.[parquet]'")
    for name in ("out.jsonl", "out.parquet"):
        assert analyze(folder, "--out", tmp_path / name).code == 0
    table = parquet.read_table(tmp_path / "out.parquet")
    found = [line for line in lines(tmp_path / "out.jsonl") if line["type"] != "summary"]
    assert table.column("end_s").to_pylist() == [event["end_s"] for event in found]
    assert table.column("label").to_pylist() == [event.get("label") for event in found]
    happy = [event.get("probabilities", {}).get("happy") for event in found]
    for ours, theirs in zip(table.column("happy").to_pylist(), happy, strict=True):
        assert ours == (None if theirs is None else pytest.approx(theirs, abs=1e-6))
    assert parquet.read_table(tmp_path / "out.summary.parquet").num_rows == 5


def test_parquet_without_pyarrow_is_one_line(
    analyze: Analyze, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    ran = analyze(folder, "--out", tmp_path / "out.parquet")
    assert ran.code == 2 and "'.[parquet]'" in ran.error


@pytest.mark.skipif(sys.platform != "linux", reason="not in CI: names that are not UTF-8")
def test_names_that_are_no_text_are_spelled_out(analyze: Analyze, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b'/calls/\xff "a", <b> & \n.wav')
    os.makedirs(os.path.dirname(path))
    plain = write(tmp_path / "plain.wav", 2.0)
    os.rename(plain, path)
    for name in ("out.jsonl", "out.csv", "out.emotionml", "out.parquet"):
        ran = analyze(tmp_path / "calls", "--out", tmp_path / name, "--timelines", tmp_path / "t")
        assert ran.code == 0, ran.err
    assert r"\xff" in lines(tmp_path / "out.jsonl")[0]["path"]
    with (tmp_path / "out.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["path"] == lines(tmp_path / "out.jsonl")[0]["path"]
