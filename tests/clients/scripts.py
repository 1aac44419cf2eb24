"""What scripted servers say."""

from contextlib import suppress
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from emotion.labels import EMOTIONS
from emotion.messages import Limits, Message, Model, Silence, Start, Started, encode
from emotion.parsing import parse


def started(**fields: Any) -> Started:
    """A `started`."""
    whole: dict[str, Any] = {
        "id": "s:0",
        "session_id": "s",
        "stream_id": "s",
        "encoding": "pcm_s16le",
        "sample_rate": 16_000,
        "channels": ("mono",),
        "analyze": ("mono",),
        "window_s": 3,
        "hop_s": 1,
        "vad": True,
        "adapt": False,
        "metadata": {},
        "smoothing_half_life_s": 2,
        "model": Model(name="stream", version="1", labels=EMOTIONS),
        "limits": Limits(),
    }
    return Started(**whole | fields)


def silence(seq: int, end_s: float = 0.0, **fields: Any) -> Silence:
    """A `silence`."""
    whole: dict[str, Any] = {
        "id": f"s:{seq}",
        "seq": seq,
        "stream_id": "s",
        "channel": "mono",
        "start_s": 0.0,
        "end_s": end_s,
        "speech_ratio": 0.0,
        "latency_ms": 1.0,
    }
    return Silence(**whole | fields)


async def hear_start(connection: ServerConnection) -> Start:
    """The first message."""
    message = parse(str(await connection.recv()))
    assert isinstance(message, Start)
    return message


async def say(connection: ServerConnection, *messages: Message) -> None:
    """Sends messages."""
    for message in messages:
        await connection.send(encode(message))


async def break_off(connection: ServerConnection) -> None:
    """Ends the connection without a closing handshake, behind all that was said."""
    connection.transport.write_eof()
    with suppress(ConnectionClosed):
        while True:
            await connection.recv()
