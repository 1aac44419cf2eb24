"""One connection that carries a call: its messages to the call, the call's answers to it.

Two tasks share the connection, both on the event loop: the reader obeys what the client says, the sender
sends what the call's outbox holds. When the connection breaks, the call is parked, and another
connection may go on with it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import count
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from emotion.errors import AudioError, MessageError
from emotion.messages import (
    MAX_GAP_S,
    Emotion,
    Error,
    Flush,
    Gap,
    Limits,
    Message,
    Resume,
    Silence,
    Start,
    Stop,
    Summary,
)
from stream_server import intake
from stream_server.auth import Principal, Role
from stream_server.call import Call, missed_events
from stream_server.calls import Calls
from stream_server.config import Config
from stream_server.connection import CLOSE_CODES
from stream_server.dialect import Audio, Dialect, Native, Order
from stream_server.opening import Opening
from stream_server.race import first_of, until
from stream_server.wire import DeafError, Wire

FRAMES_A_TURN: Final = 8
"""Messages that are obeyed before others' turn comes, where they are already here."""
LAST_LOOK_S: Final = 0.01  # for what the client said to be read, before it has said nothing

log = logging.getLogger(__name__)


class Stream:
    """Serves one connection.

    Args:
        connection: open, nothing read from it yet.
        dialect: how the client speaks.
        calls: where its call is opened or resumed.
        principal: who connected, or the refusal that stands until a message brings credentials.
        identify: finds out whose credentials a message brought; raises `unauthorized`.
        config: the server's.
    """

    def __init__(
        self,
        connection: ServerConnection,
        dialect: Dialect,
        calls: Calls,
        principal: Principal | MessageError,
        config: Config,
        identify: Callable[[str], Principal] | None = None,
    ) -> None:
        self._wire = Wire(connection, dialect, config.send_timeout_s)
        self._calls = calls
        self._config = config
        self._resumable = isinstance(dialect, Native)  # telephony calls again, it does not resume
        self._call: Call | None = None
        self._draining = asyncio.Event()
        self._opening = Opening(
            self._wire, principal, identify, config.start_timeout_s, self._draining
        )
        self._replaced = asyncio.Event()  # another connection wants the call
        self._left = asyncio.Event()  # this one has let go of it
        self._waiting_since: float | None = None  # for the client to say something
        self._watchdog: asyncio.TimerHandle | None = None

    async def serve(self, slot: Callable[[Principal], AbstractContextManager[None]]) -> None:
        """Serves the connection to its end; raises nothing that the client can cause.

        Args:
            slot: makes what is held while a principal is served; may refuse with a MessageError.
                Whoever has not said yet who it is holds none.
        """
        try:
            with ExitStack() as held:
                await self._serve(lambda who: held.enter_context(slot(who)))
        except MessageError as error:
            self._log(f"{error.code}: {error.message}")
            await self._wire.refuse(error)
        except DeafError:
            self._log("the client does not read and is given up")
        except ConnectionClosed as closed:
            self._log(f"the client went away ({str(closed)!r})")
        except Exception:
            log.exception("failed", extra=self._named())
            await self._wire.refuse(
                MessageError("internal", "the server failed to serve this connection")
            )

    def drain(self) -> None:
        """Asks for the call's end: it gets its results, a summary, and close code 1001."""
        self._draining.set()
        if self._call is not None:
            self._call.stop()

    async def give_way(self) -> None:
        """Lets go of the call, for another connection to go on with it."""
        self._replaced.set()
        await self._left.wait()

    async def _serve(self, hold_slot: Callable[[Principal], None]) -> None:
        known = self._opening.principal
        if isinstance(known, Principal):
            hold_slot(known)
        first = await self._opening.orders()
        if first is None:
            return
        who = self._opening.require_principal()
        if who is not known:
            hold_slot(who)
        await self._carry(who, *first)

    async def _carry(self, principal: Principal, start: Start, early: Sequence[Order]) -> None:
        call, number = await self._join(principal, start)
        seq = start.resume.last_seq if start.resume else 0
        try:
            last = await self._converse(call, number, seq, early)
        except (ConnectionClosed, DeafError) as lost:
            self._lost(call, lost)
            raise
        except BaseException:
            self._leave(call)
            if not self._replaced.is_set():
                self._calls.forget(call)
            raise
        self._leave(call)
        if last is None:
            await self._wire.close(CloseCode.POLICY_VIOLATION, "resumed over another connection")
            return
        self._log(f"ended after {call.session.audio_s:.1f} s of audio")
        await self._end(call, last)

    async def _end(self, call: Call, last: Message) -> None:
        """Closes after the last message; a client that does not confirm may still come back for it."""
        if isinstance(last, Error):
            self._calls.forget(call)
            await self._wire.close(CLOSE_CODES[last.code], last.code)
            return
        draining = self._draining.is_set()
        try:
            await self._wire.close(CloseCode.GOING_AWAY if draining else CloseCode.NORMAL_CLOSURE)
        finally:
            confirmed = self._wire.connection.close_code != CloseCode.ABNORMAL_CLOSURE
            if confirmed or draining or not self._resumable:
                self._calls.forget(call)
            else:
                self._calls.park(call)

    # --- the beginning ---

    async def _join(self, principal: Principal, start: Start) -> tuple[Call, int]:
        """The call that `start` opens or resumes, and the number of the first message to send."""
        if start.resume is None:
            # A stream without a name is nobody's but everybody's.
            principal.require(Role.PUBLISH, start.stream_id or "")
            call, number = self._calls.open(start, principal.name), 0
        else:
            call = await self._taken_over(principal, start.resume)
            number = call.outbox.after(start.resume.last_seq)
        self._call, call.connection = call, self
        call.sent(number)
        if self._draining.is_set():
            call.stop()
        resumed = start.resume is not None
        self._log("resumed" if resumed else f"started, {start.encoding} at {start.sample_rate} Hz")
        limits = Limits(idle_timeout_s=self._config.idle_timeout_s)
        try:
            await self._wire.send(call.started(limits, resumed=resumed))
        except (ConnectionClosed, DeafError) as lost:
            self._lost(call, lost)
            raise
        return call, number

    async def _taken_over(self, principal: Principal, resume: Resume) -> Call:
        """The call that somebody comes back to; whoever still carries it lets go of it."""
        while True:
            # Found anew each time: meanwhile its connection may have ended it.
            call = self._calls.find(resume, principal.name)
            principal.require(Role.PUBLISH, call.start.stream_id or "")
            if call.connection is None:
                self._calls.unpark(call)
                call.session.resume()
                return call
            await call.connection.give_way()

    # --- the end ---

    def _leave(self, call: Call) -> None:
        if call.connection is self:
            call.connection = None
            call.sent(None)
        self._left.set()

    def _lost(self, call: Call, lost: ConnectionClosed | DeafError) -> None:
        """The connection is gone: the call waits for its client, unless that closed it on purpose."""
        self._leave(call)
        if self._replaced.is_set():
            return
        over = isinstance(lost, ConnectionClosed) and (
            lost.rcvd is not None and lost.rcvd.code == CloseCode.NORMAL_CLOSURE
        )
        if over or not self._resumable or self._draining.is_set() or call.failed:
            self._calls.forget(call)
        else:
            self._calls.park(call)

    async def _converse(
        self, call: Call, number: int, seq: int, early: Sequence[Order]
    ) -> Message | None:
        """Reads and sends at the same time.

        Returns:
            the last message, which has been sent; None where another connection takes over.

        Raises:
            ConnectionClosed: the connection broke.
            DeafError: the client does not read.
        """
        try:
            return await first_of(
                self._send_all(call, number, seq), self._read(call, early), until(self._replaced)
            )
        finally:
            if self._watchdog is not None:
                self._watchdog.cancel()

    # --- the reader ---

    async def _read(self, call: Call, early: Sequence[Order]) -> None:
        """Obeys the client until the connection closes or this is cancelled."""
        now = asyncio.get_running_loop().time
        self._watch(call)
        try:
            for order in early:
                await self._obey(call, order)
            for number in count(1):
                self._waiting_since = now()
                message = await self._wire.connection.recv()
                self._waiting_since = None
                if not self._draining.is_set():  # else it comes too late, by no fault of the client
                    await self._understand(call, message)
                if number % FRAMES_A_TURN == 0:
                    await asyncio.sleep(0)  # others' turns come between frames already here
        except AudioError as error:
            call.fail(MessageError("bad_audio", str(error)))
        except MessageError as error:
            call.fail(error)
        except ConnectionClosed:
            for order in self._wire.dialect.closed():
                await self._obey(call, order)
            raise
        await self._wire.discard()

    def _watch(self, call: Call, over: bool = False) -> None:
        """Ends the call of a client that says nothing; one timer for all of its frames.

        It looks again before it is over: where the event loop stood still for so long, what came
        meanwhile has not been read yet.
        """
        idle, loop = self._config.idle_timeout_s, asyncio.get_running_loop()
        since = loop.time() if self._waiting_since is None else self._waiting_since
        left = since + idle - loop.time()
        if left > 0:
            self._watchdog = loop.call_later(left, self._watch, call)
        elif not over:
            self._watchdog = loop.call_later(LAST_LOOK_S, self._watch, call, True)
        elif not call.session.stopped:  # after `stop` it is the client that waits
            reason = f"nothing came for {idle:g} s: send audio, or keepalive while there is none"
            call.fail(MessageError("idle", reason))

    async def _understand(self, call: Call, message: str | bytes) -> None:
        """Obeys a message; one that is not of the protocol is answered and does not end the call."""
        try:
            orders = await self._wire.understand(message)
        except MessageError as error:
            await self._wire.send(Error(code=error.code, message=error.message, fatal=False))
            return
        for order in orders:
            await self._obey(call, order)

    async def _obey(self, call: Call, order: Order) -> None:
        if isinstance(order, Start):
            await self._wire.tell("start came twice: open a new stream")
        elif call.session.stopped:
            what = "audio" if isinstance(order, Audio) else "a message"
            await self._wire.tell(f"{what} after stop: open a new stream")
        elif isinstance(order, Audio):
            await intake.hear(call, order.data, self._draining)
        elif isinstance(order, Gap):
            longest = round(MAX_GAP_S * call.start.sample_rate)
            if order.samples > longest:
                await self._wire.tell(f"gap: {order.samples} samples: expected at most {longest}")
            else:
                await intake.skip(call, order.samples, self._draining, self._wire.connection)
        elif isinstance(order, Flush):
            call.flush(order.id)
            while call.busy:  # so a client cannot pile up flushes
                await call.progress()
        elif isinstance(order, Stop):
            call.stop()

    # --- the sender ---

    async def _send_all(self, call: Call, number: int, seq: int) -> Message:
        """Sends the outbox from a message's number on, to a client that has the events up to `seq`.

        Returns:
            the last message, once it has been sent.
        """
        while True:
            await call.outbox.wait(number)
            if call.outbox.gone_seq > seq:
                await self._wire.send(missed_events(call.outbox.gone_seq - seq))
                seq = call.outbox.gone_seq
            number, message = call.outbox.get(number)
            await self._wire.send(message)
            if isinstance(message, Emotion | Silence):
                seq = message.seq
            call.sent(number)
            if isinstance(message, Summary) or (isinstance(message, Error) and message.fatal):
                return message

    def _named(self) -> dict[str, str]:
        """For the log: which session."""
        return {"session": self._call.session.id if self._call else "-"}

    def _log(self, text: str) -> None:
        log.info(text, extra=self._named())
