"""emotion-client: streams recordings and loads, follows calls, or judges without a server."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from clients.analyze.command import analyze as analyze_recordings
from clients.connect import DEFAULT_URL, Access
from clients.display import choose
from clients.load import Load, run_load
from clients.monitor import showing
from clients.options import (
    Adapt,
    Analyze,
    Ca,
    Channels,
    Hop,
    Json,
    Model,
    NoVad,
    PathArgument,
    StreamId,
    Token,
    Url,
    Window,
    names,
    speed_of,
)
from clients.recordings import Recording, open_recording
from clients.stream_file import stream_recording
from clients.watch import Watch, remarks
from emotion.command_line import run
from emotion.messages import Start
from emotion.parsing import start_from


class SentAs(StrEnum):
    """Encodings that a load can send."""

    PCM = "pcm_s16le"
    MULAW = "mulaw"


app = typer.Typer(
    help="Streams recordings and loads to an emotion-server, follows its calls, or judges without one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """Streams recordings and loads to an emotion-server, follows its calls, or judges without one."""


@app.command()
def file(
    path: PathArgument,
    url: Url = DEFAULT_URL,
    speed: Annotated[
        str, typer.Option(help="Times real time, or max: as fast as the server takes it.")
    ] = "1.0",
    channels: Channels = None,
    analyze: Analyze = None,
    window: Window = 3.0,
    hop: Hop = 1.0,
    no_vad: NoVad = False,
    adapt: Adapt = False,
    stream_id: StreamId = None,
    token: Token = None,
    ca: Ca = None,
    json: Json = False,
) -> None:
    """Streams a recording to a server, at the pace it was spoken, and shows emotions as they come."""
    pace = speed_of(speed)
    with open_recording(path, names(channels)) as recording:
        start = _start(recording, analyze, window, hop, not no_vad, adapt, stream_id)
        _tell(recording)
        display = choose(json, _title(recording))
        access = Access(url, token, ca)
        streaming = stream_recording(recording, start, display, access=access, speed=pace)
        if not asyncio.run(streaming):
            raise KeyboardInterrupt


@app.command()
def local(
    path: PathArgument,
    model: Model = None,
    channels: Channels = None,
    analyze: Analyze = None,
    window: Window = 3.0,
    hop: Hop = 1.0,
    no_vad: NoVad = False,
    adapt: Adapt = False,
    json: Json = False,
) -> None:
    """Judges a recording without a server: the same events, ONNX Runtime only."""
    from clients.local import judge_recording  # streaming needs no ONNX Runtime
    from emotion.engine import load_engine

    with open_recording(path, names(channels)) as recording:
        start = _start(recording, analyze, window, hop, not no_vad, adapt, None)
        engine = load_engine(model)
        _tell(recording)
        judge_recording(recording, start, choose(json, _title(recording)), engine=engine)


@app.command()
def load(
    streams: Annotated[int, typer.Option(help="How many at once.", show_default=False)],
    seconds: Annotated[
        float, typer.Option(help="Of the measured period, after the ramp.", show_default=False)
    ],
    url: Url = DEFAULT_URL,
    ramp: Annotated[float, typer.Option(help="Seconds over which the streams are added.")] = 5.0,
    audio: Annotated[
        Path | None,
        typer.Option(help="A folder of recordings; synthetic speech without.", metavar="DIR"),
    ] = None,
    speech_share: Annotated[
        float, typer.Option(help="Of the windows that hold speech, 0 to 1 (always speaking).")
    ] = 0.5,
    window: Window = 3.0,
    hop: Hop = 1.0,
    frame_ms: Annotated[int, typer.Option(help="Milliseconds of audio a frame.")] = 20,
    encoding: Annotated[
        SentAs, typer.Option(help="pcm_s16le at 16 kHz, or mulaw at 8 kHz.")
    ] = SentAs.PCM,
    token: Token = None,
    ca: Ca = None,
    json: Annotated[bool, typer.Option("--json", help="No progress, just the line.")] = False,
) -> None:
    """Streams many calls at once at the pace of speech; ends with their latencies as a line of JSON."""
    asked = Load(
        streams=streams,
        seconds=seconds,
        ramp_s=ramp,
        window_s=window,
        hop_s=hop,
        speech_share=speech_share,
        frame_ms=frame_ms,
        encoding=encoding.value,
        audio=audio,
    )
    with Watch(ramp + seconds, json) as watch:
        result, tally, whole = asyncio.run(run_load(asked, Access(url, token, ca), watch))
    for remark in remarks(result, tally):
        typer.echo(remark, err=True)
    typer.echo(msgspec.json.encode(result))
    if not whole:
        raise KeyboardInterrupt


@app.command()
def monitor(
    url: Url = DEFAULT_URL,
    streams: Annotated[
        str, typer.Option(help="Which calls, by their stream_id: a pattern.", metavar="GLOB")
    ] = "*",
    since: Annotated[
        str | None,
        typer.Option(help="After this event, by its cursor; without it, from now on."),
    ] = None,
    token: Token = None,
    ca: Ca = None,
    json: Json = False,
) -> None:
    """Follows the calls on a server, and connects again where the connection breaks."""
    asyncio.run(showing(json, Access(url, token, ca), streams, since))


app.command("analyze")(analyze_recordings)


def _start(
    recording: Recording,
    analyze: str | None,
    window_s: float,
    hop_s: float,
    vad: bool,
    adapt: bool,
    stream_id: str | None,
) -> Start:
    """The stream's configuration.

    Raises:
        MessageError: a value is out of range.
    """
    return start_from(
        stream_id=stream_id,
        sample_rate=recording.sample_rate,
        channels=recording.channels,
        analyze=names(analyze),
        window_s=window_s,
        hop_s=hop_s,
        vad=vad,
        adapt=adapt,
    )


def _title(recording: Recording) -> str:
    return f"{recording.path.name}, {recording.duration_s:.1f} s"


def _tell(recording: Recording) -> None:
    for notice in recording.notices:
        typer.echo(notice, err=True)


def main() -> None:
    """The command `emotion-client`."""
    run(app)


if __name__ == "__main__":
    main()
