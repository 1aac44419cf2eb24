"""What a load counts, and the one line that it ends with."""

from array import array
from collections import Counter
from math import ceil
from typing import Final, NamedTuple

import msgspec

MEGABYTE: Final = 1e6


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A load's last line. Windows are those whose last sample was sent in the measured period.

    Attributes:
        streams: that were asked for.
        refused: that the server turned away, by HTTP 401, 403, 429 or 503 or by `error`.
        disconnected: that ended without their summary, or never got a connection.
        windows: inferred + silent + skipped.
        inferred, silent: windows by their event.
        skipped: windows that the server said it skipped, in the measured period.
        events_missing: events that summaries count and that never came; of the whole run.
        p50_ms, p95_ms, p99_ms: from the sending of a window's last sample to the receipt of its
            event; over inferred and silent windows.
        inferred_p99_ms: over inferred windows alone.
        ramp_windows, ramp_p99_ms: of the windows before the measured period, while streams were still
            being added: the server had less to do than what is measured, but many handshakes.
        server_cpu: cores that the server's process used, mean over the measured period.
        server_loop_cpu: those of its event loop.
        server_rss_mb: its resident memory at the end of the measured period, in 10^6 bytes.
        client_cpu: cores that this process used, likewise.
        client_late: share of this process's ticks that came more than 20 ms too late.
    """

    streams: int
    refused: int
    disconnected: int
    windows: int
    inferred: int
    silent: int
    skipped: int
    events_missing: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    inferred_p99_ms: float | None
    ramp_windows: int
    ramp_p99_ms: float | None
    server_cpu: float | None
    server_loop_cpu: float | None
    server_rss_mb: float | None
    client_cpu: float
    client_late: float


class Lap(NamedTuple):
    """A part of a run.

    Attributes:
        windows: whose event came in it.
        p50_ms, p99_ms: of these, as in `Result`.
    """

    windows: int
    p50_ms: float | None
    p99_ms: float | None


class Tally:
    """What has been counted so far; times are the event loop's."""

    def __init__(self) -> None:
        self.begin = self.end = float("inf")  # of the measured period
        self.running = 0  # streams that have started and not ended
        self.started = 0
        self.refused = 0
        self.disconnected = 0
        self.broken_off = 0  # that were to end so
        self.skipped = 0
        self.events_missing = 0
        self.reasons: Counter[str] = Counter()  # for refusals and disconnections
        self._inferred = array("d")
        self._silent = array("d")
        self._ramp = array("d")

    @property
    def answered(self) -> int:
        """Windows whose event has come."""
        return len(self._inferred) + len(self._silent)

    def window(self, inferred: bool, sent_at: float, now: float) -> None:
        """A window's event has come.

        Args:
            inferred: whether it was judged.
            sent_at: when its last sample was sent.
            now: when the event came.
        """
        if sent_at < self.begin:
            self._ramp.append(now - sent_at)
        elif sent_at < self.end:
            (self._inferred if inferred else self._silent).append(now - sent_at)

    def skip(self, count: int, now: float) -> None:
        """The server said that it skipped windows."""
        if self.begin <= now < self.end:
            self.skipped += count

    def refuse(self, reason: str) -> None:
        """A stream was turned away."""
        self.refused += 1
        self.reasons[f"refused: {reason}"] += 1

    def lose(self, reason: str) -> None:
        """A stream ended without its summary, or never began."""
        self.disconnected += 1
        self.reasons[f"disconnected: {reason}"] += 1

    def p99_ms(self) -> float | None:
        """Of the windows of the measured period so far."""
        return percentile_ms(self._all(), 99)

    def lap(self) -> Lap:
        """The windows since the last lap, or since the measured period began; forgets them.

        So a run without an end takes no more memory the longer it lasts.
        """
        latencies = self._all()
        self._inferred, self._silent = array("d"), array("d")
        return Lap(len(latencies), percentile_ms(latencies, 50), percentile_ms(latencies, 99))

    def result(
        self,
        *,
        streams: int,
        server_cpu: float | None,
        server_loop_cpu: float | None,
        server_memory: float | None,
        client_cpu: float,
        client_late: float,
    ) -> Result:
        """The line, from what was counted and what was measured besides; units as in `Result`, the
        memory in bytes."""
        latencies = self._all()
        return Result(
            streams=streams,
            refused=self.refused,
            disconnected=self.disconnected,
            windows=self.answered + self.skipped,
            inferred=len(self._inferred),
            silent=len(self._silent),
            skipped=self.skipped,
            events_missing=self.events_missing,
            p50_ms=percentile_ms(latencies, 50),
            p95_ms=percentile_ms(latencies, 95),
            p99_ms=percentile_ms(latencies, 99),
            inferred_p99_ms=percentile_ms(self._inferred, 99),
            ramp_windows=len(self._ramp),
            ramp_p99_ms=percentile_ms(self._ramp, 99),
            server_cpu=_rounded(server_cpu, 3),
            server_loop_cpu=_rounded(server_loop_cpu, 3),
            server_rss_mb=_rounded(server_memory and server_memory / MEGABYTE, 1),
            client_cpu=round(client_cpu, 3),
            client_late=round(client_late, 4),
        )

    def _all(self) -> "array[float]":
        return self._inferred + self._silent


def percentile_ms(seconds: "array[float]", percent: float) -> float | None:
    """The smallest value that is not below so many percent of them (nearest rank), in milliseconds."""
    if not seconds:
        return None
    rank = max(1, ceil(percent / 100 * len(seconds)))
    return round(sorted(seconds)[rank - 1] * 1000, 1)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
