"""Calls that come and go for an hour: `python -m benchmarks.soak --minutes 60 [--share 0.7]`.

Starts a server of its own and keeps a share of its capacity busy. Calls are of random length; half of
them end with `stop`, the others break off, and another one takes the place of each, so that what a call
leaves behind adds up. A subscriber of `/v1/monitor` counts all events. Every minute a line says how
things are, and the end what had to hold (verdict.py); exit code 1 where something did not. Linux only.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any, Final

import msgspec
import typer

from benchmarks.machine import machine
from benchmarks.samples import Monitor, Sample, Watch, count, metrics
from benchmarks.serving import ALLOCATOR, Held, Serving, serving
from benchmarks.verdict import Check, Evidence, growth, verdict
from clients.caller import Caller, Shared
from clients.load import Load
from clients.tally import Tally
from clients.ticker import Ticker
from emotion.command_line import run
from emotion.errors import ConfigurationError

EXIT_FAILED: Final = 1
MAX_MINUTES: Final = 10_080.0  # a week
MAX_SHARE: Final = 0.9
"""Of the capacity: a place is taken again at once, perhaps before the server knows that it is free."""
BREAKS: Final = 0.5  # of the calls
RING_EVENTS: Final = 2_000
"""That the server keeps for subscribers. By default it is ten times that and grows for a quarter of an
hour until it is full, by some 20 MiB: like a leak, to whoever looks at the memory only."""
PAUSE_S: Final = 0.2  # between two calls of a place
END_S: Final = 20.0  # for the last windows and summaries
SETTLE_S: Final = 30.0  # for closed connections to be gone from the process


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked for.

    Attributes:
        minutes: for which calls come and go.
        share: of the server's capacity.
        shortest_s, longest_s: seconds of audio in a call.
        every_s: seconds from sample to sample.
        grace_s: seconds for which the server keeps a call that broke off.
        frame_ms: milliseconds of audio in a frame.
        seed: of the lengths and the ends of calls.
        max_sessions: the server's capacity; 0: as it measures.
    """

    minutes: float
    share: float = 0.7
    shortest_s: float = 20.0
    longest_s: float = 180.0
    every_s: float = 60.0
    grace_s: float = 30.0
    frame_ms: int = 100
    seed: int = 1
    max_sessions: int = 0

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: a value is out of range, or memory could not be judged.
        """
        if not 0 < self.share <= MAX_SHARE:
            raise ConfigurationError(f"share is {self.share:g}: expected above 0, to {MAX_SHARE}")
        if not 0 < self.shortest_s <= self.longest_s:
            raise ConfigurationError("shortest: expected above 0 seconds, and to --longest")
        # In the first quarter as many calls must end, and be forgotten, as begin.
        least = 4 * max(self.longest_s + self.grace_s, self.every_s) / 60
        if not least <= self.minutes <= MAX_MINUTES:
            raise ConfigurationError(
                f"minutes is {self.minutes:g}: expected {least:g} to {MAX_MINUTES:g}, so that a "
                "quarter outlasts the longest call; --longest makes calls shorter"
            )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        capacity: sessions, as the server measured it or was given it.
        streams: at once.
        broken_off: calls that ended so; the others stopped.
        samples: one a minute.
        evidence: what the verdict rests on.
        checks: the verdict.
    """

    capacity: int
    streams: int
    broken_off: int
    samples: list[Sample]
    evidence: Evidence
    checks: list[Check]

    @property
    def ok(self) -> bool:
        """Whether all held that had to."""
        return all(check.ok for check in self.checks)


def soak(
    plan: Plan, say: Callable[[str], None] = lambda line: None, *, model: Path | None = None
) -> Report:
    """Soaks a server of its own.

    Args:
        plan: what is asked for.
        say: told a line for each sample.
        model: a folder with a model; the embedded one where None.

    Raises:
        EmotionError: the server does not start, ends early, or does not answer.
    """
    options = {
        "--ring-events": RING_EVENTS,
        "--resume-grace": plan.grace_s,
        "--max-sessions": plan.max_sessions,
    }
    words = (str(part) for option in options.items() for part in option)
    with serving(*words, model=model, environment=ALLOCATOR) as server:
        return asyncio.run(_soaked(plan, server, say))


