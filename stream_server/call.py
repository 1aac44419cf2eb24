"""A call: a session, who judges it, and what it has to say; it outlives the connections it comes over.

The connection feeds the session; a task of the call takes turns at the scheduler and puts what comes of
them into the outbox, from where the connection sends it, in order. While there is no connection the task
goes on, so that whoever follows the call by the hub misses nothing, and the outbox keeps the last
messages for whoever resumes it.
"""

import asyncio
import logging
from collections import deque
from typing import Final, Protocol

from emotion.engine import Window
from emotion.errors import MessageError
from emotion.messages import (
    Emotion,
    Error,
    Limits,
    Message,
    Silence,
    Start,
    Started,
    Summary,
    Warning,
)
from emotion.session import Session
from stream_server.alarms import Alarm
from stream_server.hub import Hub
from stream_server.scheduler import Scheduler

OUTBOX: Final = 256
"""Messages kept for whoever resumes the call: 30 s of two channels at four windows a second."""
MAX_UNSENT: Final = 16
"""Messages that may wait for a connected client to read, before judging waits for it too."""

log = logging.getLogger(__name__)


class Outbox:
    """A call's messages in order, each under a number; the oldest go when there are too many.

    Attributes:
        end: the next message's number.
        gone_seq: of the newest event that is no longer kept; 0 without.
    """

    def __init__(self) -> None:
        self.end = 0
        self.gone_seq = 0
        self._kept: deque[Message] = deque(maxlen=OUTBOX)
        self._news = asyncio.Event()

    @property
    def begin(self) -> int:
        """The oldest kept message's number."""
        return self.end - len(self._kept)

    def put(self, message: Message) -> None:
        """Adds a message."""
        if len(self._kept) == self._kept.maxlen and isinstance(self._kept[0], Emotion | Silence):
            self.gone_seq = self._kept[0].seq
        self._kept.append(message)
        self.end += 1
        self._news.set()

    async def wait(self, number: int) -> None:
        """Waits until there is a message of this number."""
        while number >= self.end:
            self._news.clear()
            await self._news.wait()

    def get(self, number: int) -> tuple[int, Message]:
        """The message of a number before `end`, or, where that has gone, the oldest one kept.

        Returns:
            the number after it, and the message.
        """
        number = max(number, self.begin)
        return number + 1, self._kept[number - self.begin]

    def after(self, seq: int) -> int:
        """The number from which whoever has the events up to `seq` reads on."""
        for number in range(self.end - 1, self.begin - 1, -1):
            message = self._kept[number - self.begin]
            if isinstance(message, Emotion | Silence) and message.seq <= seq:
                return number + 1
        return self.begin


class Connection(Protocol):
    """Whoever carries a call."""

    async def give_way(self) -> None:
        """Lets go of the call, for another connection to go on with it."""
        ...


