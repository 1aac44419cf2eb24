"""Events of all calls to whoever follows them.

Events lie in one ring, each under a cursor that only grows. A subscriber is a place in the ring, not a
queue: what it costs does not depend on how slow it is. One that falls too far behind is told so, with
a `gap`, and goes on with the newest; within the ring it can ask again with `since`.

    call -> Hub.publish -> bus -> Hub.append -> Subscription.read -> dashboard

Within one process the bus hands on at once. Over Redis (bus.py) every node's hub sees every node's
calls.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from fnmatch import translate
from re import compile as compiled
from typing import Final, NamedTuple, Protocol

from emotion.errors import MessageError
from emotion.messages import (
    Alert,
    Emotion,
    LostEvents,
    Silence,
    Started,
    Subscribed,
    Summary,
    encode,
)
from stream_server.metrics import Metrics

MAX_LAG: Final = 4096
"""Events by which a subscriber who had caught up may fall behind; then the newest comes next."""
MAX_COUNTED: Final = 2 * MAX_LAG
"""Events among which a subscriber's own are counted for a gap: some milliseconds' work."""
BATCH: Final = 256  # entries looked at before other tasks get a turn; less than any ring holds

Tapped = Started | Emotion | Silence | Alert | Summary
"""What is published of a call: that it began, its events and alerts, and how it ended."""


class Cursor(NamedTuple):
    """A place in the order of all events: milliseconds and a count, as Redis Streams number them."""

    ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """
        Raises:
            MessageError: it is not a cursor.
        """
        ms, _, number = text.partition("-")
        if not (ms.isascii() and ms.isdigit() and number.isascii() and number.isdigit()):
            raise MessageError("bad_message", f"since {text[:64]!r}: expected a cursor of an event")
        if len(text) > 40:
            raise MessageError("bad_message", "since: longer than any cursor")
        return cls(int(ms), int(number))


BEGINNING: Final = Cursor(0, 0)
"""What a subscriber gives as `since` who wants all that is kept."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in the ring.

    Attributes:
        cursor: its place.
        stream_id: of its call.
        text: what subscribers are sent: the event's JSON with `cursor` and `time` in front.
    """

    cursor: Cursor
    stream_id: str
    text: str


class Bus(Protocol):
    """Carries events to the hubs of all nodes; never makes its caller wait."""

    def publish(self, stream_id: str, event_id: str, event: str) -> None:
        """Takes an event's JSON."""
        ...


