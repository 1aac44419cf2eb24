"""The whole terminal as a view that moves: the emotion, its probabilities, the last two minutes.

It takes the terminal while it runs and gives it back with the summary. Where there is less room, the
least important parts go first; the size may change at any moment.
"""

import signal
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from clients.display import COLOURS, Lines, clock
from clients.letters import large
from clients.palette import SIGNS
from emotion.labels import EMOTIONS
from emotion.messages import Emotion, Error, ServerMessage, Silence, Started, Summary, Warning

FRAMES_A_SECOND: Final = 8
HISTORY_S: Final = 120.0
STEP_S: Final = 1.0  # of a column of the timeline, or the hop where that is longer
BLOCKS: Final = " ▁▂▃▄▅▆▇█"
SPARK_ROWS: Final = 2
NAME_WIDTH: Final = 10
MARGIN: Final = 2
MAX_WIDTH: Final = int(HISTORY_S / STEP_S) + NAME_WIDTH + 2 * MARGIN
NOTICE_S: Final = 10.0
LAYOUTS: Final = (
    ("large", "bars", "sparks"),
    ("bars", "sparks"),
    ("bars", "signs"),
    ("large", "sparks"),
    ("signs",),
    (),
)
"""What is shown beside the heading, the emotion and the footer: the first one that there is room for."""


@dataclass
class Track:
    """One channel's last windows: for each column of the timeline a label and a share, or silence."""

    steps: deque[tuple[int, str | None, float]] = field(
        default_factory=lambda: deque(maxlen=round(HISTORY_S / STEP_S))
    )
    now: Emotion | Silence | None = None
    heard: Emotion | None = None  # the last one with speech

    def add(self, event: Emotion | Silence, step_s: float) -> None:
        """The next window; those of one column give way to the last."""
        self.now = event
        column = int(event.end_s / step_s + 1e-6)
        entry: tuple[int, str | None, float] = (column, None, 0.0)
        if isinstance(event, Emotion):
            self.heard = event
            smoothed = event.smoothed
            entry = (column, smoothed.label, smoothed.probabilities[smoothed.label])
        if self.steps and self.steps[-1][0] == column:
            self.steps.pop()
        self.steps.append(entry)


