"""A monitor's events, and the calls that they add up to: one row a channel, for a terminal."""

from dataclasses import dataclass
from typing import Final

import msgspec
from rich.table import Table
from rich.text import Text

from clients.display import COLOURS, clock
from emotion.errors import MessageError
from emotion.messages import Smoothed

MAX_ROWS: Final = 500
"""That are kept: those with the most recent events."""
FADE_S: Final = 10.0
"""For which an ended call is still shown."""
QUIET_S: Final = 15.0
"""Without an event, after which a row fades; the longest hop is 10 s."""
GONE_S: Final = 300.0
"""Without an event, after which a row goes: its end fell into a gap."""


class Tapped(msgspec.Struct, frozen=True):
    """An event as `/v1/monitor` sends it; what is not of its type has its default.

    Attributes:
        type: `started`, `emotion`, `silence`, `alert`, `summary`, `gap`, `error`, or one of a newer
            server's.
        cursor: its place among all events.
        time: when it was published, in Unix seconds.
        count: of the events in a gap; None where that is not known.
        rule, state, at_s, since_s: of an alert: its rule's name, `raised` or `cleared`, and when in the
            call it was decided and began.
    """

    type: str
    cursor: str = ""
    time: float = 0.0
    id: str = ""
    stream_id: str = ""
    channel: str = ""
    analyze: tuple[str, ...] = ()
    end_s: float = 0.0
    smoothed: Smoothed | None = None
    count: int | None = None
    code: str = ""
    message: str = ""
    rule: str = ""
    state: str = ""
    at_s: float = 0.0
    since_s: float = 0.0

    @property
    def session_id(self) -> str:
        """Of the call; ids are `session_id:seq`."""
        return self.id.rpartition(":")[0]


def decode(text: str) -> Tapped:
    """An event's JSON.

    Raises:
        MessageError: it is no event.
    """
    try:
        return msgspec.json.decode(text, type=Tapped)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise MessageError("bad_message", f"not an event of a monitor: {error}") from error


@dataclass
class _Row:
    stream_id: str
    channel: str
    at: float  # of the last event, in Unix seconds
    end_s: float = 0.0
    smoothed: Smoothed | None = None
    ended_at: float | None = None


class Calls:
    """The calls of which something was heard lately; times are Unix seconds."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], _Row] = {}  # by session and channel, oldest call first
        self._missed = 0
        self._gaps = 0

    def apply(self, event: Tapped) -> None:
        """Learns from an event."""
        match event.type:
            case "started":
                for channel in event.analyze:
                    self._row(event, channel)
            case "emotion" | "silence":
                row = self._row(event, event.channel)
                row.at, row.end_s = event.time, event.end_s
                row.smoothed = event.smoothed or row.smoothed
            case "summary":
                for (session_id, _), row in self._rows.items():
                    if session_id == event.session_id:
                        row.at = row.ended_at = event.time
            case "gap":
                self._gaps += 1
                self._missed += event.count or 0

    def table(self, now: float, height: int) -> Table:
        """The newest calls.

        Args:
            now: Unix seconds.
            height: lines that there are for it.
        """
        self._forget(now)
        live = sum(row.ended_at is None for row in self._rows.values())
        table = Table(title=self._title(live), title_justify="left", box=None, padding=(0, 2, 0, 0))
        for name in ("call", "channel", "emotion", "", "duration", "last event"):
            table.add_column(name, header_style="dim", no_wrap=True)
        room = max(1, height - 4)
        rows = list(reversed(self._rows.values()))
        for row in rows[:room]:
            fades = row.ended_at is not None or now - row.at > QUIET_S
            table.add_row(*_cells(row, now), style="dim" if fades else "")
        if len(rows) > room:
            table.add_row(f"and {len(rows) - room} more", style="dim")
        return table

    def __len__(self) -> int:
        return len(self._rows)

    def _title(self, live: int) -> Text:
        title = Text(f"{live} channel{'s' * (live != 1)} live", "bold")
        if self._gaps:
            missed = (
                _counted(self._missed, "event") if self._missed else "an unknown number of events"
            )
            title.append(f"  ·  {missed} missed in {_counted(self._gaps, 'gap')}", "red")
        return title

    def _row(self, event: Tapped, channel: str) -> _Row:
        key = (event.session_id, channel)
        if key not in self._rows:
            if len(self._rows) >= MAX_ROWS:
                del self._rows[min(self._rows, key=lambda key: self._rows[key].at)]
            self._rows[key] = _Row(event.stream_id, channel, event.time)
        return self._rows[key]

    def _forget(self, now: float) -> None:
        for key, row in list(self._rows.items()):
            if (row.ended_at is not None and now - row.ended_at > FADE_S) or now - row.at > GONE_S:
                del self._rows[key]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def alert_line(event: Tapped) -> Text:
    """An alert in one line."""
    raised = event.state == "raised"
    lasted = f"since {clock(event.since_s)}" if raised else f"over at {clock(event.at_s)}"
    return Text.assemble(
        ("ALERT   " if raised else "cleared ", "bold red" if raised else "green"),
        (f"{event.stream_id} {event.channel}  ", "bold" if raised else "dim"),
        (f"{event.rule}: {event.message}, {lasted}", "" if raised else "dim"),
    )


def _cells(row: _Row, now: float) -> tuple[Text, ...]:
    label = Text("")
    share = Text("")
    if row.smoothed is not None:
        label = Text(row.smoothed.label, COLOURS.get(row.smoothed.label, "white"))
        share = Text(f"{row.smoothed.probabilities.get(row.smoothed.label, 0.0):4.0%}")
    age_s = max(0.0, now - row.at)  # another machine's clock may be ahead of this one's
    last = "ended" if row.ended_at is not None else f"{age_s:.0f} s ago"
    return Text(row.stream_id), Text(row.channel), label, share, Text(clock(row.end_s)), Text(last)