class Hub:
    """The ring, and what is in it for whom.

    Args:
        ring_events: how many events are kept.
        metrics: counts what is published and lost.
        clock: seconds since 1970; begins the cursors of this process, and stamps events.

    Attributes:
        bus: carries what is published; within this process unless another one is put in its place.
        subscribers: how many there are; for whoever admits them.
        closed: whether nothing more will come.
    """

    def __init__(
        self,
        ring_events: int,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.subscribers = 0
        self.metrics = metrics or Metrics()
        self.closed = False
        self._clock = clock
        self._ring: list[Entry] = []  # grows to its size, then entry n lies at n modulo it
        self._size = ring_events
        self._count = 0  # entries ever; the next one's number
        self._last = Cursor(round(clock() * 1000), 0)
        self._lost_before = self._last  # everything after this cursor is in the ring
        self._began = self._last  # where the order of events begins
        self._uncounted = Cursor(0, 0)  # up to here, nobody knows how many were lost
        self._news = asyncio.Event()
        self.bus: Bus = _Here(self)
        self.ready = asyncio.Event()  # the order of events is known
        self.ready.set()

    @property
    def newest(self) -> Cursor:
        """Of the last event; where a subscriber without `since` begins."""
        return self._last

    def publish(
        self, message: Tapped, text: str | None = None, *, bus_id: str | None = None
    ) -> None:
        """Takes an event of a call on this node; returns at once.

        Args:
            message: the event.
            text: its JSON, where the caller has it already.
            bus_id: what the bus knows it by, where its `id` came before: a bus drops repetitions.
        """
        self.metrics.published.inc()
        body = text or encode(message)
        stamped = f'{{"time":{self._clock():.3f},{body[1:]}'
        self.bus.publish(message.stream_id, bus_id or message.id, stamped)

    def append(self, cursor: Cursor | None, stream_id: str, stamped: str) -> None:
        """Puts an event into the ring; what the bus calls.

        Args:
            cursor: greater than all before; None for the next one of this process.
            stream_id: of its call.
            stamped: the event's JSON, with its `time`.
        """
        if cursor is None:
            cursor = Cursor(self._last.ms, self._last.number + 1)
        entry = Entry(cursor, stream_id, f'{{"cursor":"{cursor}",{stamped[1:]}')
        if len(self._ring) < self._size:
            self._ring.append(entry)
        else:
            self._lost_before = self._ring[self._count % self._size].cursor
            self._ring[self._count % self._size] = entry
        self._count += 1
        self._last = cursor
        self._wake()

    def lose(self, end: Cursor) -> None:
        """Events up to this cursor, which the bus did not hand on, are a gap to whoever follows."""
        self._lost_before = max(self._lost_before, end)
        self._uncounted = self._lost_before
        self._last = max(self._last, end)
        self._wake()

    def close(self) -> None:
        """Nothing more will come: subscriptions end once they have read all."""
        self.closed = True
        self._wake()

    def begin(self, last: Cursor, lost_before: Cursor) -> None:
        """Takes up an order of events that another process began; before anything is appended.

        Args:
            last: events so far have cursors up to this one.
            lost_before: what came after this cursor will be appended, what came before will not.
        """
        self._last, self._lost_before = last, lost_before
        self._began = BEGINNING
        self.ready.set()

    def subscribe(self, pattern: str = "*", since: Cursor | None = None) -> "Subscription":
        """A place in the ring.

        Args:
            pattern: a glob (`*`, `?`, `[...]`) that a call's `stream_id` matches, case and all.
            since: the cursor of the last event that the subscriber has; the newest where None.
        """
        return Subscription(self, pattern, since)

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    # --- for subscriptions ---

    @property
    def beginning(self) -> Cursor:
        """Before the first event of this order; of another process's order, Redis's, that is 0-0."""
        return self._began

    @property
    def is_whole(self) -> bool:
        """Whether everything since the beginning is in the ring."""
        return self._lost_before == self._began

    def _at(self, number: int) -> Entry:
        return self._ring[number % self._size]

    @property
    def _first(self) -> int:
        """The number of the oldest entry in the ring."""
        return self._count - len(self._ring)

    def _after(self, cursor: Cursor) -> int:
        """The number of the first entry after a cursor."""
        numbers = range(self._first, self._count)
        return self._first + bisect_right(numbers, cursor, key=lambda n: self._at(n).cursor)


class Subscription:
    """One subscriber's place in the ring; made by `Hub.subscribe`."""

    def __init__(self, hub: Hub, pattern: str, since: Cursor | None) -> None:
        self._hub = hub
        self._sees_all = pattern == "*"
        self._matches = compiled(translate(pattern)).match
        self._allowed = compiled(translate("*")).match
        self._pattern = pattern
        self._since = since
        self._caught_up = since is None
        self._settle()

    def restrict(self, allowed: str) -> None:
        """Leaves only streams that match this glob, too."""
        self._allowed = compiled(translate(allowed)).match
        self._sees_all = self._sees_all and allowed == "*"

    def _settle(self) -> None:
        """Takes its place in the ring."""
        hub = self._hub
        self._cursor = hub.newest if self._since is None else self._since
        if self._cursor == BEGINNING and hub.is_whole:
            self._cursor = hub.beginning  # from there on a loss is a gap again
        self._next = hub._after(self._cursor)
        # What left the ring before this process, or this subscription, began was never counted.
        self._countable = self._cursor >= hub._lost_before

    async def __aiter__(self) -> AsyncIterator[str]:
        """Text frames for the subscriber, until the hub closes.

        First where it begins, `subscribed`, then events that match, and gaps.
        """
        hub = self._hub
        if not hub.ready.is_set():
            await hub.ready.wait()
            self._settle()
        yield encode(Subscribed(cursor=str(self._cursor), streams=self._pattern))
        while True:
            news = hub._news
            # Again after each: the ring may have turned while the subscriber took its time for the gap.
            while gap := self._missed() or self._lagging():
                hub.metrics.gaps.inc()
                yield gap
            last = min(hub._count, self._next + BATCH)
            texts = [text for n in range(self._next, last) if (text := self._text(n)) is not None]
            self._next = last
            for text in texts:
                yield text
            if last == hub._count:
                if hub.closed:
                    return
                self._caught_up = True
                await news.wait()
            else:
                await asyncio.sleep(0)

    def _text(self, number: int) -> str | None:
        entry = self._hub._at(number)
        self._cursor = entry.cursor
        return entry.text if self._wanted(entry) else None

    def _wanted(self, entry: Entry) -> bool:
        return bool(self._matches(entry.stream_id) and self._allowed(entry.stream_id))

    def _missed(self) -> str | None:
        """The gap of what has left the ring before it was read."""
        hub = self._hub
        if self._cursor >= hub._lost_before:
            return None
        number = hub._after(hub._lost_before)
        # Whoever sees only some streams is not told how much there was of the others.
        holed = self._cursor < hub._uncounted
        known = self._countable and self._sees_all and not holed
        gap = _gap(self._cursor, hub._lost_before, number - self._next if known else None)
        self._countable = True
        self._next, self._cursor = number, hub._lost_before
        return gap

    def _lagging(self) -> str | None:
        """The gap of what is in the ring but too old for a subscriber who wants to see it live."""
        hub = self._hub
        lag = hub._count - self._next
        if not self._caught_up or lag <= MAX_LAG:
            return None
        count: int | None = lag
        if not self._sees_all:
            # Each name is matched; of a whole ring's, everybody else would have to wait.
            lost = range(self._next, hub._count)
            countable = lag <= MAX_COUNTED
            count = sum(1 for n in lost if self._wanted(hub._at(n))) if countable else None
        gap = _gap(self._cursor, hub.newest, count)
        self._next, self._cursor = hub._count, hub.newest
        return gap


class _Here:
    """The bus of one process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def publish(self, stream_id: str, event_id: str, event: str) -> None:
        self._hub.append(None, stream_id, event)


def _gap(start: Cursor, end: Cursor, count: int | None) -> str:
    """What a subscriber is sent in the place of the events after `start` and up to `end`."""
    gap = LostEvents(cursor=str(end), begin=str(start), end=str(end), count=count)
    return encode(gap)
