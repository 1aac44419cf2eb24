"""Coroutines side by side, of which the first to end decides."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def first_of(*coroutines: Coroutine[Any, Any, T]) -> T:
    """Runs coroutines until one ends, then cancels the others and waits for their end.

    Nothing is left behind for the garbage collector: an exception holds the frames that it came through,
    and one of these, had it kept the tasks, would hold the task that holds the exception. In such a
    circle all of a connection's memory would wait, for a quarter of an hour on a busy server.

    Args:
        coroutines: where several end at once, the first of these decides.

    Returns:
        what it returned.

    Raises:
        what it raised.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return _ended(tasks).result()
    finally:
        await _end(tasks)


async def until(event: asyncio.Event) -> None:
    """Waits for an event; to `first_of` it says nothing, where `Event.wait` would say True."""
    await event.wait()


def _ended(tasks: list[asyncio.Task[T]]) -> asyncio.Task[T]:
    return next(task for task in tasks if task.done())


async def _end(tasks: list[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    tasks.clear()
