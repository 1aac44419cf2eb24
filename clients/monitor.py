"""Follows the calls on a server, or on all nodes behind one, and misses none of their events unnoticed.

Every event comes under a cursor. Where the connection breaks, the monitor connects again and asks for
what came since the last cursor. Delivery is at least once: an event that comes again is known by its
`id` and left out. What the server does not have any more comes as a `gap`.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from rich.console import Console
from rich.live import Live
from websockets.exceptions import ConnectionClosed

from clients.backoff import Backoff
from clients.calls import Calls, Tapped, alert_line, decode
from clients.connect import MONITOR_PATH, Access, connected
from clients.errors import RefusedError, StreamError, UnreachableError

MAX_REMEMBERED: Final = 16_384
"""Ids that are remembered so that their events are shown once; those that come again come soon."""
PING_INTERVAL_S: Final = 5.0
PING_TIMEOUT_S: Final = 15.0
REFRESH_S: Final = 0.25
PASSING_CODES: Final = (1000, 1001, 1006, 1011, 1012, 1013)
"""Close codes (1006: none came) after which the server, or another node, may answer again."""
PASSING_ERRORS: Final = ("at_capacity", "internal", "idle")


class Seen(NamedTuple):
    """An event, and its JSON as it was on the wire."""

    event: Tapped
    text: str


class Memory:
    """The last ids; the one that was not seen for longest is forgotten first.

    Args:
        size: how many.
    """

    def __init__(self, size: int = MAX_REMEMBERED) -> None:
        self._size = size
        self._ids: dict[str, bool] = {}

    def is_new(self, event_id: str) -> bool:
        """Whether an id is not remembered; from now on it is."""
        new = not self._ids.pop(event_id, False)
        self._ids[event_id] = True
        if len(self._ids) > self._size:
            del self._ids[next(iter(self._ids))]
        return new


class _BrokenError(StreamError):
    """The connection is gone, and another may be had."""


async def follow(
    access: Access,
    streams: str = "*",
    since: str | None = None,
    notice: Callable[[str], None] = lambda text: None,
) -> AsyncGenerator[Seen, None]:
    """Events of the calls that match, each once, for ever.

    Args:
        access: to the server.
        streams: a glob of stream ids.
        since: the cursor of the last event that is known; without it, what comes from now on.
        notice: told in one line what happens to the connection.

    Raises:
        UnreachableError: there is no server at first, or it wants other credentials.
        RefusedError: the server does not answer such a question.
        MessageError: the server said what is not of the protocol.
    """
    memory, backoff, again = Memory(), Backoff(), False
    while True:
        query = {"streams": streams} | ({"since": since} if since else {})
        try:
            async with aclosing(_connection(access, urlencode(query))) as events:
                async for seen in events:
                    backoff.reset()
                    since = seen.event.cursor or since
                    if not seen.event.id or memory.is_new(seen.event.id):
                        yield seen
        except UnreachableError as error:
            if not (again and error.passing):
                raise
            reason: StreamError = error
        except _BrokenError as error:
            again, reason = True, error
        unknown = "" if since else " (events in between cannot be asked for: none had come yet)"
        notice(f"{reason}; connecting again{unknown}")
        await asyncio.sleep(backoff.wait_s())


async def _connection(access: Access, query: str) -> AsyncGenerator[Seen, None]:
    """Events of one connection.

    Raises:
        _BrokenError: it is gone.
        StreamError: and no other will do.
    """
    options = {"ping_interval": PING_INTERVAL_S, "ping_timeout": PING_TIMEOUT_S}
    async with connected(access, MONITOR_PATH, query, **options) as connection:
        try:
            while True:
                text = str(await connection.recv(decode=True))
                event = decode(text)
                if event.type == "error":
                    raise _refused(event)
                yield Seen(event, text)
        except ConnectionClosed as closed:
            raise _ended(closed) from closed


def _refused(event: Tapped) -> StreamError:
    if event.code in PASSING_ERRORS:
        return _BrokenError(f"the server said {event.code}: {event.message}")
    return RefusedError(event.code, event.message)


def _ended(closed: ConnectionClosed) -> StreamError:
    code = 1006 if closed.rcvd is None else closed.rcvd.code
    if code in PASSING_CODES:
        return _BrokenError(
            "the server is shutting down" if code == 1001 else "the connection broke"
        )
    return StreamError(f"the server ended the connection (close code {code}); check --streams")


async def show_events(access: Access, streams: str, since: str | None) -> None:
    """Writes one event a line, as on the wire; what happens to the connection goes to stderr."""

    def notice(text: str) -> None:
        sys.stderr.write(f"notice: {text}\n")

    async with aclosing(follow(access, streams, since, notice)) as events:
        async for seen in events:
            sys.stdout.write(seen.text + "\n")
            sys.stdout.flush()


async def show_calls(access: Access, streams: str, since: str | None, console: Console) -> None:
    """Shows the calls as a table that lives, on a terminal, and alerts in lines above it."""
    calls = Calls()
    with Live(console=console, auto_refresh=False) as live:

        async def refresh() -> None:
            while True:
                live.update(calls.table(time.time(), console.height), refresh=True)
                await asyncio.sleep(REFRESH_S)

        def notice(text: str) -> None:
            console.print(text, style="dim italic")

        refreshing = asyncio.create_task(refresh())
        try:
            async with aclosing(follow(access, streams, since, notice)) as events:
                async for seen in events:
                    calls.apply(seen.event)
                    if seen.event.type == "alert":
                        console.print(alert_line(seen.event))
        finally:
            refreshing.cancel()


def showing(
    json: bool, access: Access, streams: str, since: str | None
) -> Coroutine[Any, Any, None]:
    """The table for a person at a terminal; JSON where it was asked for or nobody watches."""
    console = Console(highlight=False)
    if json or not console.is_terminal:
        return show_events(access, streams, since)
    return show_calls(access, streams, since, console)
