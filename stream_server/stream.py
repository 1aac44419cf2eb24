"""One `/v1/stream` connection: messages to the session, its replies to the client.

Two tasks share a session, both on the event loop: the reader feeds what the client sends, the judge
takes turns at the scheduler and sends what comes of them. The reader only notes what ends a session; the
judge first answers for what was heard before, then says so.
"""

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from emotion.audio import BYTES_PER_SAMPLE
from emotion.engine import Engine, Window
from emotion.errors import AudioError, MessageError
from emotion.messages import (
    Error,
    Flush,
    Flushed,
    Limits,
    Message,
    Start,
    Stop,
    Summary,
    Warning,
    encode,
    parse,
)
from emotion.session import Session
from stream_server.admission import Admission
from stream_server.config import Config
from stream_server.connection import CLOSE_CODES
from stream_server.scheduler import Scheduler

SLICE_S: Final = 0.5  # of audio fed at a time: what the event loop spends on it stays under 2 ms
FAST_BACKLOG_S: Final = 4.0
"""Of unjudged audio that a session ahead of the clock may pile up before its reading is held."""
MAX_BACKLOG_S: Final = 60.0
"""Of unjudged audio that any session may pile up."""
MAX_HOLD_S: Final = 5.0
"""For one hold: pings wait behind the audio, and clients give up after 20 s without a pong."""

log = logging.getLogger(__name__)


class _Deaf(Exception):
    """The client does not read what it is sent; its connection has been cut."""


