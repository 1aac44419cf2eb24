"""Events of all nodes over Redis (or Valkey) Streams.

Two tasks: one writes what this node's calls publish, out of a bounded buffer; one reads what all nodes
wrote into this node's ring. The audio side only ever appends to the buffer. While Redis is away the
buffer fills; what it can hold is written when Redis is back.

A write whose answer was lost is repeated, and may then stand twice in the stream; whoever reads notices
by the event's id.
"""

import asyncio
import logging
import random
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from emotion.errors import ConfigurationError
from emotion.package import install_line
from stream_server.hub import Cursor, Hub

KEY: Final = "emotion-monitor:events"
BATCH: Final = 256  # events written or read at a time
BLOCK_MS: Final = 2_000  # for which a read waits for news
TIMEOUT_S: Final = 5.0  # for an answer; longer than a read waits
FIRST_PAUSE_S: Final = 0.1  # before the first repetition; doubled from one to the next
LONGEST_PAUSE_S: Final = 5.0
MEMORY: Final = 8_192
"""Ids remembered to notice repetitions: many times what a node writes before it waits for the answer."""

log = logging.getLogger(__name__)


class RedisBus:
    """Carries events between the hubs of all nodes; `Hub.bus` where there is a Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        hub: this node's.
        ring_events: how many events Redis keeps, about.
        buffer_events: how many wait while Redis is away; the oldest are dropped beyond.
        password: where the address holds none.

    Attributes:
        dropped: events that the buffer could not hold.
        repeated: events that were read twice and handed on once.
        connected: whether the last write or read was answered.

    Raises:
        ConfigurationError: redis-py is not installed, or the address is none.
    """

    def __init__(
        self,
        url: str,
        hub: Hub,
        *,
        ring_events: int,
        buffer_events: int = 10_000,
        password: str | None = None,
    ) -> None:
        self.dropped = 0
        self.repeated = 0
        self.connected = False
        self._where = _without_credentials(url)
        self._client, self._errors = _client(url, password)
        self._hub = hub
        hub.ready.clear()  # until the first answer
        hub.metrics.bus_buffered.set_function(lambda: self.buffered)
        self._ring_events = ring_events
        self._waiting: deque[tuple[str, str, str]] = deque()
        self._writing: list[tuple[str, str, str]] = []
        self._buffer_events = buffer_events
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._last = Cursor(0, 0)  # of what was read last
        self._written = Cursor(0, 0)  # of what this node wrote last
        self._arrived = asyncio.Event()  # something was read
        self._doubtful = False  # Redis may have trimmed what was not read yet
        self._recent: OrderedDict[str, None] = OrderedDict()

    @property
    def buffered(self) -> int:
        """Events that are not written yet."""
        return len(self._waiting) + len(self._writing)

    def publish(self, stream_id: str, event_id: str, event: str) -> None:
        """As `Bus.publish`."""
        if self.buffered >= self._buffer_events and self._waiting:
            self._waiting.popleft()
            self.dropped += 1
            self._hub.metrics.bus_dropped.inc()
            if self.dropped.bit_count() == 1:  # at 1, 2, 4, 8...: it must not fill the log
                log.warning("%s: %d events dropped so far", self._where, self.dropped)
        self._waiting.append((stream_id, event_id, event))
        self._empty.clear()
        self._news.set()

    async def run(self) -> None:
        """Writes and reads until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write())
                tasks.create_task(self._read())
        finally:
            await self._client.aclose()

    async def flushed(self) -> None:
        """Waits until everything published has been written, and read back into this node's ring."""
        await self._empty.wait()
        while self._last < self._written:
            self._arrived.clear()
            await self._arrived.wait()

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                while self._waiting and len(self._writing) < BATCH:
                    self._writing.append(self._waiting.popleft())
                await self._patiently(self._write_batch)
            self._empty.set()

    async def _write_batch(self) -> None:
        async with self._client.pipeline(transaction=False) as pipeline:
            for stream_id, event_id, event in self._writing:
                fields = {"stream": stream_id, "id": event_id, "event": event}
                pipeline.xadd(KEY, fields, maxlen=self._ring_events, approximate=True)
            cursors = await pipeline.execute()
        self._written = Cursor.parse(cursors[-1])
        self._writing.clear()

    async def _read(self) -> None:
        await self._patiently(self._preload)
        while True:
            await self._patiently(self._read_batch)

    async def _preload(self) -> None:
        """Fills the ring with what Redis keeps, for dashboards that ask for what came before."""
        entries = await self._client.xrevrange(KEY, count=self._ring_events)
        # Before Redis 7 nobody counts what was ever added: it may then be less than whole.
        added = (await self._client.xinfo_stream(KEY)).get("entries-added") if entries else 0
        entries.reverse()
        whole = added == len(entries)
        lost = Cursor(0, 0) if whole else _before(Cursor.parse(entries[0][0]))
        self._hub.begin(lost, lost)
        self._append(entries)

    async def _read_batch(self) -> None:
        if self._doubtful:
            await self._look_for_a_hole()
        answer = await self._client.xread({KEY: str(self._last)}, count=BATCH, block=BLOCK_MS)
        for _, entries in answer:
            self._append(entries)
            self._doubtful = len(entries) == BATCH

    async def _look_for_a_hole(self) -> None:
        """Where Redis has trimmed what this node had not read, whoever follows is told of a gap."""
        oldest = await self._client.xrange(KEY, count=1)
        if oldest and (first := Cursor.parse(oldest[0][0])) > self._last > Cursor(0, 0):
            log.warning("%s: events were lost before this node could read them", self._where)
            self._last = _before(first)
            self._hub.lose(self._last)
        self._doubtful = False

    def _append(self, entries: list[tuple[str, Mapping[str, str]]]) -> None:
        for cursor, fields in entries:
            self._last = Cursor.parse(cursor)
            if self._is_new(fields.get("id", cursor)):
                event = fields.get("event", "{}")
                self._hub.append(self._last, fields.get("stream", ""), event)
            else:
                self.repeated += 1
                self._hub.metrics.bus_duplicates.inc()
        self._arrived.set()

    def _is_new(self, event_id: str) -> bool:
        if event_id in self._recent:
            return False
        self._recent[event_id] = None
        if len(self._recent) > MEMORY:
            self._recent.popitem(last=False)
        return True

    async def _patiently(self, attempt: Any) -> None:
        """Repeats an attempt until it succeeds, with growing pauses."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await attempt()
            except Exception as error:  # whatever it is, the bus must not die of it
                if self.connected or pause == FIRST_PAUSE_S:
                    expected = isinstance(error, self._errors)
                    name = type(error).__name__
                    log.warning("%s: %s; trying again", self._where, name, exc_info=not expected)
                self.connected = False
                self._doubtful = True
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                if not self.connected:
                    log.info("%s: connected", self._where)
                self.connected = True
                _obey_cancellation()
                return


def _obey_cancellation() -> None:
    """redis-py swallows a cancellation that comes together with an answer (seen with 8.1.0)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _client(url: str, password: str | None) -> tuple[Any, tuple[type[BaseException], ...]]:
    """A client that gives up on an answer in time and repeats nothing by itself, and its errors."""
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
    except ImportError:
        raise ConfigurationError(
            f"bus: Redis needs redis-py: {install_line('redis')}, or take bus = memory"
        ) from None
    try:
        client = Redis.from_url(
            url,
            password=password,
            decode_responses=True,
            encoding_errors="replace",
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise ConfigurationError(
            "bus: expected memory, redis://HOST:PORT/DB, rediss:// or unix://"
        ) from error
    return client, (RedisError, OSError, TimeoutError)


def _before(cursor: Cursor) -> Cursor:
    """The greatest cursor before this one."""
    if cursor.number:
        return Cursor(cursor.ms, cursor.number - 1)
    return Cursor(max(cursor.ms - 1, 0), (1 << 64) - 1)


def _without_credentials(url: str) -> str:
    """The address for the log."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or parts.path}"
