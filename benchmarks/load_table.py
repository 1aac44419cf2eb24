"""The table of docs/results/load.md: `python -m benchmarks.load_table [--seconds 30] [--runs 3]`.

Every row is a load on a fresh server, which measures its own capacity; how many streams the row asks for
follows from that. Server and load share this machine, as the columns of both say. Linux only.
"""

import asyncio
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from benchmarks.machine import MANY, Machine, Others, machine
from benchmarks.serving import Serving, serving
from clients.load import Load, run_load
from clients.scrape import METRICS_PATH, fetch, median
from clients.tally import Result
from clients.watch import Watch, remarks
from emotion.command_line import run
from emotion.errors import ConfigurationError

RAMP_S: Final = 5.0
OVERRIDE: Final = 100  # streams, where the operator says so
SPEAKING: Final = 0.5
"""Of the capacity, where everybody speaks always. The capacity assumes 0.6 of the windows judged
(stream_server/capacity.py); where all are, 0.6 of it fits and a little more, as voices are listened for
either way. The row asks for less than that: it shows a server that carries what it was given."""


@dataclass(frozen=True)
class Row:
    """A load.

    Attributes:
        name: for `--rows`.
        what: for whoever reads the table.
        streams: how many are asked for, of a server's capacity.
        frame_ms: milliseconds of audio in a frame.
        speech_share: of the windows, as the load is asked for.
        options: of the server.
    """

    name: str
    what: str
    streams: Callable[[int], float]
    frame_ms: int = 100
    speech_share: float = 0.5
    options: tuple[str, ...] = ()


