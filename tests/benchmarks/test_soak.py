"""A soak in small: that its verdict can go both ways, and that nothing of it is left running."""

import dataclasses
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import soak as program
from benchmarks.serving import Held, Serving, serving
from benchmarks.soak import Plan, Report, soak
from benchmarks.verdict import LIMIT_MIB, MIN_LOOKS, Evidence, growth, verdict
from emotion.errors import ConfigurationError

linux = pytest.mark.skipif(sys.platform != "linux", reason="not in CI: processes are read in /proc")
SMALL = Plan(
    minutes=0.1,
    share=0.4,
    shortest_s=0.1,
    longest_s=1.0,
    every_s=1.0,
    grace_s=0.2,
    max_sessions=10,
)
LOOKS = 720
WARMING = [150 + 20 * min(1.0, n / 90) for n in range(LOOKS)]  # MiB
FLAT = [mib + 1.5 * (n % 3 - 1) for n, mib in enumerate(WARMING)]
LEAKING = [mib + 10 * n / LOOKS for n, mib in enumerate(FLAT)]


def evidence(**changes: Any) -> Evidence:
    """What a server that keeps nothing shows, apart from the changes."""
    whole: dict[str, Any] = {
        "memory_mib": FLAT,
        "calls": 900,
        "start": Held(170_000, 10, 2, 1.0),
        "end": Held(180_000, 10, 4, 2_000.0),
        "workers": 2,
        "open_sessions": 0,
        "events_missing": 0,
        "monitor_missing": 0,
        "lost": 0,
        "refused": 0,
        "failures": 0,
    }
    return Evidence(**whole | changes)


def failed(seen: Evidence) -> list[str]:
    return [check.name for check in verdict(seen) if not check.ok]


def test_memory_that_warms_up_and_then_stays_is_flat() -> None:
    assert failed(evidence()) == []
    assert growth(FLAT).mib == 0 and growth(FLAT).spread == pytest.approx(3.0)


def test_a_steady_leak_is_seen_however_the_looks_scatter() -> None:
    assert failed(evidence(memory_mib=LEAKING)) == ["memory"]
    assert growth(LEAKING).mib == pytest.approx(5, abs=0.1)


def test_what_was_needed_for_a_moment_only_is_no_leak() -> None:
    assert failed(evidence(memory_mib=[*FLAT[:-100], *[500.0] * 50, *FLAT[-50:]])) == []


def test_memory_that_shrinks_is_no_leak() -> None:
    assert failed(evidence(memory_mib=FLAT[::-1])) == []


def test_the_limit_itself_is_allowed_and_no_more() -> None:
    half = [100.0] * (LOOKS // 2)
    assert failed(evidence(memory_mib=half + [100 + LIMIT_MIB] * (LOOKS // 2))) == []
    assert failed(evidence(memory_mib=half + [100.1 + LIMIT_MIB] * (LOOKS // 2))) == ["memory"]


def test_too_few_looks_are_not_judged() -> None:
    growth([1.0] * (4 * MIN_LOOKS))
    with pytest.raises(ValueError, match="15 looks"):
        growth([1.0] * (4 * MIN_LOOKS - 1))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("descriptors", {"end": Held(180_000, 11, 4, 2_000.0)}),
        ("threads", {"end": Held(180_000, 10, 5, 2_000.0)}),
        ("sessions", {"open_sessions": 1}),
        ("events", {"events_missing": 1}),
        ("events", {"monitor_missing": 1}),
        ("events", {"monitor_missing": -1}),
        ("calls", {"lost": 1}),
        ("calls", {"refused": 1}),
        ("log", {"failures": 1}),
    ],
)
def test_whatever_is_left_behind_or_lost_fails_by_its_name(
    name: str, changes: dict[str, Any]
) -> None:
    assert failed(evidence(**changes)) == [name]


@pytest.mark.parametrize(
    "change", [{"minutes": 0.05}, {"share": 0.0}, {"share": 1.0}, {"shortest_s": 1.1}]
)
def test_a_soak_that_could_show_nothing_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        dataclasses.replace(SMALL, **change)


@linux
def test_a_small_soak_leaves_nothing_behind_and_nothing_running(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[Serving] = []

    @contextmanager
    def noted(*options: str, **more: Any) -> Iterator[Serving]:
        with serving(*options, **more) as server:
            servers.append(server)
            yield server

    monkeypatch.setattr(program, "serving", noted)
    said: list[str] = []
    report = soak(SMALL, said.append, model=model_folder)
    left = [check for check in report.checks if not check.ok and check.name != "memory"]
    assert left == []
    assert report.streams == 4 and report.evidence.calls > report.broken_off > 0
    assert len(said) == len(report.samples) == 6
    last = report.samples[-1]
    assert last.inferred + last.silent > 0 and last.monitored > 0
    (server,) = servers
    assert server.process.returncode == 0
    assert "log" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(("memory", "code"), [(FLAT, 0), (LEAKING, 1)])
def test_the_exit_code_says_whether_memory_was_flat_and_the_figures_are_kept(
    memory: list[float],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    seen = evidence(memory_mib=memory)
    report = Report(
        capacity=10, streams=7, broken_off=450, samples=[], evidence=seen, checks=verdict(seen)
    )
    monkeypatch.setattr(program, "soak", lambda *_, **__: report)
    file = tmp_path / "soak.json"
    monkeypatch.setattr(sys, "argv", ["soak", "--out", str(file)])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert int(ended.value.code or 0) == code
    kept = msgspec.json.decode(file.read_bytes())
    assert kept["ok"] is (code == 0) and kept["report"]["evidence"]["memory_mib"] == memory
    assert ("FAILED memory" in capsys.readouterr().out) == (code == 1)
