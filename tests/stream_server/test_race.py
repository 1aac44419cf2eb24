"""Coroutines side by side: the first to end decides, and nothing is left of any."""

import asyncio
import gc
import weakref

import pytest

from stream_server.race import first_of


class Held:
    """Something that a frame holds."""


async def failing(after: int = 0) -> None:
    for _ in range(after):
        await asyncio.sleep(0)
    raise ConnectionError("lost")


async def saying(word: str, after: int = 0) -> str:
    for _ in range(after):
        await asyncio.sleep(0)
    return word


async def test_the_first_to_end_decides_and_the_others_are_cancelled_to_their_end():
    ended = []

    async def other() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(True)
        return "never"

    assert await first_of(other(), saying("a", 3)) == "a"
    assert ended == [True]


async def test_of_those_that_end_at_once_the_first_decides():
    assert await first_of(saying("a"), failing()) == "a"
    with pytest.raises(ConnectionError, match="lost"):
        await first_of(failing(), saying("a"))


async def test_who_is_cancelled_cancels_all():
    started = asyncio.Event()
    cancelled = []

    async def waiting() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    task = asyncio.create_task(first_of(waiting(), waiting()))
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == [True, True]


async def test_what_a_failure_came_through_does_not_wait_for_the_garbage_collector():
    async def connection() -> weakref.ref[Held]:
        held = Held()
        with pytest.raises(ConnectionError):
            await first_of(saying("a", 60), failing(2))
        return weakref.ref(held)

    gc.collect()
    gc.disable()
    try:
        left = await asyncio.create_task(connection())
        await asyncio.sleep(0)
        assert left() is None
    finally:
        gc.enable()
