"""Options that several commands share, and what becomes of them."""

import math
from pathlib import Path
from typing import Annotated

import typer

from emotion.errors import ConfigurationError

PathArgument = Annotated[Path, typer.Argument(help="WAV, FLAC, OGG or MP3.", show_default=False)]
Channels = Annotated[
    str | None,
    typer.Option(
        help="Names of the file's channels, such as customer,agent; without them a file with several "
        "is mixed down to one.",
        metavar="A,B",
        show_default=False,
    ),
]
Analyze = Annotated[
    str | None,
    typer.Option(
        help="Which channels are analysed; customer if there is one, else the first.",
        metavar="A,B",
        show_default=False,
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(help="A folder with monitor.onnx; the embedded model without.", metavar="DIR"),
]
Window = Annotated[float, typer.Option(help="Seconds that a window covers, 1 to 10.")]
Hop = Annotated[float, typer.Option(help="Seconds from window to window, 0.25 to --window.")]
NoVad = Annotated[
    bool, typer.Option("--no-vad", help="Judge windows with little or no speech, too.")
]
Adapt = Annotated[
    bool | None,
    typer.Option(
        "--adapt/--no-adapt",
        help="Learn each channel's own baseline; without either, where the model can.",
        show_default=False,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="One event a line, as on the wire; always where no terminal is."),
]
Live = Annotated[
    bool, typer.Option("--live", help="The whole terminal as a view that moves, rather than lines.")
]


def websocket_url(text: str) -> str:
    """`http://` as `ws://`, `https://` as `wss://`: a server prints both, for one port."""
    scheme, mark, rest = text.partition("://")
    known = {"http": "ws", "https": "wss"}
    return known.get(scheme.lower(), scheme) + mark + rest


Url = Annotated[
    str,
    typer.Option(help="The server's: ws:// or wss://, or http(s)://.", callback=websocket_url),
]
Token = Annotated[
    str | None, typer.Option(help="Credentials.", envvar="EMOTION_TOKEN", show_default=False)
]
Ca = Annotated[
    Path | None,
    typer.Option(help="Certificates (PEM) to trust, for wss://.", metavar="FILE"),
]
StreamId = Annotated[
    str | None, typer.Option(help="A name for the stream, for whoever follows it.")
]
Device = Annotated[
    str | None,
    typer.Option(
        help="Which microphone: a number of --list-devices, or a part of a name; the system's without.",
        show_default=False,
    ),
]
ListDevices = Annotated[bool, typer.Option("--list-devices", help="Name the microphones and end.")]
Seconds = Annotated[
    float | None,
    typer.Option(help="Listen for so long; without it, until Ctrl-C.", show_default=False),
]
Lines = Annotated[
    bool, typer.Option("--lines", help="A line a window, rather than the view that moves.")
]


def names(text: str | None) -> tuple[str, ...] | None:
    """Names that are separated by commas."""
    return None if text is None else tuple(name.strip() for name in text.split(","))


def speed_of(text: str) -> float | None:
    """Times real time; None for `max`.

    Raises:
        ConfigurationError: it is neither a positive number nor `max`.
    """
    if text == "max":
        return None
    speed = _number(text)
    if not 0 < speed < math.inf:
        raise ConfigurationError(f"speed {text}: expected a number above 0, such as 1.0, or max")
    return speed


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