ROWS: Final = (
    Row("within", "0.8 of the capacity", lambda capacity: 0.8 * capacity),
    Row("short", "0.8 of the capacity, short frames", lambda capacity: 0.8 * capacity, frame_ms=20),
    Row("twice", "twice the capacity", lambda capacity: 2 * capacity),
    Row(
        "speaking",
        f"{SPEAKING:g} of the capacity, all always speak",
        lambda capacity: SPEAKING * capacity,
        speech_share=1.0,
    ),
    Row(
        "override",
        f"`--max-sessions {OVERRIDE}`",
        lambda capacity: OVERRIDE,
        options=("--max-sessions", str(OVERRIDE)),
    ),
)
HEADS: Final = (
    "load",
    "streams",
    "frames",
    "refused",
    "windows judged %",
    "skipped",
    "missing",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "server, cores",
    "its event loop %",
    "client, cores",
)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A row, once.

    Attributes:
        row: its name.
        capacity: that the server measured at its start, or was given.
        judging_ms: median time of a judged window in the model, while others are judged beside it.
        others: cores that other processes used meanwhile.
        result: the load's.
    """

    row: str
    capacity: int
    judging_ms: float | None
    others: float
    result: Result


def measure(row: Row, seconds: float, *, ramp_s: float = RAMP_S, model: Path | None = None) -> Run:
    """Runs a row on a server of its own.

    Args:
        row: which.
        seconds: measured, after the ramp.
        ramp_s: seconds over which the streams are added.
        model: a folder with a model; the embedded one where None.

    Raises:
        EmotionError: the server cannot be started, or does not answer.
        KeyboardInterrupt: Ctrl-C ended the load early.
    """
    with serving(*row.options, model=model) as server:
        return asyncio.run(_measured(row, seconds, ramp_s, server))


async def _measured(row: Row, seconds: float, ramp_s: float, server: Serving) -> Run:
    capacity = await server.capacity()
    load = Load(
        streams=max(1, int(row.streams(capacity))),
        seconds=seconds,
        ramp_s=ramp_s,
        frame_ms=row.frame_ms,
        speech_share=row.speech_share,
    )
    others = Others(server)
    with Watch(ramp_s + seconds, quiet=not sys.stderr.isatty()) as watch:
        result, tally, whole = await run_load(load, server.access, watch)
    if not whole:
        raise KeyboardInterrupt
    for remark in remarks(result, tally):
        typer.echo(f"{row.name}: {remark}", err=True)
    judging_s = median(
        await fetch(server.access, METRICS_PATH), "emotion_monitor_inference_seconds"
    )
    return Run(
        row=row.name,
        capacity=capacity,
        judging_ms=None if judging_s is None else round(judging_s * 1000, 1),
        others=round(others.cores(), 2),
        result=result,
    )


def table(runs: Sequence[Run]) -> str:
    """The runs in Markdown: a line a row, in the order of `ROWS`; medians over its runs."""
    lines = [HEADS, ("---",) * len(HEADS)]
    for row in ROWS:
        if results := [run.result for run in runs if run.row == row.name]:
            lines.append(_cells(row, results))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def heading(machine: Machine, runs: Sequence[Run]) -> str:
    """What has to be known beside the table."""
    measured = [run.capacity for run in runs if _row(run.row).options == ()]
    calm = [run.judging_ms for run in runs if run.row == ROWS[0].name and run.judging_ms]
    said = [str(machine)]
    if measured:
        low, high = min(measured), max(measured)
        spread = f" ({low} to {high})" if low < high else ""
        said.append(f"capacity measured at the start: {_number(measured)} sessions{spread}")
    if calm:
        said.append(f"a judged window takes about {_number(calm)} ms at {ROWS[0].what}")
    if (busy := max((run.others for run in runs), default=0.0)) > MANY * machine.cores:
        said.append(f"other processes used up to {busy:.2f} cores meanwhile: measure again")
    return "; ".join(said) + "."


def _cells(row: Row, results: Sequence[Result]) -> tuple[str, ...]:
    def of(figure: Callable[[Result], float | None], digits: int = 0) -> str:
        return _number([figure(result) for result in results], digits)

    return (
        row.what,
        of(lambda r: r.streams),
        f"{row.frame_ms} ms",
        of(lambda r: r.refused),
        of(lambda r: _percent(r.inferred, r.windows)),
        of(lambda r: r.skipped),
        of(lambda r: r.events_missing),
        of(lambda r: r.p50_ms),
        of(lambda r: r.p95_ms),
        of(lambda r: r.p99_ms),
        of(lambda r: r.server_cpu, 2),
        of(lambda r: _percent(r.server_loop_cpu, r.server_cpu)),
        of(lambda r: r.client_cpu, 2),
    )


def _percent(part: float | None, whole: float | None) -> float | None:
    return 100 * part / whole if part is not None and whole else None


def _number(values: Sequence[float | None], digits: int = 0) -> str:
    """The median of those that are known."""
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.{digits}f}" if known else "?"


def _row(name: str) -> Row:
    """
    Raises:
        ConfigurationError: there is none of that name.
    """
    for row in ROWS:
        if row.name == name:
            return row
    known = ", ".join(row.name for row in ROWS)
    raise ConfigurationError(f"rows: {name!r} is none; expected some of {known}")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def load_table(
    seconds: Annotated[float, typer.Option(help="Measured in each run, after a ramp.")] = 30.0,
    runs: Annotated[int, typer.Option(help="Of each row; medians are shown.", min=1, max=100)] = 1,
    rows: Annotated[
        str, typer.Option(help="Which, in the table's order.", metavar="A,B")
    ] = ",".join(row.name for row in ROWS),
    model: Annotated[
        Path | None, typer.Option(help="A folder with a model; the embedded one without.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Where every run's figures go, too.", metavar="FILE")
    ] = None,
) -> None:
    """Loads a server of its own in several ways and prints a Markdown table."""
    chosen = [_row(name.strip()) for name in rows.split(",")]
    done, count = list[Run](), runs * len(chosen)
    for _ in range(runs):  # row after row, so that what else the machine does meets all of them
        for row in chosen:
            left_s = ceil((count - len(done)) * (seconds + RAMP_S))
            typer.echo(f"{row.name}: {len(done) + 1} of {count}, {left_s} s left", err=True)
            done.append(measure(row, seconds, model=model))
    here = machine()
    typer.echo(f"{heading(here, done)}\n\n{table(done)}")
    if json is not None:
        content: dict[str, Any] = {"machine": here, "seconds": seconds, "runs": done}
        json.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")


def main() -> None:
    """The command line's entry point."""
    run(app)


if __name__ == "__main__":
    main()
