"""Twilio Media Streams, and those who speak like it (Telnyx, SignalWire).

JSON text frames; numbers are strings. `inbound` is the customer, `outbound` the agent. Nothing is
written back: a one-way stream takes no messages, results go to whoever follows the hub.

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages. Telnyx says the same in
snake_case, with other names for the call and the encoding
(https://developers.telnyx.com/docs/voice/programmable-voice/media-streaming).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec

from emotion.errors import MessageError
from emotion.messages import Message, Stop
from emotion.parsing import start_from
from stream_server.dialect import Order, Token
from stream_server.telephony.fields import bad, camel, fields, json_object, nested, shown
from stream_server.telephony.tracks import MAX_FRAME, RATE, Tracks

CHANNELS: Final = {"inbound": "customer", "outbound": "agent"}
ENCODINGS: Final = {"audio/x-mulaw": "mulaw", "PCMU": "mulaw", "PCMA": "alaw"}
SILENCE: Final = {"mulaw": 0xFF, "alaw": 0xD5}
MAX_PARAMETERS: Final = 32
"""Custom parameters of a call."""
MAX_PARAMETERS_BYTES: Final = 3072
"""Of their names and values; all metadata of a stream is at most 4 KiB."""
TOKEN: Final = "token"
"""The custom parameter that carries credentials: Twilio takes no query string and no headers."""

Sid = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class _Format(msgspec.Struct, rename="camel"):
    encoding: str
    sample_rate: Count
    channels: Count = 1


class _Start(msgspec.Struct, rename="camel"):
    media_format: Any
    call_sid: Sid | None = None
    call_control_id: Sid | None = None
    account_sid: Sid | None = None
    stream_sid: Sid | None = None
    tracks: list[str] | None = None
    custom_parameters: dict[str, str] = {}


class _Media(msgspec.Struct):
    track: Literal["inbound", "outbound"]
    chunk: Count
    timestamp: Count
    payload: str


class Twilio:
    """One call.

    Args:
        analyzable: names of the channels that may be analysed; other tracks are not listened to.
    """

    def __init__(self, analyzable: Sequence[str]) -> None:
        self._analyzable = analyzable
        self._columns: dict[str, int] = {}  # of the tracks that are listened to
        self._tracks: Tracks | None = None
        self._stopped = False

    def receive(self, message: str | bytes) -> Sequence[Order]:
        """As `Dialect.receive`."""
        said = json_object(message)
        match said.get("event"):
            case "media":
                return self._media(nested(said, "media"))
            case "start":
                return self._start(said)
            case "stop":
                return self._stop()
            case "connected" | "dtmf" | "mark" | "error":
                return ()
            case str() as event:
                raise bad(
                    f"event: expected connected, start, media, dtmf, mark or stop, found {shown(event)}"
                )
            case other:
                raise bad(f"event: expected a text, found {type(other).__name__}")

    def write(self, message: Message) -> Sequence[str]:
        """As `Dialect.write`: nothing."""
        return ()

    def closed(self) -> Sequence[Order]:
        """As `Dialect.closed`: the end, Twilio does not open a second connection for a stream."""
        return () if self._tracks is None or self._stopped else self._stop()

    def _start(self, said: dict[str, Any]) -> Sequence[Order]:
        if self._tracks is not None:
            raise bad("start came twice: open a new stream")
        start = fields(camel(nested(said, "start")), _Start, "start")
        encoding = _encoding(start.media_format)
        names = self._listened(start.tracks)
        call = start.call_sid or start.call_control_id
        if call is None:
            raise bad("start.callSid: expected a text, found nothing")
        metadata = _metadata(start, said)
        token = start.custom_parameters.get(TOKEN)
        orders: list[Order] = [] if token is None else [Token(token)]
        channels = [CHANNELS[name] for name in names]
        orders.append(
            start_from(
                stream_id=call,
                encoding=encoding,
                sample_rate=RATE,
                channels=channels,
                analyze=channels,
                metadata=metadata,
            )
        )
        self._columns = {name: index for index, name in enumerate(names)}
        self._tracks = Tracks(len(names), SILENCE[encoding])
        return orders

    def _listened(self, tracks: list[str] | None) -> list[str]:
        """Those of the call's tracks that may be analysed; all may come where the call names none."""
        named = CHANNELS if tracks is None else tracks
        names = [name for name in CHANNELS if name in named and CHANNELS[name] in self._analyzable]
        if not names:
            found = ", ".join(map(shown, named))[:80] or "none"
            raise MessageError(
                "unsupported",
                f"start.tracks: {found}: none of them may be analysed here (inbound is customer, "
                "outbound is agent); stream another track, or ask the operator to allow it",
            )
        return names

    def _media(self, said: dict[str, Any]) -> Sequence[Order]:
        if self._tracks is None:
            raise bad("media before start: expected start")
        if self._stopped:
            raise bad("media after stop: open a new stream")
        media = fields(said, _Media, "media")
        index = self._columns.get(media.track)
        if index is None:
            return ()
        return self._tracks.hear(index, media.chunk, media.timestamp, _decoded(media.payload))

    def _stop(self) -> Sequence[Order]:
        if self._tracks is None:
            raise bad("stop before start: expected start")
        if self._stopped:
            raise bad("stop came twice")
        self._stopped = True
        return (*self._tracks.finish(), Stop())