class Call:
    """One call.

    Args:
        session: new.
        start: what it was started with.
        owner: name of the principal who opened it.
        scheduler: where its windows wait for their turn.
        hub: where its events are published.
        alarm: hears its events; None where no rule concerns it.

    Attributes:
        outbox: what it has to say.
        connection: whoever sends it; None while the call is parked.
        ended: whether nothing more will come into the outbox.
        abandoned: whether nobody will come back to it.
    """

    def __init__(
        self,
        session: Session,
        start: Start,
        owner: str,
        scheduler: Scheduler,
        hub: Hub,
        alarm: Alarm | None = None,
    ) -> None:
        self.session = session
        self.start = start
        self.owner = owner
        self.outbox = Outbox()
        self.ended = False
        self.abandoned = False
        self.connection: Connection | None = None
        self._scheduler = scheduler
        self._hub = hub
        self._alarm = alarm
        self._metrics = hub.metrics
        self._now = asyncio.get_running_loop().time
        self._wake = asyncio.Event()  # the session may have something to do
        self._progress = asyncio.Event()  # something was judged or sent
        self._sent: int | None = None  # the number up to which the client was sent; None without
        self._judging = False
        self._failure: MessageError | None = None
        self._held_since: float | None = None

    # --- what its connection says ---

    def started(self, limits: Limits, *, resumed: bool = False) -> Started:
        """The acknowledgement; whoever follows the call hears of it once."""
        started = self.session.started(limits, resumed=resumed)
        if not resumed:
            self._hub.publish(started)
        return started

    def feed(self, data: bytes) -> None:
        """Hears audio; raises as `Session.feed`."""
        before = self.session.audio_s
        self.session.feed(data, self._now())
        self._metrics.audio_s.inc(self.session.audio_s - before)
        self._wake_if_ready()

    def gap(self, samples: int) -> None:
        """Hears a gap; raises as `Session.gap`."""
        self.session.gap(samples, self._now())
        self._wake_if_ready()

    def flush(self, flush_id: str) -> None:
        """Asks for results; raises as `Session.flush`."""
        self.session.flush(flush_id)
        self._wake.set()

    def stop(self) -> None:
        """Asks for what is left and the summary; no more audio comes. May be said again."""
        if not self.session.stopped and not self.ended:
            self.session.stop()
        self._wake.set()

    def abandon(self) -> None:
        """Nobody listens any more: what is left is judged when others leave time for it."""
        self.abandoned = True
        self.sent(None)
        self.stop()

    def fail(self, error: MessageError) -> None:
        """Ends the call with an error, after the results of what was heard before."""
        if self._failure is None:
            self._failure = error
        self._wake.set()

    def sent(self, number: int | None) -> None:
        """Messages up to this number have been sent; None: there is nobody to send them to."""
        self._sent = number
        self._progress.set()

    @property
    def failed(self) -> bool:
        """Whether an error ends, or ended, the call."""
        return self._failure is not None

    @property
    def busy(self) -> bool:
        """Whether there is something to judge or to answer."""
        return not self.ended and (self.session.ready or self._judging)

    @property
    def live(self) -> bool:
        """Whether somebody listens while audio comes at the pace of speech.

        While reading is held, the clock stands still.
        """
        return not self.abandoned and self.session.live(
            self._now() if self._held_since is None else self._held_since
        )

    async def progress(self) -> None:
        """Waits until something has been judged or sent."""
        self._progress.clear()
        await self._progress.wait()

    def hold(self) -> None:
        """Reading is held from now on."""
        self._held_since = self._now()

    def release(self) -> None:
        """Reading goes on."""
        if self._held_since is not None:
            self.session.held(self._now() - self._held_since)
        self._held_since = None

    def _wake_if_ready(self) -> None:
        """Most frames complete no window: they shall not cost a turn of the event loop each."""
        if self.session.ready:
            self._wake.set()

    # --- the judge ---

    async def run(self) -> None:
        """Judges until the summary or a failure; raises nothing but cancellation."""
        try:
            await self._judge_all()
        except Exception:
            log.exception("failed", extra={"session": self.session.id})
            reason = (
                "the server failed to judge this stream; it is in its log under the session's id"
            )
            self._failure = MessageError("internal", f"session {self.session.id}: {reason}")
        finally:
            self._judging = False
            self._finish()

    async def _judge_all(self) -> None:
        while not self.session.closed:
            await self._wake.wait()
            self._wake.clear()
            while self.session.ready:
                await self._room()
                await self._next()
            if self._failure is not None:
                return

    async def _next(self) -> None:
        self._judging = True
        item, judgement = await self._scheduler.judge(
            lambda: self.session.poll(self._now()), live=self.live
        )
        if isinstance(item, Window) and judgement is not None:
            event = self.session.finish(item, judgement, self._now())
            self._say(event)
            # What a flush asks for leaves no trace, in the alerts either.
            if self._alarm is not None and not item.extra:
                self._alarm.hear(event)
        elif isinstance(item, Message):
            self._say(item)
        self._judging = False
        self._progress.set()

    async def _room(self) -> None:
        """Waits while a connected client has too much to read."""
        while self._sent is not None and self.outbox.end - self._sent >= MAX_UNSENT:
            await self.progress()

    def _say(self, message: Message) -> None:
        self.outbox.put(message)
        if isinstance(message, Summary):
            self._publish_end(message)
        elif isinstance(message, Emotion | Silence):
            self._hub.publish(message)
            self._metrics.windows("inferred" if isinstance(message, Emotion) else "silent")
            self._metrics.latency_s.observe(message.latency_ms / 1000)
        elif isinstance(message, Warning) and message.code == "skipped_windows":
            self._metrics.windows("skipped", message.count or 0)

    def _publish_end(self, summary: Summary) -> None:
        """Whoever follows the call hears that its alerts are over, and then how it ended."""
        if self._alarm is not None:
            self._alarm.end()
        self._hub.publish(summary)

    def _finish(self) -> None:
        """Whatever ended the call: its client is told, and whoever follows it hears of its end."""
        self.ended = True
        if not self.session.closed:
            self._publish_end(self.session.summary())
        if self._failure is not None:
            error = self._failure
            self._metrics.failed(error.code)
            self.outbox.put(Error(code=error.code, message=error.message, fatal=True))
        self._progress.set()


def missed_events(count: int) -> Warning:
    """Events that a resumed call no longer has."""
    return Warning(
        code="missed_events",
        message=f"events that came while nobody was connected and are no longer kept: {count}",
        count=count,
    )