class LiveView:
    """Shows a stream on a terminal; a context, which has the terminal meanwhile.

    Args:
        console: a terminal.
        title: what is heard.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._after = Lines(console, title)
        self._lock = threading.Lock()  # rich draws from a thread of its own
        self._tracks: dict[str, Track] = {}
        self._model = ""
        self._step_s = STEP_S
        self._skipped = 0
        self._audio_s = 0.0
        self._state = "waiting"
        self._notice = ("", 0.0)
        self._last: list[ServerMessage] = []  # for after the view
        self._terminate: Any = None  # what SIGTERM did before
        self._live = Live(
            console=console,
            screen=True,
            refresh_per_second=FRAMES_A_SECOND,
            get_renderable=self.render,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "LiveView":
        if threading.current_thread() is threading.main_thread():
            self._terminate = signal.signal(signal.SIGTERM, _as_ctrl_c)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if self._terminate is not None:
            signal.signal(signal.SIGTERM, self._terminate)
        for message in self._last:
            self._after.show(message, "")

    def show(self, message: ServerMessage, text: str) -> None:
        with self._lock:
            self._take(message)

    def notice(self, text: str) -> None:
        self._notice = (text, time.monotonic())

    def _take(self, message: ServerMessage) -> None:
        match message:
            case Started():
                self._begin(message)
            case Emotion() | Silence():
                self._audio_s = max(self._audio_s, message.end_s)
                self._state = "speech" if isinstance(message, Emotion) else "silence"
                track = self._tracks.setdefault(message.channel, Track())
                track.add(message, self._step_s)
            case Warning() | Error(fatal=False):
                if isinstance(message, Warning) and message.code == "skipped_windows":
                    self._skipped += message.count or 0
                self.notice(message.message)
            case Summary():
                self._state = "ended"
                self._last.append(message)
            case _:
                pass  # fatal errors are raised and `flushed` is never asked for

    def _begin(self, started: Started) -> None:
        self._state = "listening"
        self._model = f"{started.model.name} {started.model.version}"
        self._step_s = max(STEP_S, started.hop_s)
        if not started.resumed:
            self._last = [started]
            self._tracks = {name: Track() for name in started.analyze}

    # --- what is drawn ---

    def render(self) -> RenderableType:
        """The view at this moment, for the console's size at this moment."""
        with self._lock:
            size = self._console.size
            width = max(20, min(MAX_WIDTH, size.width) - 2 * MARGIN)
            for layout in LAYOUTS:
                lines = self._lines(layout, width)
                if len(lines) <= size.height:
                    break
        indent = " " * MARGIN
        texts = (Text(indent).append(line) for line in map(_text, lines))
        return Group(*(_cropped(text, size.width) for text in texts))

    def _lines(self, layout: tuple[str, ...], width: int) -> list[Text | str]:
        track = next(iter(self._tracks.values()), Track())
        lines = self._heading(width) + self._now(track, width, "large" in layout)
        if "bars" in layout:
            lines += ["", *_bars(track, width)]
        if "sparks" in layout or "signs" in layout:
            lines += ["", *self._timelines(width, "sparks" in layout)]
        return [*lines, "", self._footer()]

    def _heading(self, width: int) -> list[Text | str]:
        right = f"{self._state}  {clock(self._audio_s)}"
        left = Text.assemble((self._title, "bold"), (f"  {self._model}", "dim"))
        left.truncate(max(8, width - len(right) - 2), overflow="ellipsis", pad=True)
        return [
            "",
            Text.assemble(left, "  ", (right, "bold" if self._state == "speech" else "dim")),
        ]

    def _now(self, track: Track, width: int, spacious: bool) -> list[Text | str]:
        """The smoothed emotion, in large letters where there is room for them."""
        word, style, share = "...", "dim", ""
        if track.heard is not None:
            smoothed = track.heard.smoothed
            word, style = smoothed.label, f"bold {COLOURS.get(smoothed.label, 'white')}"
            share = f"{smoothed.probabilities[word]:4.0%}"
        if isinstance(track.now, Silence):
            word, style, share = ("silence", "dim", "")
        rows = large(word)
        if spacious and word != "..." and len(rows[0]) + 8 <= width:
            return ["", *(Text(row, style) for row in rows[:-1]), _after(rows[-1], share, style)]
        return ["", Text.assemble((word.upper(), style), (f"  {share}", "bold"))]

    def _timelines(self, width: int, high: bool) -> list[Text | str]:
        lines: list[Text | str] = []
        several = len(self._tracks) > 1
        for name, track in self._tracks.items():
            columns = width - (NAME_WIDTH if several else 0)
            sparks, signs = _timeline(track, columns)
            label = f"{name[: NAME_WIDTH - 1]:{NAME_WIDTH}}" if several else ""
            if high:
                lines += [Text.assemble(" " * len(label), spark) for spark in sparks]
            lines.append(Text.assemble((label, "bold"), signs))
        return lines

    def _footer(self) -> Text:
        text, at = self._notice
        if text and time.monotonic() - at < NOTICE_S:
            return Text(text, "italic yellow")
        skipped = f"  {self._skipped} windows skipped" if self._skipped else ""
        latency = next((t.now.latency_ms for t in self._tracks.values() if t.now), None)
        took = "" if latency is None else f"  {latency:.0f} ms"
        honest = "an estimate of how it sounds"
        return Text(f"Ctrl-C ends{took}{skipped}  ·  {honest}", "dim")


def _as_ctrl_c(*_: object) -> None:
    """SIGTERM would leave the terminal in the view; so it ends it, as Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)


def _bars(track: Track, width: int) -> list[Text | str]:
    """Eight bars, of the smoothed probabilities of the last window with speech."""
    shares = track.heard.smoothed.probabilities if track.heard else {}
    quiet = not isinstance(track.now, Emotion)
    room = max(6, min(48, width - 18))
    lines: list[Text | str] = []
    for label in EMOTIONS:
        share = shares.get(label, 0.0)
        style = "dim" if quiet else COLOURS[label]
        filled = round(share * room)
        bar = Text.assemble(("━" * filled, style), ("─" * (room - filled), "bright_black"))
        lines.append(Text.assemble((f"{label:<10}", style), bar, f" {share:4.0%}"))
    return lines


def _timeline(track: Track, columns: int) -> tuple[list[Text], Text]:
    """The last windows, newest at the right: how sure, as a height, and which, as colour and letter."""
    shown = list(track.steps)[-columns:]
    gap = " " * (columns - len(shown))
    sparks = [Text(gap) for _ in range(SPARK_ROWS)]
    signs = Text(gap)
    for _, label, share in shown:
        colour = COLOURS.get(label or "", "bright_black")
        eighths = round(share * 8 * SPARK_ROWS)
        for row, spark in enumerate(sparks):
            level = min(8, max(0, eighths - 8 * (SPARK_ROWS - 1 - row)))
            spark.append(BLOCKS[level], colour)
        signs.append(SIGNS[label] if label else "·", f"bold {colour}" if label else colour)
    return sparks, signs


def _after(row: str, share: str, style: str) -> Text:
    return Text.assemble((row, style), (f"  {share}", "bold"))


def _text(line: Text | str) -> Text:
    return line if isinstance(line, Text) else Text(line)


def _cropped(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    text.no_wrap = True
    return text
