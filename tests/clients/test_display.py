"""What people see."""

import io

import pytest
from rich.console import Console

from clients.display import JsonLines, Lines, choose
from emotion.messages import Error, Message, Smoothed, Started, Warning
from tests.fakes import emotion, silence, started, summary_of


def shown(*messages: Message, width: int = 100) -> list[str]:
    """The lines that a terminal shows, without the empty ones."""
    screen = io.StringIO()
    console = Console(file=screen, width=width, highlight=False, color_system=None)
    lines = Lines(console, "call.wav, 9.0 s")
    for message in messages:
        lines.show(message, "")  # type: ignore[arg-type]
    return [line.rstrip() for line in screen.getvalue().splitlines() if line.strip()]


def begun(*analyze: str) -> Started:
    return started(channels=analyze, analyze=analyze)


def test_a_window_is_one_line_with_its_time_label_and_shares() -> None:
    smoothed = Smoothed(label="sad", probabilities={"surprised": 0.48, "sad": 0.52})
    event = emotion("surprised", 0.871, start_s=597.0, end_s=600.04, smoothed=smoothed)
    title, line = shown(begun("mono"), event)
    assert "call.wav" in title and "stream 1" in title
    assert line.split()[:4] == ["9:57.0", "-", "10:00.0", "surprised"]
    assert "87%" in line and line.endswith("sad  52%")
    assert "mono" not in line


def test_a_greater_confidence_is_a_longer_bar() -> None:
    bars = [
        shown(emotion("angry", share))[0].count("\N{BOX DRAWINGS HEAVY HORIZONTAL}")
        for share in (0, 0.3, 1)
    ]
    assert bars == sorted(bars)


def test_lines_do_not_wrap_on_eighty_columns() -> None:
    lines = shown(
        begun("customer", "agent"), emotion("surprised", 1.0, channel="customer"), width=80
    )
    assert len(lines) == 2


def test_with_several_channels_each_line_names_its_own() -> None:
    _, first, second = shown(
        begun("left", "right"),
        emotion("calm", 0.5, channel="left"),
        emotion("sad", 0.5, channel="right"),
    )
    assert "left" in first and "right" in second


def test_silence_and_warnings_have_lines_too() -> None:
    first, second = shown(silence(1), Warning(code="too_fast", message="slow down"))
    assert "silence" in first and "slow down" in second


@pytest.mark.parametrize(
    ("dominant", "said"),
    [
        ({"mono": "sad"}, "mostly sad"),
        ({"a": "sad", "b": "calm"}, "a mostly sad, b mostly calm"),
        ({"mono": None}, "skipped"),
    ],
)
def test_the_summary_counts_and_names_what_dominated(
    dominant: dict[str, str | None], said: str
) -> None:
    end = summary_of(audio_s=9, windows=9, inferred=6, silent=2, skipped=1, dominant=dominant)
    (line,) = shown(end)
    assert "9.0 s, 9 windows: 6 judged, 2 silent, 1 skipped" in line
    assert line.endswith(said)


def test_json_where_nobody_watches_and_lines_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(choose(False, "a"), JsonLines)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(choose(False, "a"), Lines)
    assert isinstance(choose(True, "a"), JsonLines)


def test_a_session_that_goes_on_has_no_second_heading() -> None:
    again = started(resumed=True)
    assert shown(again) == []


def test_what_happened_to_the_connection_is_said_between_the_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = io.StringIO()
    Lines(Console(file=screen, width=100), "a").notice("the connection broke")
    assert screen.getvalue() == "  the connection broke\n"
    JsonLines().notice("the connection broke")
    assert capsys.readouterr() == ("", "notice: the connection broke\n")


def test_an_error_that_ends_nothing_is_a_line() -> None:
    (line,) = shown(Error(code="bad_message", message="what?", fatal=False))
    assert line == "  what?"
