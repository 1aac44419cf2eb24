"""One timer for all streams of a load.

A timer a frame a stream would cost more than sending the frames. Here time goes in ticks; each stream
sends in every n-th of them, and when a stream's frame was sent is when its tick was: a ring of the last
ticks' times serves all streams.
"""

import asyncio
from array import array
from typing import Final, Protocol

TICK_S: Final = 0.004  # about; a whole number of them makes a frame
RING_S: Final = 120.0
"""For which the times of ticks are kept: a result that takes longer counts as having taken so long."""
LATE_S: Final = 0.02
"""A tick that comes so much too late says that this machine, or this process, is overloaded."""
MAX_CATCH_UP: Final = 8  # late ticks done at a time, before others get their turn


class Rider(Protocol):
    """Who does something in every n-th tick."""

    def tick(self, number: int) -> None:
        """Its tick has come; must not wait and must not raise."""


class Ticker:
    """Ticks from `start` to `stop`.

    Args:
        interval_s: from one tick of a rider to its next.
    """

    def __init__(self, interval_s: float) -> None:
        self.phases = max(1, round(interval_s / TICK_S))
        self.tick_s = interval_s / self.phases
        self._riders: list[list[Rider]] = [[] for _ in range(self.phases)]
        self._times = array("d", bytes(8 * round(RING_S / self.tick_s)))
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self.number = 0  # of the next tick
        self._late = 0  # ticks that came more than LATE_S too late
        self._since = 0  # the first tick that counts for that

    def start(self) -> None:
        """Begins to tick."""
        self._began = self._loop.time()
        self._tick()

    def stop(self) -> None:
        """Ticks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def forgive(self) -> None:
        """Forgets how late ticks were."""
        self._late, self._since = 0, self.number

    @property
    def late_share(self) -> float:
        """Of the ticks since `forgive`, how many came more than `LATE_S` too late."""
        return self._late / max(1, self.number - self._since)

    def add(self, rider: Rider, first: int) -> None:
        """From the tick with this number on, which is still to come."""
        self._riders[first % self.phases].append(rider)

    def remove(self, rider: Rider, first: int) -> None:
        """No more; with the number it was added with."""
        riders = self._riders[first % self.phases]
        if rider in riders:
            riders.remove(rider)

    def time(self, number: int) -> float:
        """When a tick was, by the event loop's clock; what the ring has forgotten was at its start."""
        oldest = max(0, self.number - len(self._times))
        return self._times[max(number, oldest) % len(self._times)]

    def _tick(self) -> None:
        for _ in range(MAX_CATCH_UP):
            now = self._loop.time()
            lag_s = now - (self._began + self.number * self.tick_s)
            if lag_s < 0:
                break
            self._late += lag_s > LATE_S
            number = self.number
            self._times[number % len(self._times)] = now
            self.number += 1
            for rider in tuple(self._riders[number % self.phases]):
                rider.tick(number)
        due = self._began + self.number * self.tick_s
        self._timer = self._loop.call_at(due, self._tick)
