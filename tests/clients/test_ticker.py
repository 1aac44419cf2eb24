"""One timer for all streams."""

import asyncio
import time

import pytest

from clients import ticker
from clients.ticker import Ticker


class Rider:
    def __init__(self) -> None:
        self.ticks: list[int] = []

    def tick(self, number: int) -> None:
        self.ticks.append(number)


async def until(wheel: Ticker, number: int) -> None:
    """Waits for a tick."""
    come = asyncio.Event()

    class Waits:
        def tick(self, now: int) -> None:
            if now >= number:
                come.set()

    waits = Waits()
    for phase in range(wheel.phases):
        wheel.add(waits, phase)
    async with asyncio.timeout(10):
        await come.wait()
    for phase in range(wheel.phases):
        wheel.remove(waits, phase)


@pytest.mark.parametrize("interval_s", [0.005, 0.02, 0.03, 0.2])
async def test_ticks_make_up_the_interval(interval_s: float) -> None:
    assert Ticker(interval_s).phases * Ticker(interval_s).tick_s == pytest.approx(interval_s)


async def test_each_rider_has_every_nth_tick_from_its_first_on() -> None:
    wheel, first, second = Ticker(0.02), Rider(), Rider()
    wheel.add(first, 0)
    wheel.add(second, 3)
    wheel.start()
    await until(wheel, 14)
    wheel.stop()
    assert first.ticks[:3] == [0, 5, 10]
    assert second.ticks[:3] == [3, 8, 13]


async def test_ticks_that_were_missed_come_late_but_come() -> None:
    wheel, rider = Ticker(0.02), Rider()
    wheel.add(rider, 0)
    wheel.start()
    asyncio.get_running_loop().call_soon(time.sleep, 0.1)
    await until(wheel, 25)
    wheel.stop()
    assert rider.ticks[:5] == [0, 5, 10, 15, 20]
    assert wheel.late_share > 0
    times = [wheel.time(number) for number in range(25)]
    assert times == sorted(times)
    wheel.forgive()
    assert wheel.late_share == 0


async def test_who_is_removed_by_its_own_tick_takes_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheel, others = Ticker(0.02), [Rider(), Rider()]

    class Once(Rider):
        def tick(self, number: int) -> None:
            super().tick(number)
            wheel.remove(self, 0)
            wheel.remove(self, 0)

    once = Once()
    for rider in (others[0], once, others[1]):
        wheel.add(rider, 0)
    wheel.start()
    await until(wheel, 6)
    wheel.stop()
    assert once.ticks == [0]
    assert others[0].ticks[:2] == others[1].ticks[:2] == [0, 5]


async def test_times_that_the_ring_has_forgotten_are_those_of_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ticker, "RING_S", 0.04)
    wheel = Ticker(0.02)
    wheel.start()
    await until(wheel, 30)
    wheel.stop()
    assert wheel.time(0) == wheel.time(wheel.number - 10) < wheel.time(wheel.number - 1)
