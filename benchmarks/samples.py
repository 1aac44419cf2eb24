"""How a server does while calls come and go: samples at even intervals."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Final

import msgspec

from benchmarks.machine import Others
from benchmarks.serving import Held, Serving, ServingError
from clients.monitor import follow
from clients.scrape import METRICS_PATH, fetch, usage_in, value
from clients.tally import Tally

LOOKS: Final = 12  # at the memory, a sample
PATIENCE_S: Final = 20.0  # for events that are on their way
ATTEMPTS: Final = 3  # to read the server's metrics
PREFIX: Final = "emotion_monitor"
PUBLISHED: Final = ("started", "emotion", "silence", "summary")


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """How things are; counts are since the beginning, the others since the last sample.

    Attributes:
        minute: since the beginning.
        rss_mib: the server's resident memory.
        fds, threads: of its process.
        sessions: open now.
        calls: sessions so far.
        inferred, silent, skipped: windows, as the server counts them.
        missing: events that summaries counted and callers did not get.
        monitored: events that the subscriber got.
        p50_ms, p99_ms: from the sending of a window's last sample to the receipt of its event.
        server_cores: that its process used.
        loop_share: of these, how much was its event loop's.
        client_cores: that this process used.
        others: that all other processes used.
    """

    minute: float
    rss_mib: float
    fds: int
    threads: int
    sessions: int
    calls: int
    inferred: int
    silent: int
    skipped: int
    missing: int
    monitored: int
    p50_ms: float | None
    p99_ms: float | None
    server_cores: float
    loop_share: float | None
    client_cores: float
    others: float

    def __str__(self) -> str:
        share = "?" if self.loop_share is None else f"{self.loop_share:.0%}"
        return (
            f"{self.minute:5.1f} min: {self.rss_mib:.1f} MiB, {self.fds} descriptors, "
            f"{self.threads} threads, {self.sessions} sessions ({self.calls} so far), windows: "
            f"{self.inferred} judged, {self.silent} silent, {self.skipped} skipped, "
            f"{self.missing} missing, {self.monitored} events at the monitor, "
            f"p50 {_ms(self.p50_ms)}, p99 {_ms(self.p99_ms)}, server {self.server_cores:.2f} "
            f"cores (event loop {share}), client {self.client_cores:.2f}, others {self.others:.2f}"
        )


class Monitor:
    """The subscriber; counts what it hears.

    Args:
        server: whose events.
    """

    def __init__(self, server: Serving) -> None:
        self._server = server
        self._news = asyncio.Event()
        self.heard = 0

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Hears every event that is published inside the block."""
        task = asyncio.create_task(self._follow())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._news.wait()  # `subscribed` is the first
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def hear(self, count: int) -> None:
        """Waits until so many have come, or for `PATIENCE_S`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while self.heard < count:
                    self._news.clear()
                    await self._news.wait()

    async def _follow(self) -> None:
        async with aclosing(follow(self._server.access)) as events:
            async for seen in events:
                self.heard += seen.event.type in PUBLISHED
                self._news.set()


class Watch:
    """Looks at the server at even intervals.

    Args:
        server: that is looked at.
        tally: of the calls.
        monitor: its subscriber.

    Attributes:
        memory_mib: of each look.
        samples: of every `LOOKS`th.
    """

    def __init__(self, server: Serving, tally: Tally, monitor: Monitor) -> None:
        self._server = server
        self._tally = tally
        self._monitor = monitor
        self._others = Others(server)
        self._last = (0.0, 0.0, 0.0, 0.0)
        self.memory_mib: list[float] = []
        self.samples: list[Sample] = []

    async def watch(self, seconds: float, every_s: float, say: Callable[[str], None]) -> None:
        """Looks for so long; `say` is told each sample, every so many seconds.

        Raises:
            ServingError: the server has ended, or does not answer.
        """
        self._used(self._server.held(), usage_in(await metrics(self._server)).loop_cpu_s)
        began, step_s = time.monotonic(), every_s / LOOKS
        for look in range(1, round(seconds / step_s) + 1):
            await asyncio.sleep(max(0.0, began + look * step_s - time.monotonic()))
            held = self._server.held()
            self.memory_mib.append(round(held.rss_kib / 1024, 2))
            if look % LOOKS == 0:
                self.samples.append(await self._sample(held, look * step_s / 60))
                say(str(self.samples[-1]))

    async def _sample(self, held: Held, minute: float) -> Sample:
        text = await metrics(self._server)
        lap = self._tally.lap()
        server_cores, loop_share, client_cores = self._used(held, usage_in(text).loop_cpu_s)
        return Sample(
            minute=round(minute, 2),
            rss_mib=round(held.rss_kib / 1024, 1),
            fds=held.fds,
            threads=held.threads,
            sessions=count(text, "sessions"),
            calls=count(text, "sessions_started_total"),
            inferred=count(text, 'windows_total{result="inferred"}'),
            silent=count(text, 'windows_total{result="silent"}'),
            skipped=count(text, 'windows_total{result="skipped"}'),
            missing=self._tally.events_missing,
            monitored=self._monitor.heard,
            p50_ms=lap.p50_ms,
            p99_ms=lap.p99_ms,
            server_cores=server_cores,
            loop_share=loop_share,
            client_cores=client_cores,
            others=round(self._others.cores(), 3),
        )

    def _used(self, held: Held, loop_cpu_s: float | None) -> tuple[float, float | None, float]:
        """Since the last call: the server's cores, its event loop's share of them, this process's."""
        before = self._last
        now = (time.monotonic(), held.cpu_s, time.process_time(), loop_cpu_s or 0.0)
        self._last = now
        seconds, server_s, client_s, loop_s = (b - a for a, b in zip(before, now, strict=True))
        share = round(loop_s / server_s, 3) if loop_cpu_s is not None and server_s else None
        return round(server_s / seconds, 3), share, round(client_s / seconds, 3)


async def metrics(server: Serving) -> str:
    """
    Raises:
        ServingError: the server does not answer.
    """
    for _ in range(ATTEMPTS):
        if text := await fetch(server.access, METRICS_PATH):
            return text
    raise ServingError(f"{METRICS_PATH}: no answer, {ATTEMPTS} times")


def count(text: str, name: str) -> int:
    """
    Raises:
        ServingError: the server does not say.
    """
    found = value(text, f"{PREFIX}_{name}")
    if found is None:
        raise ServingError(f"{METRICS_PATH} has no {PREFIX}_{name}: another version of the server?")
    return int(found)


def _ms(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f} ms"