async def _soaked(plan: Plan, server: Serving, say: Callable[[str], None]) -> Report:
    start = server.held()
    info = await server.info()
    capacity = int(info["sessions"]["max"])
    streams = max(1, int(plan.share * capacity))
    load = Load(streams=streams, seconds=1, frame_ms=plan.frame_ms)
    shared = Shared(
        access=server.access,
        call=await asyncio.to_thread(load.call),
        hop_s=load.hop_s,
        ticker=Ticker(plan.frame_ms / 1000),
        tally=Tally(),
    )
    shared.tally.begin = 0.0
    monitor = Monitor(server)
    shared.ticker.start()
    try:
        async with monitor.following():
            watch = Watch(server, shared.tally, monitor)
            async with _calls(plan, load, shared):
                await watch.watch(plan.minutes * 60, plan.every_s, say)
            last = await metrics(server)
            published = count(last, "events_published_total")
            await monitor.hear(published)
    finally:
        shared.ticker.stop()
    tally = shared.tally
    evidence = Evidence(
        memory_mib=watch.memory_mib,
        calls=tally.started - tally.running,
        start=start,
        end=await _settled(server, start),
        workers=int(info["threads"]),
        open_sessions=count(last, "sessions"),
        events_missing=tally.events_missing,
        monitor_missing=published - monitor.heard,
        lost=tally.disconnected,
        refused=tally.refused,
        failures=server.failures,
    )
    return Report(
        capacity=capacity,
        streams=streams,
        broken_off=tally.broken_off,
        samples=watch.samples,
        evidence=evidence,
        checks=verdict(evidence),
    )


@asynccontextmanager
async def _calls(plan: Plan, load: Load, shared: Shared) -> AsyncIterator[None]:
    """Calls that come and go inside the block; behind it all have ended."""

    async def place(number: int) -> None:
        random = Random(f"{plan.seed} {number}")
        await asyncio.sleep(random.uniform(0, min(plan.shortest_s, load.ramp_s)))
        count = 0
        while not shared.ending:
            count += 1
            caller = Caller(
                shared,
                load.start(f"soak-{number}-{count}"),
                random.random(),
                seconds=random.uniform(plan.shortest_s, plan.longest_s),
                breaks=random.random() < BREAKS,
            )
            await caller.call()
            await asyncio.sleep(PAUSE_S)

    tasks = [asyncio.create_task(place(number)) for number in range(load.streams)]
    try:
        yield
        shared.ending = True
        await asyncio.wait(tasks, timeout=END_S)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def _settled(server: Serving, start: Held) -> Held:
    """What the process holds once closed connections are gone from it, or after `SETTLE_S`."""
    for _ in range(round(SETTLE_S / PAUSE_S)):
        if server.held().fds <= start.fds:
            break
        await asyncio.sleep(PAUSE_S)
    return server.held()


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def command(
    minutes: Annotated[float, typer.Option(help="For which calls come and go.")] = 60.0,
    share: Annotated[float, typer.Option(help="Of the server's capacity.")] = 0.7,
    shortest: Annotated[float, typer.Option(help="Seconds of audio in a call.")] = 20.0,
    longest: Annotated[float, typer.Option(help="Seconds of audio in a call.")] = 180.0,
    every: Annotated[float, typer.Option(help="Seconds from line to line.")] = 60.0,
    grace: Annotated[
        float, typer.Option(help="Seconds that the server keeps broken calls.")
    ] = 30.0,
    frame_ms: Annotated[int, typer.Option(help="Milliseconds of audio a frame.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the lengths and the ends of calls.")] = 1,
    max_sessions: Annotated[
        int, typer.Option(help="The server's capacity; 0: as it measures.", min=0)
    ] = 0,
    model: Annotated[
        Path | None, typer.Option(help="A folder with a model; the embedded one without.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where all figures go, as JSON.", metavar="FILE")
    ] = None,
) -> None:
    """Keeps calls coming and going on a server of its own, and says whether anything was left behind."""
    plan = Plan(
        minutes=minutes,
        share=share,
        shortest_s=shortest,
        longest_s=longest,
        every_s=every,
        grace_s=grace,
        frame_ms=frame_ms,
        seed=seed,
        max_sessions=max_sessions,
    )
    here = machine()
    report = soak(plan, typer.echo, model=model)
    typer.echo(
        f"{here}; {report.streams} streams, {plan.share:g} of {report.capacity}; "
        f"of {report.evidence.calls} calls {report.broken_off} broke off"
    )
    for check in report.checks:
        typer.echo(f"{'ok    ' if check.ok else 'FAILED'} {check.name}: {check.seen}")
    if out is not None:
        content: dict[str, Any] = {
            "ok": report.ok,
            "machine": here,
            "plan": asdict(plan),
            "growth": growth(report.evidence.memory_mib),
            "report": report,
        }
        out.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    if not report.ok:
        raise typer.Exit(EXIT_FAILED)


def main() -> None:
    """The command line's entry point."""
    run(app)


if __name__ == "__main__":
    main()
