"""A stream that outlives its connections.

    async with Link(access, start) as link:
        await link.send(data)                   the next bytes of audio, any number
        await link.stop()                       no more of them
        async for heard in link: ...            at the same time: what the server says, to the summary

Where the connection breaks, the link connects again, resumes the session and sends on from where the
server stopped hearing. What it sends from is a bounded backlog: audio that has fallen out of it is
declared as a gap, never passed over. Where the server has forgotten the session, a new one goes on from
the first audio that is not judged yet, and `notice` says from where its times count.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from clients.backoff import Backoff
from clients.connect import CLOSE_TIMEOUT_S, PING_TIMEOUT_S, STREAM_PATH, Access, connected
from clients.course import Course
from clients.errors import RefusedError, StreamError, UnreachableError
from emotion.messages import (
    Error,
    Keepalive,
    ServerMessage,
    Start,
    Started,
    Summary,
    decode_server,
    encode,
)

RESUME_GRACE_S: Final = 30.0
"""After a break, in which the server keeps the session."""
STEADY_S: Final = 8.0
"""A connection that held for so long was a good one: what breaks it is a new break."""
MAX_UNHEARD: Final = 64
"""Messages that wait for whoever iterates; then reading from the server waits, too."""
KEEPALIVE_S: Final = 10.0
"""Without anything to send, after which the server is told that the stream is still there."""
LIVE_PING_S: Final = 5.0
LIVE_PING_TIMEOUT_S: Final = 15.0
"""Without a pong, after which a live connection counts as broken: well within the grace."""
PASSING_CODES: Final = (1001, 1012, 1013)
"""Close codes of a server that shuts down, starts again, or is full just now."""


class Heard(NamedTuple):
    """What the server said: the message, and its JSON as it was on the wire."""

    message: ServerMessage
    text: str


class _Broken(Exception):
    """The connection is gone, and the stream may go on in another."""


class Link:
    """One stream; entering it connects, leaving it closes the connection.

    Args:
        access: to the server.
        start: the stream's configuration.
        live: whether `send` never waits. What a microphone or a telephone line gives cannot wait: it
            is kept until it can be sent, or lost. A file can: then `send` waits for the server, and
            nothing is lost.
        notice: told in one line what happens to the connection.
    """

    def __init__(
        self,
        access: Access,
        start: Start,
        *,
        live: bool = True,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._access = access
        self._live = live
        self._notice = notice
        self._course = Course(start, live=live)
        # By which a load balancer leads every connection of the stream to the node that has it.
        self._query = urlencode({"stream_id": start.stream_id or secrets.token_urlsafe(12)})
        self._news = asyncio.Condition()  # there may be more to send, or more was sent
        self._heard: asyncio.Queue[Heard | None] = asyncio.Queue(MAX_UNHEARD)
        self._opened = asyncio.Event()
        self._over = False
        self._failure: Exception | None = None
        self._unopened: Exception | None = None  # the failure, where it came before all else
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connects.

        Raises:
            UnreachableError: there is no server, or it takes no stream.
            ConfigurationError: `access` is not to a server.
        """
        self._keeper = asyncio.create_task(self._keep())
        try:
            await self._opened.wait()
            if self._unopened is not None:
                raise self._unopened
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper

    # --- for whoever has audio, and whoever wants to know ---

    async def send(self, data: bytes) -> None:
        """Takes the next bytes of audio, also ones that split a sample.

        Args:
            data: at most what the backlog keeps, a minute; where the link is not live, it waits until
                they have been sent.

        Raises:
            StreamError: the stream has ended.
        """
        position = self._course.record(data)
        async with self._news:
            self._news.notify_all()
            if not self._live:
                await self._news.wait_for(lambda: self._over or self._course.cursor >= position)
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Says that no more audio comes; the results of all that is left follow, and the summary."""
        self._course.stopped = True
        await self._tell()

    @property
    def sent_s(self) -> float:
        """Seconds of audio that have been sent, or declared as lost."""
        return self._course.sent_s

    async def __aiter__(self) -> AsyncIterator[Heard]:
        """What the server says, up to and including the summary that follows `stop`.

        Each event comes once; `started` comes again after each break.

        Raises:
            StreamError: the connection broke and no other could be had in time, or the server refused.
            MessageError: the server said what is not of the protocol.
        """
        while (heard := await self._heard.get()) is not None:
            yield heard
        if self._failure is not None:
            raise self._failure

    # --- one connection after the other ---

    async def _keep(self) -> None:
        """Keeps the stream connected to its end."""
        try:
            await self._connections()
        except Exception as error:  # raised again by whoever sends or listens
            self._failure = error
            self._unopened = None if self._opened.is_set() else error
        self._over = True
        self._opened.set()
        await self._tell()
        await self._heard.put(None)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _connections(self) -> None:
        """Connects until the summary has come.

        Raises:
            StreamError: no connection could be had, or none will help.
        """
        now, backoff = asyncio.get_running_loop().time, Backoff()
        broke_at: float | None = None
        while True:
            began, judged = now(), self._course.judged
            try:
                await self._connection(again=broke_at is not None)
                return
            except UnreachableError as error:
                if broke_at is None or not error.passing:
                    raise
                reason: Exception = error
            except _Broken as error:
                reason = error
                if broke_at is None or self._course.judged > judged or now() > began + STEADY_S:
                    broke_at = now()
                    backoff.reset()
                    self._notice(f"{error} after {self.sent_s:.1f} s of audio; connecting again")
            left_s = broke_at + RESUME_GRACE_S - now()
            if left_s <= 0:
                raise StreamError(self._given_up(reason)) from reason
            await asyncio.sleep(min(backoff.wait_s(), left_s))

    def _given_up(self, reason: Exception) -> str:
        return (
            f"{reason}; given up after {RESUME_GRACE_S:g} s without a connection that held, "
            f"at {self.sent_s:.1f} s of audio: start again"
        )

    async def _connection(self, again: bool) -> None:
        """One connection: starts or resumes the session and returns with its summary.

        Raises:
            _Broken: it is gone.
            StreamError: and no other will do.
        """
        options: dict[str, Any] = {"ping_timeout": PING_TIMEOUT_S}
        if self._live:
            options = {"ping_interval": LIVE_PING_S, "ping_timeout": LIVE_PING_TIMEOUT_S}
        async with connected(self._access, STREAM_PATH, self._query, **options) as connection:
            self._opened.set()
            try:
                await self._converse(connection, again)
            except ConnectionClosed as closed:
                raise _ended(closed, self.sent_s) from closed

    async def _converse(self, connection: ClientConnection, again: bool) -> None:
        # A session that is resumed says first what it has heard; a new one has heard nothing.
        from_start = not self._course.resuming
        await connection.send(encode(self._course.greeting()))
        sender = asyncio.create_task(self._send(connection)) if from_start else None
        try:
            while True:
                text = str(await connection.recv(decode=True))
                message = decode_server(text)
                if isinstance(message, Error) and message.fatal and again:
                    self._retry(message)
                if isinstance(message, Started) and (notice := self._course.begin(message)):
                    self._notice(notice)
                if isinstance(message, Started) and sender is None:
                    sender = asyncio.create_task(self._send(connection))
                if self._course.hear(message):
                    await self._heard.put(Heard(message, text))
                await self._tell()
                if isinstance(message, Error) and message.fatal:
                    raise RefusedError(message.code, message.message)
                if isinstance(message, Summary) and await self._is_last(connection):
                    return
        finally:
            if sender is not None:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)

    async def _is_last(self, connection: ClientConnection) -> bool:
        """Whether a summary is that of the whole stream; a server that shuts down sends one, too."""
        # Not `stop_sent`: a session that heard `stop` before the break does not wait for another one.
        if not self._course.stopped or self._course.all_judged:
            return self._course.stopped
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await connection.wait_closed()
        return connection.close_code != 1001

    def _retry(self, error: Error) -> None:
        """
        Raises:
            _Broken: the error is one that another attempt may not meet.
        """
        if error.code == "unknown_session" and self._course.resuming:
            self._course.forget()
            self._notice("the server has forgotten the session")
            raise _Broken("the server has forgotten the session")
        if error.code == "at_capacity":
            raise _Broken("the server takes no more streams at the moment")

    async def _send(self, connection: ClientConnection) -> None:
        """Sends what is recorded, until `stop`; how a connection ends is for the receiver to judge."""
        course = self._course
        with suppress(ConnectionClosed):
            while not course.stop_sent:
                if (item := course.next()) is None:
                    await self._wait(connection)
                    continue
                await connection.send(item if isinstance(item, bytes) else encode(item))
                course.sent(item)
                await self._tell()

    async def _wait(self, connection: ClientConnection) -> None:
        """Waits for something to send."""
        try:
            async with asyncio.timeout(KEEPALIVE_S), self._news:
                await self._news.wait_for(lambda: self._course.next() is not None)
        except TimeoutError:
            await connection.send(encode(Keepalive()))


def _ended(closed: ConnectionClosed, sent_s: float) -> Exception:
    """What a connection's end means for the stream."""
    if closed.rcvd is None:
        return _Broken("the connection broke")
    if closed.rcvd.code == 1001:
        return _Broken("the server is shutting down and ended the connection")
    reason = f": {closed.rcvd.reason}" if closed.rcvd.reason else ""
    if closed.rcvd.code in PASSING_CODES:
        return _Broken(f"the server ended the connection (close code {closed.rcvd.code}{reason})")
    return StreamError(
        f"the server ended the stream after {sent_s:.1f} s of audio "
        f"(close code {closed.rcvd.code}{reason})"
    )
