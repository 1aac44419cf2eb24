"""Progress: a bar where somebody watches, lines where nobody does."""

import io

import pytest
from rich.console import Console

from emotion import progress
from emotion.progress import track, track_bytes, track_done


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_lost_on_the_way(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    monkeypatch.setattr(progress, "console", lambda: console)
    assert list(track([3, 1, 2], "features")) == [3, 1, 2]
    assert list(track([], "features")) == []
    assert list(track_done(iter("ab"), 3, 5, "recordings")) == ["a", "b"]
    assert list(track_bytes([b"ab", b"c"], 5, 8, "archive")) == [b"ab", b"c"]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=(written := io.StringIO()), force_terminal=True, width=80)
    monkeypatch.setattr(progress, "console", lambda: console)
    list(track([1, 2, 3], "features"))
    assert "features" in written.getvalue() and "3/3" in written.getvalue()


def test_elsewhere_a_plain_line_comes_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=(written := io.StringIO()), force_terminal=False)
    monkeypatch.setattr(progress, "console", lambda: console)
    clock = iter(range(0, 1_000, 4))
    monkeypatch.setattr("emotion.progress.time.monotonic", lambda: next(clock))
    list(track(range(10), "features"))
    lines = written.getvalue().splitlines()
    assert lines[0] == "features: 3 of 10, 28 s left"
    assert len(lines) == 3
