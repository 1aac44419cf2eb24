"""The view that moves, at one moment."""

import io
import signal
from typing import Any

import pytest
from rich.console import Console

from clients.display import JsonLines, Lines, displayed
from clients.letters import large
from clients.live import HISTORY_S, LiveView
from clients.palette import SIGNS, palette
from emotion.labels import EMOTIONS
from emotion.messages import Message, Smoothed, Started, Warning
from tests.fakes import emotion, silence, started, summary_of


def begun(*analyze: str, **fields: Any) -> Started:
    return started(channels=analyze, analyze=analyze, **fields)


def terminal(width: int = 100, height: int = 30) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=True)


def seen(*messages: Message, console: Console | None = None) -> list[str]:
    """What the view shows after these."""
    console = console or terminal()
    view = LiveView(console, "USB microphone")
    for message in messages:
        view.show(message, "")  # type: ignore[arg-type]
    return lines_of(view, console)


def lines_of(view: LiveView, console: Console) -> list[str]:
    with console.capture() as capture:
        console.print(view.render())
    plain = Console(file=io.StringIO(), width=500, color_system=None)
    plain.print(capture.get(), end="")
    from rich.text import Text

    return Text.from_ansi(capture.get()).plain.split("\n")


def judged(label: str, share: float, end_s: float, channel: str = "mono") -> Message:
    others = dict.fromkeys(EMOTIONS, (1 - share) / 7) | {label: share}
    smoothed = Smoothed(label=label, probabilities=others)
    return emotion(label, share, smoothed=smoothed, end_s=end_s, channel=channel)


def test_the_smoothed_emotion_is_large_and_eight_bars_say_how_sure() -> None:
    lines = seen(begun("mono"), judged("happy", 0.8, 1.0))
    assert any(large("happy")[0].strip() in line for line in lines)
    bars = {line.split()[0]: line.count("━") for line in lines if line.strip().endswith("%")}
    assert set(EMOTIONS) <= set(bars)
    assert bars["happy"] == max(bars[label] for label in EMOTIONS) > 4 * bars["sad"]


def test_the_timeline_has_a_letter_a_second_the_newest_at_the_right() -> None:
    messages = [judged("sad", 0.9, 1.0), silence(2, 2.0), judged("angry", 0.9, 3.0)]
    lines = seen(begun("mono"), *messages)
    assert any(line.rstrip().endswith("S·A") for line in lines)


def test_silence_is_said_and_leaves_the_bars_where_they_were() -> None:
    lines = seen(begun("mono"), judged("sad", 0.9, 1.0), silence(2, 2.0))
    assert any("silence" in line and "0:02.0" in line for line in lines)
    assert any(line.strip().startswith("sad") and "90%" in line for line in lines)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 300])
@pytest.mark.parametrize("height", [8, 13, 17, 24, 60])
def test_it_fits_any_terminal(width: int, height: int) -> None:
    messages = [judged("surprised", 0.9, float(n)) for n in range(1, 300)]
    lines = seen(begun("mono"), *messages, console=terminal(width, height))
    assert max(map(len, lines)) <= width
    assert len([line for line in lines if line]) <= max(height, 8)
    assert any("surprised" in line.lower() or "▀" in line for line in lines)


def test_a_terminal_that_is_resized_is_filled_anew() -> None:
    console = terminal(120, 30)
    view = LiveView(console, "m")
    for n in range(1, 200):
        view.show(judged("calm", 0.5, float(n)), "")  # type: ignore[arg-type]
    wide = max(map(len, lines_of(view, console)))
    console.size = (50, 30)  # type: ignore[assignment]
    assert max(map(len, lines_of(view, console))) <= 50 < wide


def test_an_hour_is_not_kept() -> None:
    view = LiveView(terminal(), "m")
    for n in range(1, 3_600):
        view.show(judged("calm", 0.5, n / 4), "")  # type: ignore[arg-type]
    (track,) = view._tracks.values()
    assert len(track.steps) == HISTORY_S
    assert track.steps[-1][0] - track.steps[0][0] == HISTORY_S - 1


def test_each_channel_has_a_timeline_with_its_name() -> None:
    lines = seen(
        begun("customer", "agent"),
        judged("sad", 0.9, 1.0, "customer"),
        judged("calm", 0.9, 1.0, "agent"),
    )
    assert any(
        line.strip().startswith("customer") and line.rstrip().endswith("S") for line in lines
    )
    assert any(line.strip().startswith("agent") and line.rstrip().endswith("C") for line in lines)


def test_warnings_and_what_happens_to_the_connection_are_shown() -> None:
    console = terminal()
    view = LiveView(console, "m")
    view.notice("the connection broke")
    assert any("the connection broke" in line for line in lines_of(view, console))
    view.show(Warning(code="skipped_windows", message="fell behind", count=3), "")
    assert any("fell behind" in line for line in lines_of(view, console))


def test_the_terminal_is_given_back_with_the_summary() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=100, height=30, force_terminal=True, color_system=None)
    with LiveView(console, "m") as view:
        view.show(begun("mono"), "")
        view.show(summary_of(audio_s=9, windows=9, inferred=6, silent=3), "")
    text = screen.getvalue()
    assert text.rindex("\x1b[?1049l") < text.index("9.0 s, 9 windows: 6 judged, 3 silent")


def test_the_view_is_for_a_terminal_that_can_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with displayed(False, "a", live=True) as display:
        assert isinstance(display, JsonLines)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    with displayed(False, "a", live=True) as display:
        assert isinstance(display, Lines)
    monkeypatch.setenv("TERM", "xterm")
    with displayed(False, "a", live=True) as display:
        assert isinstance(display, LiveView)


def test_letters_and_colours_are_those_of_the_pages() -> None:
    from importlib import resources

    script = (resources.files("clients") / "browser" / "emotions.js").read_text()
    for label in EMOTIONS:
        assert f'{label}: "{SIGNS[label]}"' in script
    light, dark = palette(), palette(dark=True)
    for name in ("ground", "ink", "soft", "line", "silence", *EMOTIONS):
        assert light[name] != dark[name]


def test_a_program_that_is_told_to_end_gives_the_terminal_back() -> None:
    console, before = terminal(), signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # else a failure would end pytest
    try:
        with pytest.raises(KeyboardInterrupt), LiveView(console, "USB microphone"):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert written.rindex("\x1b[?1049l") > written.rindex("\x1b[?1049h")
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