def _encoding(media_format: object) -> str:
    """The protocol's name for a call's encoding."""
    where = "start.mediaFormat"
    said = camel(media_format) if isinstance(media_format, dict) else media_format
    found = fields(said, _Format, where)
    encoding = ENCODINGS.get(found.encoding)
    if encoding is None or (found.sample_rate, found.channels) != (RATE, 1):
        raise MessageError(
            "unsupported",
            f"{where}: {shown(found.encoding)} at {found.sample_rate} Hz, {found.channels} "
            f"channels: expected audio/x-mulaw at {RATE} Hz, 1 channel",
        )
    return encoding


def _metadata(start: _Start, said: dict[str, Any]) -> dict[str, Any]:
    """What is known of the call beside its audio; never the token, nor who is calling."""
    custom = {k: v for k, v in start.custom_parameters.items() if k != TOKEN}
    size = sum(len(msgspec.json.encode(text)) for pair in custom.items() for text in pair)
    if len(custom) > MAX_PARAMETERS or size > MAX_PARAMETERS_BYTES:
        raise bad(
            f"start.customParameters: {len(custom)} of {size} bytes: expected at most "
            f"{MAX_PARAMETERS} of {MAX_PARAMETERS_BYTES} bytes"
        )
    stream = start.stream_sid or said.get("streamSid") or said.get("stream_id")
    known = {
        "accountSid": start.account_sid,
        "streamSid": stream[:256] if isinstance(stream, str) else None,
        "customParameters": custom,
    }
    return {name: value for name, value in known.items() if value}


def _decoded(payload: str) -> bytes:
    """base64 -> bytes."""
    longest = (MAX_FRAME + 2) // 3 * 4
    if len(payload) > longest:
        raise bad(f"media.payload: {len(payload)} characters: expected at most {longest}")
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad(f"media.payload: expected base64 ({error})") from error


# --- the handshake ---


def verify_twilio(
    url: str, signature: str | None, auth_token: str, params: Mapping[str, str] | None = None
) -> None:
    """Checks that a handshake comes from Twilio: HMAC-SHA1 over the address and sorted parameters.

    The signature covers the address as Twilio knows it, and Twilio and what stands between are not of
    one mind about how to write it. So, like Twilio's own libraries, this takes it with and without the
    port; and with `wss` or `https`, with or without a slash at the end.

    Args:
        url: public, with the query string: `wss://example.com/telephony/twilio`.
        signature: the header `X-Twilio-Signature`, if it came.
        auth_token: the account's.
        params: of a POST request; a WebSocket's handshake has none.

    Source: https://www.twilio.com/docs/usage/webhooks/webhooks-security

    Raises:
        MessageError: `unauthorized`.
    """
    tail = "".join(name + value for name, value in sorted((params or {}).items()))
    found = (signature or "").encode(errors="replace")
    matches = [
        hmac.compare_digest(_signed(address + tail, auth_token), found)
        for address in sorted(_spellings(url))
    ]
    if not any(matches):
        raise MessageError("unauthorized", "X-Twilio-Signature does not fit this address")


def _signed(text: str, auth_token: str) -> bytes:
    return base64.b64encode(hmac.digest(auth_token.encode(), text.encode(), hashlib.sha1))


def _spellings(url: str) -> set[str]:
    """Ways to write an address that lead to the same place."""
    parts = urlsplit(url)
    secure = parts.scheme in ("wss", "https")
    schemes = ("wss", "https") if secure else ("ws", "http")
    host, port = _host(parts), parts.port
    default = 443 if secure else 80
    hosts = {parts.netloc}
    if port is None or port == default:
        hosts |= {host, f"{host}:{default}"}
    else:
        hosts |= {host}  # Twilio leaves the port out where TLS is spoken
    paths = {parts.path, parts.path.rstrip("/"), parts.path.rstrip("/") + "/"}
    query = f"?{parts.query}" if parts.query else ""
    return {
        f"{scheme}://{host}{path}{query}" for scheme in schemes for host in hosts for path in paths
    }


def _host(parts: SplitResult) -> str:
    """The address without its port."""
    name = parts.netloc.rpartition("@")[2]
    return name.rpartition(":")[0] if parts.port is not None else name
