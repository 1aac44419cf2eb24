"""Windows of all sessions to inference threads.

There is no queue of windows: a session waits here for its turn, and only then decides which window it
hands out, so that a session that fell behind hands out its newest. A session waits at most once at a
time, so first come, first served is fair between sessions. Those whose audio runs ahead of the clock
get only the turns that live ones leave.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from emotion.engine import Engine, Judgement, Window
from stream_server.metrics import Metrics

Other = TypeVar("Other")


class Scheduler:
    """Runs windows, one a thread; used from one event loop.

    Args:
        engine: shared by all threads.
        threads: how many windows are judged side by side.
        metrics: measures waiting and judging.
    """

    def __init__(self, engine: Engine, threads: int, metrics: Metrics | None = None) -> None:
        self._engine = engine
        self._metrics = metrics or Metrics()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="judge")
        self._free = threads
        self._waiting: dict[bool, deque[asyncio.Future[None]]] = {True: deque(), False: deque()}

    async def judge(
        self, take: Callable[[], Window | Other], live: bool
    ) -> tuple[Window | Other, Judgement | None]:
        """Waits for a turn, takes what there is to do, and judges it if it is a window.

        Args:
            take: called once, when the turn has come.
            live: whether the session's audio comes at the pace of speech.

        Returns:
            what `take` gave, and its judgement if it was a window.

        Raises:
            Exception: whatever the engine raises for this window; other windows are not affected.
        """
        began = time.perf_counter()
        await self._turn(live)
        self._metrics.queue_s.observe(time.perf_counter() - began)
        try:
            item = take()
            if not isinstance(item, Window):
                self._release()
                return item, None
            running = asyncio.get_running_loop().run_in_executor(self._pool, self._judge, item)
        except BaseException:
            self._release()
            raise
        # The thread cannot be stopped: where the session is cancelled meanwhile, the turn ends with
        # the thread, not with the session.
        running.add_done_callback(self._ended)
        return item, await asyncio.shield(running)

    def _judge(self, window: Window) -> Judgement:
        """In a thread."""
        began = time.perf_counter()
        judgement = self._engine.judge(window)
        if judgement.probabilities is not None:
            self._metrics.inference_s.observe(time.perf_counter() - began)
        return judgement

    def close(self) -> None:
        """Ends the threads; windows that are being judged are waited for."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _turn(self, live: bool) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[live].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # the turn had come: pass it on
            elif turn in self._waiting[live]:  # or already passed over
                self._waiting[live].remove(turn)
            raise

    def _release(self) -> None:
        """Passes the turn to whoever waits, live sessions first."""
        for live in (True, False):
            while self._waiting[live]:
                turn = self._waiting[live].popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1

    def _ended(self, running: asyncio.Future[Judgement]) -> None:
        if not running.cancelled():
            running.exception()  # whoever waited has it; a cancelled session does not want it
        self._release()
