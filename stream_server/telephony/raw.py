"""Vonage, jambonz and Asterisk: a text frame that describes the audio, then the audio in binary frames.

Other text frames are events of the call, and passed over. The end is the end of the connection. Nothing
is written back: what a server sends would be spoken to the caller, or obeyed as a command.

Sources: https://developer.vonage.com/voice/voice-api/concepts/websockets,
https://docs.jambonz.org/verbs/verbs/listen,
https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec

from emotion.errors import MessageError
from emotion.messages import MAX_CONTROL_BYTES, Message, Start, Stop
from emotion.parsing import start_from
from stream_server.dialect import Audio, Order, Token
from stream_server.telephony.fields import bad, fields, json_object, shown

ASTERISK: Final[dict[str, tuple[str, int]]] = {
    "ulaw": ("mulaw", 8000),
    "alaw": ("alaw", 8000),
    "slin": ("pcm_s16le", 8000),
    "slin12": ("pcm_s16le", 12_000),
    "slin16": ("pcm_s16le", 16_000),
    "slin24": ("pcm_s16le", 24_000),
    "slin32": ("pcm_s16le", 32_000),
    "slin44": ("pcm_s16le", 44_100),
    "slin48": ("pcm_s16le", 48_000),
}
"""Asterisk's names of encodings -> ours and the rate."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Rate = Annotated[int, msgspec.Meta(ge=1, le=10**6)]


class Raw:
    """What the three have in common.

    Args:
        analyzable: names of the channels that may be analysed.
    """

    _expected: ClassVar[str]  # in the first frame

    def __init__(self, analyzable: Sequence[str]) -> None:
        self._analyzable = analyzable
        self._started = False
        self._ended = False

    def receive(self, message: str | bytes) -> Sequence[Order]:
        """As `Dialect.receive`."""
        if self._ended:
            return ()
        if self._started:
            return (Audio(message),) if isinstance(message, bytes) else ()
        if isinstance(message, bytes):
            raise bad(f"audio before the text frame that describes it: expected {self._expected}")
        if len(message) > MAX_CONTROL_BYTES:
            raise MessageError(
                "too_large",
                f"a text frame of {len(message)} characters: expected at most {MAX_CONTROL_BYTES}",
            )
        orders = self._start(message)
        self._started = True
        return orders

    def write(self, message: Message) -> Sequence[str]:
        """As `Dialect.write`: nothing."""
        return ()

    def closed(self) -> Sequence[Order]:
        """As `Dialect.closed`: the call is over."""
        ended = self._ended or not self._started
        self._ended = True
        return () if ended else (Stop(),)

    def _start(self, text: str) -> Sequence[Order]:
        raise NotImplementedError

    def _begun(self, call: str | None, encoding: str, rate: int, *channels: str) -> Start:
        """The start of a stream; channels that may not be analysed are left alone."""
        analyze = [name for name in channels if name in self._analyzable]
        if not analyze:
            raise MessageError(
                "unsupported",
                f"of the channels {', '.join(channels)} none may be analysed here; "
                "stream another one, or ask the operator to allow it",
            )
        return start_from(
            stream_id=call,
            encoding=encoding,
            sample_rate=rate,
            channels=list(channels),
            analyze=analyze,
        )


def _orders(token: str | None, start: Start) -> Sequence[Order]:
    return (start,) if token is None else (Token(token), start)


class _Connected(msgspec.Struct, rename={"content_type": "content-type"}):
    event: Literal["websocket:connected"]
    content_type: str
    stream_id: Name | None = None
    token: str | None = None
    channel: Literal["customer", "agent", "mono"] = "customer"


class Vonage(Raw):
    """One leg of a call, 16-bit linear.

    The endpoint's `headers` may say `stream_id`, `token` and `channel` (`customer`, `agent` or `mono`):
    Vonage names neither the call nor who speaks.
    """

    _expected = "websocket:connected"

    def _start(self, text: str) -> Sequence[Order]:
        said = fields(json_object(text), _Connected, "websocket:connected")
        kind, _, parameters = said.content_type.replace(" ", "").lower().partition(";")
        rate = re.fullmatch(r"rate=(\d{1,6})", parameters, re.ASCII)
        if kind != "audio/l16" or rate is None:
            raise MessageError(
                "unsupported",
                f"content-type: expected audio/l16;rate=16000, found {shown(said.content_type)}",
            )
        start = self._begun(said.stream_id, "pcm_s16le", int(rate[1]), said.channel)
        return _orders(said.token, start)


class _Listen(msgspec.Struct, rename="camel"):
    call_sid: Name
    sample_rate: Rate
    mix_type: Literal["mono", "stereo", "mixed"] = "mono"
    token: str | None = None
    metadata: Any = None


MIXES: Final = {"mono": ("customer",), "stereo": ("customer", "agent"), "mixed": ("mono",)}


class Jambonz(Raw):
    """jambonz' `listen`, 16-bit linear: `mono` is the caller, `mixed` everybody in one channel.

    The verb's `metadata` may say `token`.
    """

    _expected = "callSid, sampleRate and mixType"

    def _start(self, text: str) -> Sequence[Order]:
        said = fields(json_object(text), _Listen, "the first frame")
        token = said.token
        if token is None and isinstance(said.metadata, dict):
            inner = said.metadata.get("token")
            token = inner if isinstance(inner, str) else None
        channels = MIXES[said.mix_type]
        return _orders(token, self._begun(said.call_sid, "pcm_s16le", said.sample_rate, *channels))


class _MediaStart(msgspec.Struct):
    event: Literal["MEDIA_START"]
    format: str
    connection_id: Name | None = None
    channel: Name | None = None
    channel_id: Name | None = None


class Asterisk(Raw):
    """Asterisk's `chan_websocket`, whose events are lines of text or JSON: one channel, the caller.

    A connection's id is the same for all calls where it names an entry of websocket_client.conf, so the
    stream is named after Asterisk's channel.
    """

    _expected = "MEDIA_START"

    def _start(self, text: str) -> Sequence[Order]:
        said = fields(json_object(text) if text[:1] == "{" else _line(text), _MediaStart, "event")
        if said.format not in ASTERISK:
            raise MessageError(
                "unsupported",
                f"format: expected one of {', '.join(ASTERISK)}, found {shown(said.format)}",
            )
        call = said.channel_id or said.channel or said.connection_id
        return (self._begun(call, *ASTERISK[said.format], "customer"),)


def _line(text: str) -> dict[str, str]:
    """`MEDIA_START connection_id:a channel:b` -> fields."""
    event, *pairs = text.split()[:64] or [""]
    return {"event": event} | {k: v for k, _, v in (pair.partition(":") for pair in pairs)}
