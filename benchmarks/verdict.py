"""What a soak has shown: whether memory is flat, and whether all that was taken was given back."""

import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

from benchmarks.serving import Held

LIMIT_MIB: Final = 4.0
"""By which the median of the last quarter may lie above that of the second. Between the middles of these
two lies half of the soak, in an hour at 25 streams about 450 calls, so a leak of 9 KiB a call shows; a
session holds 190 KiB (idle_memory.py), and what grows by 4 MiB in half an hour takes five days to a
gigabyte."""
MIN_LOOKS: Final = 4  # at the memory, in each quarter


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen.

    Attributes:
        memory_mib: the server's resident memory, looked at at even intervals.
        calls: that ended meanwhile.
        start: what the process held before the first call.
        end: after the last one.
        workers: inference threads, which begin with the first windows and stay.
        open_sessions: after the last call.
        events_missing: events that summaries count and that callers never got.
        monitor_missing: events that were published and that the subscriber never got.
        lost: calls that ended, unasked, without their summary, or could not begin.
        refused: calls that the server turned away.
        failures: lines of level ERROR in the server's log.
    """

    memory_mib: list[float]
    calls: int
    start: Held
    end: Held
    workers: int
    open_sessions: int
    events_missing: int
    monitor_missing: int
    lost: int
    refused: int
    failures: int


class Check(msgspec.Struct, frozen=True):
    """One thing that had to hold: its name, whether it did, and what was seen."""

    name: str
    ok: bool
    seen: str


class Growth(msgspec.Struct, frozen=True):
    """Of memory, in MiB.

    Attributes:
        second, last: medians of the second and the last quarter.
        spread: of the looks in these quarters, the wider one's interquartile range.
    """

    second: float
    last: float
    spread: float

    @property
    def mib(self) -> float:
        """By how much the last quarter lies above the second."""
        return self.last - self.second


def growth(memory_mib: Sequence[float]) -> Growth:
    """How memory grew once it was warm: the first quarter, which fills pools and buffers, says nothing.

    Args:
        memory_mib: looks at even intervals.

    Raises:
        ValueError: they are fewer than `MIN_LOOKS` a quarter.
    """
    if len(memory_mib) < 4 * MIN_LOOKS:
        raise ValueError(f"{len(memory_mib)} looks at the memory: expected {4 * MIN_LOOKS} or more")
    size = len(memory_mib) // 4
    second, last = memory_mib[size : 2 * size], memory_mib[-size:]
    ranges = [statistics.quantiles(quarter, n=4) for quarter in (second, last)]
    spread = max(high - low for low, _, high in ranges)
    return Growth(statistics.median(second), statistics.median(last), spread)


def verdict(seen: Evidence) -> list[Check]:
    """What had to hold, each with what was seen."""
    start, end = seen.start, seen.end
    most = start.threads + seen.workers
    delivered = seen.events_missing == 0 and seen.monitor_missing == 0
    return [
        _memory(seen),
        Check(
            "descriptors",
            end.fds <= start.fds,
            f"{end.fds} open after the last call, {start.fds} before the first",
        ),
        Check(
            "threads",
            end.threads <= most,
            f"{end.threads} after the last call, {start.threads} before the first and "
            f"{seen.workers} that judge",
        ),
        Check(
            "sessions", seen.open_sessions == 0, f"{seen.open_sessions} open after the last call"
        ),
        Check(
            "events",
            delivered,
            f"{seen.events_missing} never came to callers, {seen.monitor_missing} to the monitor",
        ),
        Check(
            "calls",
            seen.lost == seen.refused == 0,
            f"{seen.calls} ended, {seen.lost} were lost, {seen.refused} refused",
        ),
        Check("log", seen.failures == 0, f"{seen.failures} lines of level ERROR"),
    ]


def _memory(seen: Evidence) -> Check:
    grown = growth(seen.memory_mib)
    shows = LIMIT_MIB * 1024 / max(1.0, seen.calls / 2)
    return Check(
        "memory",
        grown.mib <= LIMIT_MIB,
        f"{grown.second:.1f} MiB in the second quarter, {grown.last:.1f} in the last (medians; "
        f"half of the looks within {grown.spread:.1f}): grew by {grown.mib:.1f}, at most "
        f"{LIMIT_MIB:g} are allowed, which a leak of {shows:.1f} KiB a call would take",
    )
