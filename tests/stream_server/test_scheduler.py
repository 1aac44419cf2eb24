"""Turns at the inference threads."""

import asyncio
import threading
from typing import Any, cast

import numpy as np
import pytest

from emotion.engine import Engine, Judgement, Window
from stream_server.scheduler import Scheduler


class Gate:
    """An engine whose windows wait until they are let through; remembers their order."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.order: list[str] = []

    def judge(self, window: Window) -> Judgement:
        self.order.append(window.channel)
        if window.channel == "broken":
            raise RuntimeError("broken")
        self.open.wait(10)
        return Judgement(None, None, None, None)


def window(name: str) -> Window:
    empty = np.zeros(0, np.int16)
    return Window(name, 0, 0, empty, False, 0.0, None, empty, None, 0)


def scheduled(gate: Gate, threads: int = 1) -> Scheduler:
    return Scheduler(cast(Engine, gate), threads)


async def judge(scheduler: Scheduler, name: str, live: bool = True) -> Any:
    return await scheduler.judge(lambda: window(name), live)


async def test_first_come_first_served_and_live_before_the_rest() -> None:
    gate = Gate()
    scheduler = scheduled(gate)
    names = [("first", True), ("file", False), ("a", True), ("other file", False), ("b", True)]
    tasks = []
    for name, live in names:
        tasks.append(asyncio.create_task(judge(scheduler, name, live)))
        await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert gate.order == ["first", "a", "b", "file", "other file"]
    scheduler.close()


async def test_what_to_judge_is_decided_when_the_turn_comes() -> None:
    gate = Gate()
    scheduler = scheduled(gate)
    newest = ["old"]
    first = asyncio.create_task(judge(scheduler, "first"))
    await asyncio.sleep(0)
    second = asyncio.create_task(scheduler.judge(lambda: window(newest[0]), True))
    await asyncio.sleep(0)
    newest[0] = "new"
    gate.open.set()
    await asyncio.gather(first, second)
    assert gate.order == ["first", "new"]
    scheduler.close()


async def test_what_is_no_window_is_handed_back_and_the_turn_passed_on() -> None:
    gate = Gate()
    gate.open.set()
    scheduler = scheduled(gate)
    assert await scheduler.judge(lambda: "nothing", True) == ("nothing", None)
    item, judgement = await judge(scheduler, "next")
    assert item.channel == "next" and judgement is not None
    scheduler.close()


async def test_a_window_that_fails_gives_its_turn_back() -> None:
    gate = Gate()
    gate.open.set()
    scheduler = scheduled(gate)
    with pytest.raises(RuntimeError, match="broken"):
        await judge(scheduler, "broken")
    with pytest.raises(ZeroDivisionError):
        await scheduler.judge(lambda: 1 // 0, True)
    await asyncio.wait_for(judge(scheduler, "next"), 10)
    scheduler.close()


async def test_a_session_cancelled_while_it_waits_takes_no_turn() -> None:
    gate = Gate()
    scheduler = scheduled(gate)
    first = asyncio.create_task(judge(scheduler, "first"))
    await asyncio.sleep(0)
    gone = asyncio.create_task(judge(scheduler, "gone"))
    await asyncio.sleep(0)
    gone.cancel()
    gate.open.set()
    await first
    await asyncio.wait_for(judge(scheduler, "last"), 10)
    assert gate.order == ["first", "last"]
    scheduler.close()


async def test_a_session_cancelled_while_it_is_judged_keeps_the_turn_until_the_thread_is_done() -> (
    None
):
    gate = Gate()
    scheduler = scheduled(gate)
    gone = asyncio.create_task(judge(scheduler, "gone"))
    await asyncio.sleep(0.05)
    gone.cancel()
    waiting = asyncio.create_task(judge(scheduler, "next"))
    await asyncio.sleep(0.05)
    assert gate.order == ["gone"]
    gate.open.set()
    await asyncio.wait_for(waiting, 10)
    scheduler.close()


async def test_a_turn_that_came_to_a_cancelled_session_is_passed_on() -> None:
    gate = Gate()
    gate.open.set()
    scheduler = scheduled(gate)
    first = asyncio.create_task(judge(scheduler, "first"))
    await asyncio.sleep(0)
    gone = asyncio.create_task(judge(scheduler, "gone"))
    await first  # its turn has been handed to `gone`, which has not run yet
    gone.cancel()
    await asyncio.wait_for(judge(scheduler, "last"), 10)
    scheduler.close()


async def test_a_session_cancelled_just_before_its_turn_is_passed_over() -> None:
    gate = Gate()
    scheduler = scheduled(gate)
    first = asyncio.create_task(judge(scheduler, "first"))
    await asyncio.sleep(0)
    # Cancels the next in the queue and gives its turn back before that one can run.
    second = asyncio.create_task(scheduler.judge(lambda: gone.cancel(), True))
    await asyncio.sleep(0)
    gone = asyncio.create_task(judge(scheduler, "gone"))
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, second)
    with pytest.raises(asyncio.CancelledError):
        await gone
    await asyncio.wait_for(judge(scheduler, "last"), 10)
    scheduler.close()


async def test_as_many_windows_run_side_by_side_as_there_are_threads() -> None:
    gate = Gate()
    scheduler = scheduled(gate, threads=2)
    tasks = [asyncio.create_task(judge(scheduler, str(i))) for i in range(3)]
    await asyncio.sleep(0.1)
    assert len(gate.order) == 2
    gate.open.set()
    await asyncio.gather(*tasks)
    scheduler.close()
