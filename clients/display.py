"""What a stream's events look like: JSON lines for programs, one line a window for people.

`file`, `mic` and `local` share it, so that the same events print the same. The third way, a view that
moves, is in `clients/live.py`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from emotion.messages import Emotion, Error, ServerMessage, Silence, Started, Summary, Warning

COLOURS: Final = {
    "neutral": "white",
    "calm": "cyan",
    "happy": "yellow",
    "sad": "blue",
    "angry": "red",
    "fearful": "magenta",
    "disgust": "green",
    "surprised": "bright_yellow",
}
TIMES_WIDTH: Final = 17  # 59:57.0 - 60:00.0
LABEL_WIDTH: Final = 9
SHARE_WIDTH: Final = 4
SMOOTHED_WIDTH: Final = 14
MIN_BAR_WIDTH: Final = 8
MAX_BAR_WIDTH: Final = 24
MAX_NAME_WIDTH: Final = 12


class Display(Protocol):
    """Shows a server's messages as they come."""

    def show(self, message: ServerMessage, text: str) -> None:
        """Shows one message; `text` is its JSON, as it was on the wire."""

    def notice(self, text: str) -> None:
        """Says what happened to the connection, in one line."""


class JsonLines:
    """One message a line, exactly as on the wire, and at once."""

    def show(self, message: ServerMessage, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def notice(self, text: str) -> None:
        sys.stderr.write(f"notice: {text}\n")


class Lines:
    """One line a window, for a person who watches.

    Args:
        console: where to.
        title: what is heard, for the heading.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._name_width = 0  # of the channels' names; 0 where there is only one

    def show(self, message: ServerMessage, text: str) -> None:
        match message:
            case Started() if not message.resumed:
                self._begin(message)
            case Emotion():
                self._window(message, *_judged(message))
            case Silence():
                self._window(message, Text("silence", "dim"))
            case Warning() | Error(fatal=False):
                self.notice(message.message)
            case Summary():
                self._end(message)
            case _:
                pass  # fatal errors are raised and `flushed` is never asked for

    def notice(self, text: str) -> None:
        self._console.print(Text(f"  {text}", "dim italic"))

    def _begin(self, started: Started) -> None:
        if len(started.analyze) > 1:
            self._name_width = min(MAX_NAME_WIDTH, max(map(len, started.analyze)))
        model = f"{started.model.name} {started.model.version}"
        self._console.print()
        self._console.print(Text.assemble("  ", (self._title, "bold"), ("  ·  " + model, "dim")))
        self._console.print()

    def _window(self, event: Emotion | Silence, *cells: RenderableType) -> None:
        times = Text(f"{clock(event.start_s):>7} - {clock(event.end_s):>7}", "dim")
        name = [Text(event.channel)] if self._name_width else []
        row = Table.grid(padding=(0, 2, 0, 0))
        for width in (0, TIMES_WIDTH, *([self._name_width] * len(name)), LABEL_WIDTH):
            row.add_column(width=width, no_wrap=True)
        for width in (self._bar_width, SHARE_WIDTH, SMOOTHED_WIDTH):
            row.add_column(width=width, no_wrap=True)
        row.add_row("", times, *name, *cells)
        self._console.print(row)

    @property
    def _bar_width(self) -> int:
        """What the other columns leave, within reason."""
        fixed = TIMES_WIDTH + LABEL_WIDTH + SHARE_WIDTH + SMOOTHED_WIDTH + 2 * 5
        names = self._name_width + 2 if self._name_width else 0
        return max(MIN_BAR_WIDTH, min(MAX_BAR_WIDTH, self._console.width - fixed - names))

    def _end(self, summary: Summary) -> None:
        counts = f"{summary.inferred} judged, {summary.silent} silent, {summary.skipped} skipped"
        windows = f"{summary.windows} window{'s' * (summary.windows != 1)}"
        mostly = Text(", ").join(
            Text.assemble(f"{channel} mostly " if len(summary.dominant) > 1 else "mostly ", name)
            for channel, label in summary.dominant.items()
            if (name := _named(label))
        )
        line = Text(f"  {summary.audio_s:.1f} s, {windows}: {counts}", "dim")
        self._console.print()
        self._console.print(Text("  ·  ").join([line, mostly]) if mostly else line)
        self._console.print()


def _judged(event: Emotion) -> tuple[Text, ProgressBar, Text, Text]:
    """An emotion's cells: label, bar, confidence, smoothed."""
    smoothed = event.smoothed
    colour = COLOURS.get(event.label, "white")
    bar = ProgressBar(1.0, event.confidence, complete_style=colour, finished_style=colour)
    share = smoothed.probabilities[smoothed.label]
    smooth = Text.assemble(_named(smoothed.label, bold=False), (f" {share:4.0%}", "dim"))
    return _named(event.label), bar, Text(f"{event.confidence:4.0%}"), smooth


def _named(label: str | None, bold: bool = True) -> Text:
    if label is None:
        return Text("")
    return Text(label, f"{'bold ' * bold}{COLOURS.get(label, 'white')}")


def clock(seconds: float) -> str:
    """Seconds as m:ss.s."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"


def choose(json: bool, title: str) -> Display:
    """Lines for a person at a terminal; JSON where it was asked for or nobody watches."""
    console = Console(highlight=False, soft_wrap=True)
    return JsonLines() if json or not console.is_terminal else Lines(console, title)


@contextmanager
def displayed(json: bool, title: str, *, live: bool) -> Iterator[Display]:
    """As `choose`; where `live`, a person at a terminal gets the view that moves.

    Args:
        json: whether JSON was asked for.
        title: what is heard.
        live: whether the view may have the whole terminal.
    """
    display = choose(json, title)
    console = Console(highlight=False)
    if not live or isinstance(display, JsonLines) or console.is_dumb_terminal:
        yield display
        return
    from clients.live import LiveView

    with LiveView(console, title) as view:
        yield view
