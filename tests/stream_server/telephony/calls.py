"""Calls as telephony sends them, and a session that hears them. Shared by this folder's tests."""

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from emotion.audio import Decoder
from emotion.engine import Engine
from emotion.messages import Gap, Start, Stop
from emotion.session import Session
from stream_server.dialect import Audio, Dialect, Order, Reply
from tests.fakes import Floats, Item, judge_all

ACCOUNT, STREAM, CALL = "AC0123456789abcdef", "MZ18ad3ab5a668481c", "CA5bf3c2f1e5d3a7b9"
MULAW = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}


def twilio_start(**changes: Any) -> str:
    """`start`; None leaves a field of its object out."""
    start = {
        "accountSid": ACCOUNT,
        "streamSid": STREAM,
        "callSid": CALL,
        "tracks": ["inbound"],
        "mediaFormat": MULAW,
        "customParameters": {},
    } | changes
    said = {
        "event": "start",
        "sequenceNumber": "1",
        "start": {k: v for k, v in start.items() if v is not None},
        "streamSid": STREAM,
    }
    return json.dumps(said)


def twilio_media(chunk: int, ms: int, data: bytes, track: str = "inbound") -> str:
    """`media`."""
    media = {
        "track": track,
        "chunk": str(chunk),
        "timestamp": str(ms),
        "payload": base64.b64encode(data).decode(),
    }
    return json.dumps(
        {"event": "media", "sequenceNumber": "9", "media": media, "streamSid": STREAM}
    )


def twilio_call(data: bytes, size: int = 160, track: str = "inbound", first: int = 1) -> list[str]:
    """Audio as `media`."""
    return [
        twilio_media(first + i, start // 8, data[start : start + size], track)
        for i, start in enumerate(range(0, len(data), size))
    ]


TWILIO_CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
TWILIO_STOP = json.dumps(
    {
        "event": "stop",
        "sequenceNumber": "99",
        "streamSid": STREAM,
        "stop": {"accountSid": ACCOUNT, "callSid": CALL},
    }
)


def received(dialect: Dialect, messages: Iterable[str | bytes]) -> list[Order]:
    """All orders for these messages."""
    return [order for message in messages for order in dialect.receive(message)]


def sound(orders: Iterable[Order], channels: int = 1, silence: int = 0xFF) -> bytes:
    """The audio of a stream of one byte a sample; gaps are silence."""
    data = bytearray()
    for order in orders:
        if isinstance(order, Audio):
            data += order.data
        elif isinstance(order, Gap):
            data += bytes([silence]) * order.samples * channels
    return bytes(data)


def answered(
    engine: Engine, dialect: Dialect, messages: Iterable[str | bytes]
) -> tuple[list[Item], list[str]]:
    """What the session says to a call, and what is written to the caller."""
    session: Session | None = None
    items: list[Item] = []
    texts: list[str] = []
    for message in messages:
        for order in dialect.receive(message):
            if isinstance(order, Reply):
                texts.append(order.text)
            elif isinstance(order, Start):
                session = Session(
                    order, engine.contract, engine.prior(), session_id="s", may_skip=False
                )
                texts += dialect.write(session.started())
            elif session is not None:
                obey(session, order)
                new = list(judge_all(session, engine))
                items += new
                texts += [text for item in new for text in dialect.write(item)]
    return items, texts


def obey(session: Session, order: Order) -> None:
    """Does what an order says."""
    match order:
        case Audio():
            session.feed(order.data, 0.0)
        case Gap():
            session.gap(order.samples, 0.0)
        case Stop():
            session.stop()


def mulaw(samples: Floats) -> bytes:
    """float32, -1 to 1 -> the nearest mu-law bytes."""
    values = Decoder("mulaw").feed(bytes(range(256)))[:, 0]
    order = np.argsort(values)
    middles = (values[order][1:] + values[order][:-1]) / 2
    return bytes(order[np.searchsorted(middles, samples.ravel())].astype(np.uint8))


def said(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Text frames as objects."""
    return [json.loads(text) for text in texts]
