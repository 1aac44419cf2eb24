"""The summaries as a table on stdout: a row a channel of each recording."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clients.analyze.rows import ChannelSummary, Summary
from clients.analyze.timeline import length
from clients.display import COLOURS
from emotion.labels import EMOTIONS

MOST: Final = 40
"""Recordings that are shown; all are in the output."""
PLAIN_WIDTH: Final = 120  # where there is no terminal


def show_table(summaries: Iterable[tuple[str, Summary]], total: int) -> None:
    """Prints the first recordings' summaries.

    Args:
        summaries: names and summaries.
        total: how many there are.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("recording", no_wrap=True, min_width=16, overflow="ellipsis")
    table.add_column("channel", no_wrap=True, overflow="ellipsis")
    for name in ("length", "speech"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("mostly", no_wrap=True)
    for label in EMOTIONS:
        table.add_column(label[:3], justify="right", no_wrap=True)
    for name, summary in islice(summaries, MOST):
        for channel in summary.channels:
            table.add_row(Text(name), *_cells(summary, channel))
    console.print(table)
    if total > MOST:
        console.print(f"and {total - MOST} more recordings")


def _cells(summary: Summary, channel: ChannelSummary) -> list[Text]:
    share, dominant = channel.speech_share, channel.dominant
    colour = COLOURS.get(dominant or "", "white")
    means = channel.probabilities or {}
    return [
        Text(channel.channel),
        Text(length(summary.duration_s)),
        Text("" if share is None else f"{share:.0%}"),
        Text(dominant or "-", f"bold {colour}" if dominant else ""),
        *(Text(f"{means[label]:.0%}" if label in means else "") for label in EMOTIONS),
    ]
