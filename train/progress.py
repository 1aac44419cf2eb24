"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

LINE_EVERY_S: Final = 10.0


def track(items: Iterable[T], total: int, what: str, console: Console | None = None) -> Iterator[T]:
    """Yields the items and shows on stderr how many of them are done.

    Args:
        items: what is worked on.
        total: how many there are.
        what: the line's beginning, such as `features`.
        console: where to show it; stderr where None.
    """
    console = console or Console(stderr=True)
    if console.is_terminal:
        yield from _bar(items, total, what, console)
    else:
        yield from _lines(items, total, what)


def _bar(items: Iterable[T], total: int, what: str, console: Console) -> Iterator[T]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield from progress.track(items, total=total)


def _lines(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    start = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            left = (now - start) / done * (total - done) if done else 0.0
            sys.stderr.write(f"{what}: {done}/{total}, {left:.0f} s left\n")
        yield item
    if time.monotonic() - start >= LINE_EVERY_S:
        sys.stderr.write(f"{what}: {total}/{total}\n")
