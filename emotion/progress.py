"""Progress of long work on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import functools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

LINE_EVERY_S: Final = 10.0


@functools.cache
def console() -> Console:
    """The one console on stderr: bars and log lines must know of each other."""
    return Console(stderr=True)


def track(items: Sequence[T], what: str) -> Iterator[T]:
    """Yields the items and shows how many of them are done.

    Args:
        items: what is worked on.
        what: the line's beginning, such as `features`.
    """
    counted = ((item, 1) for item in items)
    return _track(counted, 0, len(items), what, MofNCompleteColumn())


def track_done(items: Iterable[T], done: int, total: int, what: str) -> Iterator[T]:
    """Yields the items as they are done, and shows how many of all that makes.

    Args:
        items: what is done, as it comes.
        done: items that were done before.
        total: items there are.
        what: the line's beginning.
    """
    return _track(((item, 1) for item in items), done, total, what, MofNCompleteColumn())


def track_bytes(chunks: Iterable[bytes], done: int, total: int, what: str) -> Iterator[bytes]:
    """Yields the chunks of a download and shows how many bytes have arrived.

    Args:
        chunks: what arrives.
        done: bytes that were there before.
        total: bytes of the whole file.
        what: the file's name.
    """
    return _track(((chunk, len(chunk)) for chunk in chunks), done, total, what, DownloadColumn())


def _track(
    steps: Iterable[tuple[T, int]], done: int, total: int, what: str, column: ProgressColumn
) -> Iterator[T]:
    if console().is_terminal:
        return _bar(steps, done, total, what, column)
    return _lines(steps, done, total, what)


def _bar(
    steps: Iterable[tuple[T, int]], done: int, total: int, what: str, column: ProgressColumn
) -> Iterator[T]:
    columns = (TextColumn(what), BarColumn(), column, TimeRemainingColumn())
    with Progress(*columns, console=console()) as progress:
        task = progress.add_task(what, total=total, completed=done)
        for item, size in steps:
            yield item
            progress.advance(task, size)


def _lines(steps: Iterable[tuple[T, int]], done: int, total: int, what: str) -> Iterator[T]:
    before, start = done, time.monotonic()
    last = start
    for item, size in steps:
        yield item
        done += size
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            left = (now - start) / (done - before) * (total - done)
            console().print(f"{what}: {done} of {total}, {left:.0f} s left", highlight=False)
