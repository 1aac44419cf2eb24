"""All calls of this node: the connected ones, and those that wait for their client to come back."""

import asyncio
import logging
import secrets
from collections.abc import Sequence

from emotion.engine import Engine
from emotion.errors import MessageError
from emotion.messages import Resume, Start
from emotion.session import Session
from stream_server.alarms import Alarms
from stream_server.call import Call
from stream_server.config import ANALYZABLE_CHANNELS
from stream_server.hub import Hub
from stream_server.scheduler import Scheduler

log = logging.getLogger(__name__)


class Calls:
    """Opens, parks, resumes and ends calls.

    Args:
        engine: what judges.
        scheduler: where windows wait for their turn.
        hub: where events are published.
        grace_s: for how long a call waits for its client.
        max_parked: calls that may wait.
        analyzable: names of the channels that may be analysed.
        alarms: rules that calls are watched by; None for none.
    """

    def __init__(
        self,
        engine: Engine,
        scheduler: Scheduler,
        hub: Hub,
        *,
        grace_s: float = 30.0,
        max_parked: int = 100,
        analyzable: Sequence[str] = ANALYZABLE_CHANNELS,
        alarms: Alarms | None = None,
    ) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._hub = hub
        self._grace_s = grace_s
        self._max_parked = max_parked
        self._analyzable = analyzable
        self._alarms = alarms or Alarms((), hub)
        self._tasks: dict[asyncio.Task[None], Call] = {}
        self._known: dict[str, Call] = {}
        self._parked: dict[str, tuple[Call, asyncio.TimerHandle]] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._known)

    @property
    def parked(self) -> int:
        """Calls that wait for their client to come back."""
        return len(self._parked)

    @property
    def abandoned(self) -> int:
        """Calls that nobody will come back to and that are not judged to their end yet."""
        return sum(1 for call in self._tasks.values() if call.abandoned)

    def open(self, start: Start, owner: str) -> Call:
        """Begins a call.

        Args:
            start: checked.
            owner: name of the principal who opens it.

        Raises:
            MessageError: `unsupported`: the model cannot do what `start` asks for, or the operator
                does not allow it; `at_capacity`: too much is still to be judged for nobody.
        """
        if self.abandoned > self._max_parked:
            raise MessageError(
                "at_capacity", "the server is still judging what others left behind: try again soon"
            )
        for name in start.analyzed:
            if name not in self._analyzable:
                raise MessageError(
                    "unsupported",
                    f"start: channel {name!r} may not be analysed here, only "
                    f"{', '.join(self._analyzable)}; "
                    "name one of these in analyze, or ask the operator to allow it (--analyzable)",
                )
        session = Session(
            start,
            self._engine.contract,
            self._engine.prior(),
            session_id=secrets.token_urlsafe(16),
        )
        alarm = self._alarms.over(session.id, session.stream_id)
        call = Call(session, start, owner, self._scheduler, self._hub, alarm)
        task = asyncio.create_task(call.run(), name=f"call {session.id}")
        self._hub.metrics.sessions_started.inc()
        self._tasks[task] = call
        self._known[session.id] = call
        task.add_done_callback(self._tasks.pop)
        return call

    def find(self, resume: Resume, owner: str) -> Call:
        """The call that a client comes back to; it stays parked until `unpark`.

        Raises:
            MessageError: `unknown_session`: there is none, it ended too long ago, or it is another's.
        """
        call = self._known.get(resume.session_id)
        if call is None or call.owner != owner:
            raise MessageError(
                "unknown_session",
                f"resume: no such session, or it ended more than {self._grace_s:g} s "
                "ago: start a new one",
            )
        return call

    def unpark(self, call: Call) -> None:
        """Somebody has come back to the call: it does not end by itself any more."""
        if call.session.id in self._parked:
            self._parked.pop(call.session.id)[1].cancel()

    def park(self, call: Call) -> None:
        """Keeps a call whose client vanished, for the grace period, unless somebody has it already.

        Where too many wait, one of the same owner gives way, or else the one that waits the longest.
        """
        session_id = call.session.id
        if self._known.get(session_id) is not call or call.connection is not None:
            return
        self.unpark(call)
        handle = asyncio.get_running_loop().call_later(self._grace_s, self.forget, call)
        self._parked[session_id] = call, handle
        log.info("waits for its client", extra={"session": session_id})
        if len(self._parked) > self._max_parked:
            waiting = [other for other, _ in self._parked.values() if other is not call] or [call]
            self.forget(next((o for o in waiting if o.owner == call.owner), waiting[0]))

    def forget(self, call: Call) -> None:
        """Ends a call for good: what is left of it is still judged for whoever follows it."""
        self.unpark(call)
        self._known.pop(call.session.id, None)
        call.abandon()

    def drain(self) -> None:
        """Ends the parked calls; the connected ones are for their connections to end."""
        for call, _ in list(self._parked.values()):
            self.forget(call)

    async def settled(self) -> None:
        """Waits until every call has been judged to its end."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Cuts off what is still being judged."""
        for _, handle in self._parked.values():
            handle.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
