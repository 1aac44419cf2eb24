"""The table of loads: what stands in it, and one small load."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import load_table as program
from benchmarks.load_table import HEADS, ROWS, Row, Run, heading, measure, table
from benchmarks.machine import Machine
from clients.tally import Result

HERE = Machine("X 1", ("avx2",), 2)


def a_run(row: str = "within", *, capacity: int = 40, others: float = 0.0, **figures: Any) -> Run:
    whole: dict[str, Any] = {
        "streams": 32,
        "refused": 0,
        "disconnected": 0,
        "windows": 960,
        "inferred": 480,
        "silent": 470,
        "skipped": 10,
        "events_missing": 0,
        "p50_ms": 75.4,
        "p95_ms": 146.0,
        "p99_ms": 182.0,
        "inferred_p99_ms": 190.0,
        "ramp_windows": 5,
        "ramp_p99_ms": 80.0,
        "server_cpu": 1.5,
        "server_loop_cpu": 0.15,
        "server_rss_mb": 200.0,
        "client_cpu": 0.112,
        "client_late": 0.0,
    }
    return Run(
        row=row,
        capacity=capacity,
        judging_ms=54.2,
        others=others,
        result=Result(**whole | figures),
    )


def cells(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines()]


def test_a_row_is_the_median_of_its_runs() -> None:
    runs = [a_run(p50_ms=ms, skipped=skipped) for ms, skipped in ((90, 0), (75, 1), (70, 50))]
    heads, _, row = cells(table(runs))
    assert dict(zip(heads, row, strict=True)) == {
        "load": "0.8 of the capacity",
        "streams": "32",
        "frames": "100 ms",
        "refused": "0",
        "windows judged %": "50",
        "skipped": "1",
        "missing": "0",
        "p50 ms": "75",
        "p95 ms": "146",
        "p99 ms": "182",
        "server, cores": "1.50",
        "its event loop %": "10",
        "client, cores": "0.11",
    }


def test_what_nobody_knows_is_a_question_mark() -> None:
    unknown = a_run(windows=0, inferred=0, p50_ms=None, server_cpu=None, server_loop_cpu=None)
    row = cells(table([unknown]))[-1]
    assert [row[HEADS.index(head)] for head in ("windows judged %", "p50 ms", "server, cores")] == (
        ["?"] * 3
    )


def test_rows_stand_in_their_order_whatever_came_first() -> None:
    runs = [a_run(row.name) for row in reversed(ROWS)]
    assert [row[0] for row in cells(table(runs))[2:]] == [row.what for row in ROWS]


def test_the_heading_tells_what_was_measured_and_not_what_was_given() -> None:
    runs = [a_run(capacity=38), a_run("short", capacity=42), a_run("override", capacity=100)]
    assert heading(HERE, runs) == (
        "X 1 (avx2), 2 cores; capacity measured at the start: 40 sessions (38 to 42); a judged "
        "window takes about 54 ms at 0.8 of the capacity."
    )


def test_a_machine_that_was_busy_with_something_else_is_told() -> None:
    assert "measure again" in heading(HERE, [a_run(), a_run(others=0.7)])


def test_all_streams_ask_for_what_the_capacity_allows() -> None:
    asked = {row.name: int(row.streams(40)) for row in ROWS}
    assert asked == {"within": 32, "short": 32, "twice": 80, "speaking": 20, "override": 100}


def test_a_row_that_there_is_not_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["load_table", "--rows", "within,without"])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
    assert "error: rows: 'without' is none; expected some of within, " in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="not in CI: processes are read in /proc")
def test_a_row_is_measured_on_a_server_of_its_own(model_folder: Path) -> None:
    row = Row("small", "small", lambda capacity: capacity, options=("--max-sessions", "3"))
    ran = measure(row, 1.5, ramp_s=0.2, model=model_folder)
    assert (ran.capacity, ran.result.streams, ran.result.refused) == (3, 3, 0)
    assert ran.result.windows > 0
