"""What a load tells a person while it runs, and beside its result: all on stderr."""

import sys
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from clients.tally import Result, Tally

EVERY_S: Final = 10.0  # a line, where there is no terminal
LATE_SHARE: Final = 0.01
"""Of this process's ticks, from which on the latencies are partly its own."""
MAX_CPU: Final = 0.7
"""Cores that one event loop can use before its own queue shows in the latencies."""
MAX_REASONS: Final = 10


class Watch:
    """Shows how far a load is: a bar on a terminal, a line now and then elsewhere.

    Args:
        seconds: that the load takes, the ramp included.
        quiet: whether nothing is shown.
    """

    def __init__(self, seconds: float, quiet: bool) -> None:
        self._seconds = seconds
        self._quiet = quiet
        self._next_s = EVERY_S
        console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn(), console=console
        )
        self._shown = console.is_terminal and not quiet
        self._task = self._bar.add_task("streams are added", total=seconds)

    def __enter__(self) -> "Watch":
        if self._shown:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._bar.stop()

    def __call__(self, at_s: float, tally: Tally) -> None:
        """Shows the state so many seconds after the beginning."""
        if self._shown:
            self._bar.update(self._task, completed=at_s, description=_state(tally))
        elif not self._quiet and at_s >= self._next_s:
            self._next_s += EVERY_S
            sys.stderr.write(f"{at_s:.0f} of {self._seconds:.0f} s: {_state(tally)}\n")


def remarks(result: Result, tally: Tally) -> list[str]:
    """What has to be known beside a result, in a line each."""
    said = [f"{count} x {reason}" for reason, count in tally.reasons.most_common(MAX_REASONS)]
    if result.ramp_windows:
        said.append(
            f"{result.ramp_windows} windows of the ramp are not counted: the server had fewer "
            f"streams, and handshakes besides (their p99: {result.ramp_p99_ms} ms)"
        )
    said.append(f"this client took {result.client_cpu:.1%} of a core")
    if result.client_late > LATE_SHARE or result.client_cpu > MAX_CPU:
        said.append(
            f"warning: this client was late itself ({result.client_late:.1%} of its ticks), so "
            "these latencies are partly its own: fewer streams, a longer --frame-ms, or run it on "
            "another machine"
        )
    return said


def _state(tally: Tally) -> str:
    p99_ms = tally.p99_ms()
    latency = "" if p99_ms is None else f", p99 {p99_ms:.0f} ms"
    refused = f", {tally.refused} refused" if tally.refused else ""
    lost = f", {tally.disconnected} disconnected" if tally.disconnected else ""
    return f"{tally.running} streams, {tally.answered} windows{latency}{refused}{lost}"
