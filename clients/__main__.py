"""emotion-client: streams recordings, a microphone and loads, follows calls, or judges by itself."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from clients.analyze.command import analyze as analyze_recordings
from clients.connect import DEFAULT_URL, Access
from clients.display import displayed
from clients.load import Load, run_load
from clients.microphone import Microphone, list_microphones
from clients.monitor import showing
from clients.options import (
    Adapt,
    Analyze,
    Ca,
    Channels,
    Device,
    Hop,
    Json,
    Lines,
    ListDevices,
    Live,
    Model,
    NoVad,
    PathArgument,
    Seconds,
    StreamId,
    Token,
    Url,
    Window,
    names,
    speed_of,
)
from clients.recordings import Recording, open_recording
from clients.spoken import microphone_for
from clients.stream_file import in_thread, stream, stream_recording
from clients.watch import Watch, remarks
from emotion.command_line import Version, run
from emotion.errors import ConfigurationError
from emotion.messages import Start
from emotion.parsing import start_from


class SentAs(StrEnum):
    """Encodings that a load can send."""

    PCM = "pcm_s16le"
    MULAW = "mulaw"


app = typer.Typer(
    help="Streams speech to an emotion-server, follows its calls, or judges without one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands(version: Version = False) -> None:
    """Streams speech to an emotion-server, follows its calls, or judges without one."""


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
    adapt: Adapt = None,
    stream_id: StreamId = None,
    token: Token = None,
    ca: Ca = None,
    live: Live = False,
    json: Json = False,
) -> None:
    """Streams a recording to a server, at the pace it was spoken, and shows emotions as they come."""
    pace = speed_of(speed)
    with open_recording(path, names(channels)) as recording:
        start = _start(recording, window, hop, not no_vad, adapt, stream_id, analyze)
        _tell(recording)
        access = Access(url, token, ca)
        with displayed(json, _title(recording), live=live) as display:
            streaming = stream_recording(recording, start, display, access=access, speed=pace)
            whole = asyncio.run(streaming)
        if not whole:
            raise KeyboardInterrupt


@app.command()
def mic(
    url: Url = DEFAULT_URL,
    device: Device = None,
    list_devices: ListDevices = False,
    seconds: Seconds = None,
    window: Window = 3.0,
    hop: Hop = 1.0,
    no_vad: NoVad = False,
    adapt: Adapt = None,
    stream_id: StreamId = None,
    token: Token = None,
    ca: Ca = None,
    lines: Lines = False,
    json: Json = False,
) -> None:
    """Streams a microphone to a server until Ctrl-C, and shows emotions while somebody speaks."""
    if list_devices:
        return _list_devices()
    with microphone_for(device, seconds, json, lines) as (microphone, display):
        start = _start(microphone, window, hop, not no_vad, adapt, stream_id)
        frames = in_thread(microphone.portions())
        access = Access(url, token, ca)
        streaming = stream(frames, start, display, access=access, live=True, stop=microphone.stop)
        asyncio.run(streaming)


@app.command()
def local(
    path: Annotated[
        Path | None,
        typer.Argument(help="WAV, FLAC, OGG or MP3; the microphone without.", show_default=False),
    ] = None,
    model: Model = None,
    channels: Channels = None,
    analyze: Analyze = None,
    window: Window = 3.0,
    hop: Hop = 1.0,
    no_vad: NoVad = False,
    adapt: Adapt = None,
    device: Device = None,
    list_devices: ListDevices = False,
    seconds: Seconds = None,
    live: Live = False,
    lines: Lines = False,
    json: Json = False,
) -> None:
    """Judges a recording, or the microphone, without a server: the same events, ONNX Runtime only."""
    from clients.local import judge_microphone, judge_recording  # streaming needs no ONNX Runtime
    from emotion.engine import load_engine

    if list_devices:
        return _list_devices()
    if path is None:
        _refuse_for_microphone(channels=channels, analyze=analyze)
        engine = load_engine(model)
        with microphone_for(device, seconds, json, lines) as (microphone, display):
            start = _start(microphone, window, hop, not no_vad, adapt)
            judge_microphone(microphone, start, display, engine=engine)
        return
    with open_recording(path, names(channels)) as recording:
        start = _start(recording, window, hop, not no_vad, adapt, analyze=analyze)
        engine = load_engine(model)
        _tell(recording)
        with displayed(json, _title(recording), live=live) as display:
            judge_recording(recording, start, display, engine=engine)


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
    source: Recording | Microphone,
    window_s: float,
    hop_s: float,
    vad: bool,
    adapt: bool | None,
    stream_id: str | None = None,
    analyze: str | None = None,
) -> Start:
    """The stream's configuration; a microphone has one channel.

    Raises:
        MessageError: a value is out of range.
    """
    named = {"channels": source.channels} if isinstance(source, Recording) else {}
    return start_from(
        stream_id=stream_id,
        sample_rate=source.sample_rate,
        analyze=names(analyze),
        window_s=window_s,
        hop_s=hop_s,
        vad=vad,
        adapt=adapt,
        **named,
    )


def _list_devices() -> None:
    for line in list_microphones():
        typer.echo(line)


def _refuse_for_microphone(**options: str | None) -> None:
    """Refuses what only a recording has.

    Raises:
        ConfigurationError: it was asked for.
    """
    for name, value in options.items():
        if value is not None:
            raise ConfigurationError(f"--{name}: a microphone has one channel; name a recording")


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
