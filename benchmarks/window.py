"""One window's price beside what a user would run instead: `python -m benchmarks.window --whisper DIR`.

Everything runs on one thread, in turns, so that what else the machine does meets all of them. Ratios are
of processor time: a process that waits for another one's turn on a busy machine has not worked, and on a
quiet machine both clocks say the same. Linux only.
"""

import copy
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import msgspec
import typer

from benchmarks.machine import Machine, machine
from emotion.command_line import needing, run
from emotion.contract import SAMPLE_RATE

with needing("cpu,train,export"):
    import onnx
    import torch

    from benchmarks import arithmetic, rivals
    from benchmarks.loading import Loading, loading
    from emotion.engine import Engine, default_model, load_engine
    from export.clips import speech_like

WINDOW_S: Final = 3.0
IN_A_ROW: Final = 5
"""Runs of one contestant before the next one's turn."""
SIDE_BY_SIDE: Final = 2
WINDOWS: Final = 40
"""Judged by each of those that run side by side."""

OURS: Final = "emotion-monitor"
ADAPTING: Final = "emotion-monitor, adapting"
PEAK: Final = "the arithmetic at the core's peak"
WHAT: Final = {
    OURS: "monitor.onnx, waveform in",
    ADAPTING: "all that the server does for a window, a second of it new: voice activity, both graphs",
    "published": "padded to 30 s, PyTorch float32, log-mel included",
    "CTranslate2": "Whisper.encode int8, the window alone, all layers, log-mel not counted",
    "OpenVINO": "our graph, bf16",
    "ONNX Runtime": "our graph, float32",
}
"""Who takes part, in the table's order."""