class Stream:
    """Serves one connection.

    Args:
        connection: open, nothing read from it yet.
        engine: what judges.
        scheduler: where windows wait for their turn.
        config: the server's.
    """

    def __init__(
        self, connection: ServerConnection, engine: Engine, scheduler: Scheduler, config: Config
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self._connection = connection
        self._engine = engine
        self._scheduler = scheduler
        self._config = config
        self._wake = asyncio.Event()  # the session may have something to do
        self._progress = asyncio.Event()  # a reply was sent
        self._draining = asyncio.Event()
        self._end: MessageError | ConnectionClosed | _Deaf | None = None  # if not `stop`
        self._judging = False
        self._held_since: float | None = None
        self._now = asyncio.get_running_loop().time

    async def serve(self, admission: Admission) -> None:
        """Serves the connection to its end; raises nothing that the client can cause."""
        try:
            with admission.slot():
                await self._serve()
        except MessageError as error:
            await self._refuse(error)
        except _Deaf:
            log.info("session %s: the client does not read and is given up", self.id)
        except ConnectionClosed as closed:
            log.info("session %s: the client went away (%r)", self.id, str(closed))
        except Exception:
            log.exception("session %s: failed", self.id)
            reason = (
                "the server failed to judge this stream; it is in its log under the session's id"
            )
            await self._refuse(MessageError("internal", f"session {self.id}: {reason}"))

    def drain(self) -> None:
        """Asks for the session's end: it gets its results, a summary, and close code 1001."""
        self._draining.set()
        self._wake.set()

    async def _serve(self) -> None:
        start = await self._first_message()
        if start is None:
            await self._close(CloseCode.GOING_AWAY, "the server is shutting down")
            return
        self._check_analyzable(start)
        session = Session(start, self._engine.contract, self._engine.prior(), session_id=self.id)
        log.info("session %s: started, %s at %d Hz", self.id, start.encoding, start.sample_rate)
        await self._send(session.started(Limits(idle_timeout_s=self._config.idle_timeout_s)))
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(self._read(session, start))
            await self._judge(session)
            reader.cancel()
        if self._end is not None:
            raise self._end
        code = CloseCode.GOING_AWAY if self._draining.is_set() else CloseCode.NORMAL_CLOSURE
        await self._close(code)
        log.info("session %s: ended after %.1f s of audio", self.id, session.audio_s)

    async def _first_message(self) -> Start | None:
        """The client's `start`; None where the server drains before it came."""
        receive = asyncio.ensure_future(self._connection.recv())
        drain = asyncio.ensure_future(self._draining.wait())
        timeout = self._config.start_timeout_s
        try:
            await asyncio.wait({receive, drain}, timeout=timeout, return_when="FIRST_COMPLETED")
            if not receive.done():
                if self._draining.is_set():
                    return None
                raise MessageError("idle", f"no start within {timeout:g} s of connecting")
            message = receive.result()
        finally:
            receive.cancel()
            drain.cancel()
        if not isinstance(message, str):
            raise MessageError("bad_message", "a binary frame before start: send start first")
        start = parse(message)
        if not isinstance(start, Start):
            raise MessageError("bad_message", "expected start as the first message")
        return start

    def _check_analyzable(self, start: Start) -> None:
        for name in start.analyzed:
            if name not in self._config.analyzable:
                allowed = ", ".join(self._config.analyzable)
                raise MessageError(
                    "unsupported",
                    f"start: channel {name!r} may not be analysed here, only {allowed}; "
                    "name one of these in analyze, or ask the operator to allow it (--analyzable)",
                )

    # --- the reader ---

    async def _read(self, session: Session, start: Start) -> None:
        """Feeds the session and obeys the client, until it is cancelled or something ends."""
        try:
            while True:
                message = await self._receive(session)
                if self._draining.is_set():
                    pass  # what comes now comes too late, through no fault of the client
                elif isinstance(message, str):
                    await self._obey(session, message)
                elif session.stopped:
                    await self._tell("audio after stop: open a new stream")
                else:
                    await self._hear(session, start, message)
                await asyncio.sleep(0)  # others' turns come between frames that are already here
        except AudioError as error:
            self._end = MessageError("bad_audio", str(error))
        except (MessageError, ConnectionClosed, _Deaf) as end:
            self._end = end
        self._wake.set()

    async def _receive(self, session: Session) -> str | bytes:
        # After `stop` it is the client that waits.
        timeout = None if session.stopped else self._config.idle_timeout_s
        try:
            async with asyncio.timeout(timeout):
                return await self._connection.recv()
        except TimeoutError:
            raise MessageError(
                "idle",
                f"nothing came for {timeout:g} s: send audio, or keepalive while there is none",
            ) from None

    async def _hear(self, session: Session, start: Start, data: bytes) -> None:
        frame = BYTES_PER_SAMPLE[start.encoding] * len(start.channels)
        size = round(SLICE_S * start.sample_rate) * frame
        for first in range(0, len(data), size):
            if self._draining.is_set():
                return
            session.feed(data[first : first + size], self._now())
            self._wake.set()
            await self._hold(session)
            if len(data) > size:
                await asyncio.sleep(0)  # others' turns come between the slices of a long frame

    async def _hold(self, session: Session) -> None:
        """Does not read on while the session has more to judge than it may pile up.

        With a long hop much may be unjudged and yet nothing be due: then more audio is what it needs.
        """
        self._held_since = began = self._now()
        while self._too_much(session):
            self._progress.clear()
            try:
                async with asyncio.timeout(MAX_HOLD_S):
                    await self._progress.wait()
            except TimeoutError:
                if session.unjudged_s < MAX_BACKLOG_S:
                    break
        self._held_since = None
        session.held(self._now() - began)

    def _too_much(self, session: Session) -> bool:
        if self._draining.is_set() or not self._busy(session):
            return False
        limit = MAX_BACKLOG_S if self._live(session) else FAST_BACKLOG_S
        return session.unjudged_s > limit

    def _live(self, session: Session) -> bool:
        """Whether audio comes at the pace of speech; while reading is held, the clock stands still."""
        return session.live(self._now() if self._held_since is None else self._held_since)

    async def _obey(self, session: Session, text: str) -> None:
        """Does what a control message says; one that cannot be obeyed does not end the session."""
        try:
            message = parse(text)
        except MessageError as error:
            await self._send(Error(code=error.code, message=error.message, fatal=False))
            return
        if session.stopped or isinstance(message, Start):
            second = "start came twice" if isinstance(message, Start) else "a message after stop"
            await self._tell(f"{second}: open a new stream")
        elif isinstance(message, Flush):
            session.flush(message.id)
            await self._answered(session)
        elif isinstance(message, Stop):
            self._stop(session)

    async def _answered(self, session: Session) -> None:
        """Waits until the judge has nothing left to do: so a client cannot pile up flushes."""
        self._wake.set()
        while self._busy(session):
            self._progress.clear()
            await self._progress.wait()

    def _busy(self, session: Session) -> bool:
        """Whether the judge has something to do."""
        return session.ready or self._judging

    def _stop(self, session: Session) -> None:
        if not session.stopped:
            session.stop()
            self._wake.set()

    # --- the judge ---

    async def _judge(self, session: Session) -> None:
        """Judges and sends all that the session hands out, until its summary or what ended it."""
        try:
            while not session.closed:
                await self._wake.wait()
                self._wake.clear()
                if self._draining.is_set():
                    self._stop(session)
                while session.ready and not isinstance(self._end, ConnectionClosed | _Deaf):
                    await self._next(session)
                if self._end is not None:
                    return
        except (MessageError, ConnectionClosed, _Deaf) as end:
            self._end = end

    async def _next(self, session: Session) -> None:
        self._judging = True
        item, judgement = await self._scheduler.judge(
            lambda: session.poll(self._now()), live=self._live(session)
        )
        if isinstance(item, Window) and judgement is not None:
            await self._send(session.finish(item, judgement, self._now()))
        elif isinstance(item, Flushed | Summary | Warning):
            await self._send(item)
        self._judging = False
        self._progress.set()

    # --- the client ---

    async def _tell(self, reason: str) -> None:
        """Says what could not be obeyed; the session goes on."""
        await self._send(Error(code="bad_message", message=reason, fatal=False))

    async def _send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._config.send_timeout_s):
                await self._connection.send(encode(message))
        except TimeoutError:
            self._connection.transport.abort()
            raise _Deaf from None

    async def _close(self, code: int, reason: str = "") -> None:
        """Closes the connection, and reads on meanwhile: the client's answer comes behind its audio."""
        try:
            async with asyncio.timeout(self._config.send_timeout_s), asyncio.TaskGroup() as tasks:
                discarding = tasks.create_task(self._discard())
                await self._connection.close(code, reason)
                discarding.cancel()
        except TimeoutError:
            self._connection.transport.abort()
            raise _Deaf from None

    async def _discard(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                await self._connection.recv()
                await asyncio.sleep(0)

    async def _refuse(self, error: MessageError) -> None:
        """Says what went wrong, and closes with the code that belongs to it."""
        log.info("session %s: %s: %s", self.id, error.code, error.message)
        try:
            await self._send(Error(code=error.code, message=error.message, fatal=True))
            await self._close(CLOSE_CODES[error.code], error.code)
        except (ConnectionClosed, _Deaf):
            log.debug("session %s: the client did not wait for the reason", self.id)