class Timing(msgspec.Struct, frozen=True):
    """Medians over rounds, of one window.

    Attributes:
        cpu_ms: processor time, over all threads, of a window that follows others.
        wall_ms: the same by the clock.
        first_ms: processor time of the first window after another contestant's turn.
    """

    cpu_ms: float
    wall_ms: float
    first_ms: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run of this script.

    Attributes:
        machine: it ran on.
        model: the contract's name and precision.
        window_s: seconds of the window.
        rounds: of each contestant.
        timings: by contestant.
        skipped: why, by contestant.
        ratios: how many times our processor time each contestant takes.
        multiplications: multiply-accumulates of our graph, one window.
        peak_per_s: 8-bit multiply-accumulates of one core at its best.
        share_of_peak: what our graph would take at that, over what it takes.
        side_by_side: windows a second with so many threads, over those with one.
        loading: what the model costs before its first window.
    """

    machine: Machine
    model: str
    window_s: float
    rounds: int
    timings: dict[str, Timing]
    skipped: dict[str, str]
    ratios: dict[str, float]
    multiplications: int
    peak_per_s: float
    share_of_peak: float
    side_by_side: float
    loading: Loading


def in_turns(contestants: Mapping[str, rivals.Judge], rounds: int) -> dict[str, Timing]:
    """Times each contestant `1 + IN_A_ROW` times a round.

    A server judges window after window, so those in a row count; the first one, which pays for what
    another contestant left in the caches, stands beside them.
    """
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    wall, first = copy.deepcopy(cpu), copy.deepcopy(cpu)
    gc.collect()
    for _ in range(rounds):
        for name, judge in contestants.items():
            first[name].append(_took(judge)[0])
            for _ in range(IN_A_ROW):
                worked, passed = _took(judge)
                cpu[name].append(worked)
                wall[name].append(passed)
    return {
        name: Timing(*(round(1e3 * median(times[name]), 3) for times in (cpu, wall, first)))
        for name in contestants
    }


def ratios(timings: Mapping[str, Timing]) -> dict[str, float]:
    """How many times our processor time each of the others takes."""
    own = timings[OURS].cpu_ms
    return {name: round(t.cpu_ms / own, 2) for name, t in timings.items() if name != OURS}


def side_by_side(judge: rivals.Judge, rounds: int) -> float:
    """Windows a second with two threads on one session, over those with one: 2 is perfect."""

    def windows() -> None:
        for _ in range(WINDOWS):
            judge()

    gains = []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        for _ in range(rounds):
            alone = _wall_s(lambda: threads.submit(windows).result())
            both = _wall_s(lambda: _wait([threads.submit(windows) for _ in range(SIDE_BY_SIDE)]))
            gains.append(SIDE_BY_SIDE * alone / both)
    return round(median(gains), 2)


def table(report: Report) -> str:
    """The report in Markdown."""
    lines: list[tuple[str, ...]] = [
        ("", "what", "processor ms", "wall ms", "after another's turn", "times ours"),
        ("---",) * 6,
    ]
    for name, what in WHAT.items():
        if name in report.skipped:
            lines.append((name, f"{what}: skipped, {report.skipped[name]}", "", "", "", ""))
        elif name in report.timings:
            timing, ratio = report.timings[name], report.ratios.get(name, 1.0)
            times = (timing.cpu_ms, timing.wall_ms, timing.first_ms, ratio)
            lines.append((name, what, *(f"{value:.1f}" for value in times)))
    at_peak_ms = 1e3 * report.multiplications / report.peak_per_s
    what = (
        f"{report.multiplications / 1e9:.2f} G multiply-accumulates, "
        f"{report.peak_per_s / 1e9:.0f} G a second: {report.share_of_peak:.0%} of it reached"
    )
    lines.append((PEAK, what, f"{at_peak_ms:.1f}", "", "", f"{report.share_of_peak:.2f}"))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def remarks(report: Report) -> str:
    """What stands beside the table."""
    held = report.loading
    return (
        f"{report.machine}; {report.model}; one thread, a window of {report.window_s:g} s, "
        f"medians of {IN_A_ROW} in a row in each of {report.rounds} rounds.\n"
        f"Loads in {held.load_ms:.0f} ms and takes {held.rss_mib:.0f} MiB, a second one in the same "
        f"process {held.second_mib:.0f} MiB more. {SIDE_BY_SIDE} threads on one session judge "
        f"{report.side_by_side:.2f} times as much as one."
    )


def measure(model: Path | None, whisper: Path | None, rounds: int) -> Report:
    """All figures.

    Args:
        model: a folder with our model; the embedded one where None.
        whisper: Whisper's weights for the others, in Hugging Face's format.
        rounds: of each contestant.
    """
    torch.set_num_threads(1)
    held = loading(model, WINDOW_S)
    engine = load_engine(model, "cpu")
    (waveform,) = speech_like(1, WINDOW_S)
    with ExitStack() as stack:
        contestants, skipped = _contestants(engine, whisper, waveform, stack)
        timings = in_turns(contestants, rounds)
    graph = onnx.load((model or default_model()) / "monitor.onnx")
    macs = arithmetic.multiplications(graph, round(WINDOW_S * SAMPLE_RATE))
    peak = arithmetic.peak()
    return Report(
        machine=machine(),
        model=f"{engine.contract.name}, {engine.contract.precision}",
        window_s=WINDOW_S,
        rounds=rounds,
        timings=timings,
        skipped=skipped,
        ratios=ratios(timings),
        multiplications=macs,
        peak_per_s=round(peak),
        share_of_peak=round(1e3 * macs / peak / timings[OURS].cpu_ms, 3),
        side_by_side=side_by_side(contestants[OURS], rounds),
        loading=held,
    )


def _contestants(
    engine: Engine, whisper: Path | None, waveform: rivals.Waveform, stack: ExitStack
) -> tuple[dict[str, rivals.Judge], dict[str, str]]:
    """Who can run here, ready to, and why the others cannot."""
    made: dict[str, Callable[[], rivals.Judge]] = {
        OURS: partial(rivals.ours, engine, waveform),
        ADAPTING: partial(rivals.adapting, engine, waveform),
        "published": partial(rivals.published, whisper, waveform),
        "CTranslate2": partial(rivals.ctranslate2, whisper, waveform, stack),
        "OpenVINO": partial(rivals.openvino, whisper, engine, waveform),
        "ONNX Runtime": partial(rivals.onnxruntime_fp32, whisper, engine, waveform),
    }
    ready, skipped = {}, {}
    for name, make in made.items():
        try:
            ready[name] = make()
        except rivals.Unavailable as reason:
            skipped[name] = str(reason)
    return ready, skipped


def _took(judge: rivals.Judge) -> tuple[float, float]:
    """Seconds of processor time, and by the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    judge()
    return time.process_time() - cpu, time.perf_counter() - wall


def _wait(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        future.result()


def _wall_s(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def window(
    model: Annotated[
        Path | None, typer.Option(help="A folder with our model; the embedded one without.")
    ] = None,
    whisper: Annotated[
        Path | None, typer.Option(help="Whisper base for the others: a Hugging Face folder.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Of each contestant.", min=1, max=1000)] = 15,
    json: Annotated[
        Path | None, typer.Option(help="Where every figure goes, too.", metavar="FILE")
    ] = None,
) -> None:
    """Times one window against what a user would run instead and prints a Markdown table."""
    report = measure(model, whisper, rounds)
    typer.echo(f"{remarks(report)}\n\n{table(report)}")
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def main() -> None:
    """The command line's entry point."""
    run(app)


if __name__ == "__main__":
    main()
