"""Genesys AudioHook, version 2: JSON text frames, and mu-law in binary ones.

`external` is the customer, `internal` the agent. The two sides number their messages; a number out of
order, or audio at the wrong time, ends the session: the server says `disconnect`, the client answers
`close`, the server `closed`.

    new --open--> open --paused--> paused --resumed--> open --close--> closing --summary--> over
    new --open of the null conversation--> probe --close--> over
    any --an error is written--> disconnected --close--> closing

Source: https://developer.genesys.cloud/devapps/audiohook and the reference implementation,
https://github.com/purecloudlabs/audiohook-reference-implementation
"""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec

from emotion.errors import MessageError
from emotion.messages import MAX_GAP_S, Emotion, Error, Gap, Message, Stop, Summary
from emotion.parsing import start_from
from stream_server.dialect import Audio, Close, Order, Reply
from stream_server.telephony.fields import bad, fields, json_object, shown

VERSION: Final = "2"
RATE: Final = 8000  # Hz
CHANNELS: Final = {"external": "customer", "internal": "agent"}
NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""The conversation of a connection probe: Genesys tries whether a server answers; no audio comes."""
MAX_MEDIA: Final = 32
"""Formats in an offer."""
MAX_DISCARDED_S: Final = 4 * 3600.0
"""Seconds that a message may say were left out."""
MAX_HELD_EVENTS: Final = 64
"""Events of a paused session that wait for its end; the oldest go first."""
MAX_UNHEEDED: Final = 200
"""Messages after `disconnect` (20 s of audio) before a client that does not close is hung up on."""

Uuid = Annotated[
    str, msgspec.Meta(pattern="^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$", max_length=36)
]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Said(msgspec.Struct):
    version: str
    id: Uuid
    type: str
    seq: Number
    parameters: dict[str, Any] = {}
    serverseq: Number = 0
    position: str = "PT0S"


class _Media(msgspec.Struct):
    type: str
    format: str
    channels: list[str]
    rate: int


class _Participant(msgspec.Struct):
    id: Uuid


class _Open(msgspec.Struct, rename="camel"):
    organization_id: Uuid
    conversation_id: Uuid
    participant: _Participant
    media: Annotated[list[_Media], msgspec.Meta(max_length=MAX_MEDIA)]


class _Discarded(msgspec.Struct):
    discarded: str
    start: str = "PT0S"


class AudioHook:
    """One session.

    Args:
        analyzable: names of the channels that may be analysed; others are not asked for.
        session_id: the handshake's `audiohook-session-id`, if known: messages have to carry it.
        organization_id: the handshake's `audiohook-organization-id`, if known: `open` has to name it.
    """

    def __init__(
        self,
        analyzable: Sequence[str],
        *,
        session_id: str | None = None,
        organization_id: str | None = None,
    ) -> None:
        self._analyzable = analyzable
        self._id = session_id
        self._organization = organization_id
        self._state = "new"
        self._streaming = False
        self._seq = 0  # of the last message written
        self._client_seq = 0  # of the last message read
        self._media: _Media | None = None
        self._samples = 0  # heard or discarded, of each channel
        self._held: list[dict[str, Any]] = []
        self._unheeded = 0
        self._handlers: dict[str, Callable[[dict[str, Any]], Sequence[Order]]] = {
            "open": self._open,
            "close": self._close,
            "ping": lambda _: self._reply("pong"),
            "paused": self._pause,
            "resumed": self._resume,
            "discarded": self._discard,
            "update": lambda _: self._reply("updated"),
            "error": lambda _: (),
        }

    @property
    def position_s(self) -> float:
        """Seconds of the stream that have come or were left out."""
        return self._samples / RATE

    # --- what the client says ---

    def receive(self, message: str | bytes) -> Sequence[Order]:
        """As `Dialect.receive`."""
        if self._state == "disconnected" and (hung_up := self._unheeding(message)) is not None:
            return hung_up
        if isinstance(message, bytes):
            return self._audio(message)
        said = fields(json_object(message), _Said, "message")
        self._check(said)
        handler = self._handlers.get(said.type)
        if handler is None:
            raise bad(
                f"type: expected one of {', '.join(self._handlers)}, found {shown(said.type)}"
            )
        if self._state == "new" and said.type not in ("open", "close", "error"):
            raise bad(f"{shown(said.type)} before open: expected open")
        return handler(said.parameters)

    def _check(self, said: _Said) -> None:
        """The envelope of a message."""
        if self._id is None:
            self._id = said.id
        if said.version != VERSION:
            raise MessageError(
                "unsupported", f"version: expected {VERSION!r}, found {shown(said.version)}"
            )
        if said.id.lower() != self._id.lower():
            raise bad("id: expected that of the session, found another")
        if said.seq != self._client_seq + 1:
            raise bad(f"seq: expected {self._client_seq + 1}, found {said.seq}")
        self._client_seq = said.seq
        if said.serverseq > self._seq:
            raise bad(f"serverseq: expected at most {self._seq}, found {said.serverseq}")
        seconds(said.position, "position")

    def _unheeding(self, message: str | bytes) -> Sequence[Order] | None:
        """What to do with a message after `disconnect`; None where it is to be heard."""
        self._unheeded += 1
        if self._unheeded > MAX_UNHEEDED:
            self._state = "over"
            return (Stop(),)
        if isinstance(message, bytes):
            return ()
        try:
            said = fields(json_object(message), _Said, "message")
        except MessageError:
            return ()
        if said.type not in ("close", "ping"):
            return ()
        self._client_seq = said.seq
        return self._handlers[said.type](said.parameters)

    def _open(self, parameters: dict[str, Any]) -> Sequence[Order]:
        if self._state != "new":
            raise bad("open came twice")
        said = fields(parameters, _Open, "open.parameters")
        if self._organization not in (None, said.organization_id):
            raise MessageError(
                "unauthorized", "open.parameters.organizationId: not the handshake's"
            )
        media = self._chosen(said.media)
        self._media = media
        opened = self._reply("opened", startPaused=False, media=[msgspec.to_builtins(media)])
        if said.conversation_id == NOBODY:
            self._state = "probe"
            return opened
        channels = [CHANNELS[name] for name in media.channels]
        start = start_from(
            stream_id=said.conversation_id,
            encoding="mulaw",
            sample_rate=RATE,
            channels=channels,
            analyze=[name for name in channels if name in self._analyzable],
            metadata={
                "organizationId": said.organization_id,
                "conversationId": said.conversation_id,
                "participantId": said.participant.id,
            },
        )
        self._state, self._streaming = "open", True
        return (*opened, start)

    def _chosen(self, offered: Sequence[_Media]) -> _Media:
        """The offer with all that may be analysed, and as little else as possible."""
        allowed = {name for name in CHANNELS if CHANNELS[name] in self._analyzable}

        def worth(media: _Media) -> tuple[int, int]:
            useful = len(allowed & set(media.channels))
            return useful, useful - len(media.channels)

        fitting = [
            media
            for media in offered
            if (media.type, media.format, media.rate) == ("audio", "PCMU", RATE)
            and set(media.channels) <= set(CHANNELS)
            and len(set(media.channels)) == len(media.channels)
            and allowed & set(media.channels)
        ]
        if not fitting:
            raise MessageError(
                "unsupported",
                f"open.parameters.media: none of {len(offered)} offers can be analysed here: expected "
                f"PCMU at {RATE} Hz with {' or '.join(sorted(allowed)) or 'nothing'}; offer that, or "
                "ask the operator to allow more",
            )
        return max(fitting, key=worth)

    def _audio(self, data: bytes) -> Sequence[Order]:
        if self._state in ("closing", "over"):
            return ()
        if self._state != "open" or self._media is None:
            raise bad(f"audio while {self._state}: expected none")
        count = len(self._media.channels)
        if len(data) % count:
            raise bad(f"audio: {len(data)} bytes: expected whole samples of {count} channels")
        self._samples += len(data) // count
        return (Audio(data),) if data else ()

    def _pause(self, _: dict[str, Any]) -> Sequence[Order]:
        if self._state == "open":
            self._state = "paused"
        return ()

    def _resume(self, parameters: dict[str, Any]) -> Sequence[Order]:
        gaps = self._discard(parameters)
        if self._state == "paused":
            self._state = "open"
        if self._state != "open" or not self._held:
            return gaps
        return (Reply(self._released()), *gaps)

    def _discard(self, parameters: dict[str, Any]) -> Sequence[Order]:
        """Silence in the place of what was left out."""
        said = fields(parameters, _Discarded, "discarded")
        length = seconds(said.discarded, "discarded")
        if length > MAX_DISCARDED_S:
            raise bad(f"discarded: {length:.0f} s: expected at most {MAX_DISCARDED_S:.0f} s")
        if self._state not in ("open", "paused"):
            return ()
        samples, longest = round(length * RATE), round(MAX_GAP_S * RATE)
        self._samples += samples
        starts = range(0, samples, longest)
        return tuple(Gap(samples=min(longest, samples - start)) for start in starts)

    def _close(self, _: dict[str, Any]) -> Sequence[Order]:
        if self._state in ("closing", "over"):
            return ()
        if self._streaming:
            self._state = "closing"
            return (Stop(),)
        self._state = "over"
        return (*self._reply("closed"), Close())

    # --- what the client is told ---

    def write(self, message: Message) -> Sequence[str]:
        """As `Dialect.write`: emotions as events, the summary as `closed`, errors as `disconnect`."""
        if self._id is None or self._state == "over":
            return ()
        if isinstance(message, Emotion):
            return self._event(message)
        if isinstance(message, Summary):
            return self._end()
        if isinstance(message, Error):
            return self._disconnect(message)
        return ()

    def closed(self) -> Sequence[Order]:
        """As `Dialect.closed`: a session does not outlive its connection, Genesys opens another."""
        ended = not self._streaming or self._state in ("closing", "over")
        self._state = "over"
        return () if ended else (Stop(),)

    def _event(self, emotion: Emotion) -> Sequence[str]:
        if self._state == "disconnected":
            return ()
        data = msgspec.to_builtins(emotion)
        data["position"] = duration(emotion.start_s)
        data["duration"] = duration(emotion.end_s - emotion.start_s)
        self._held = [*self._held, {"type": "emotion", "data": data}][-MAX_HELD_EVENTS:]
        return () if self._state == "paused" else (self._released(),)

    def _released(self) -> str:
        """All events that wait, in one message."""
        entities, self._held = self._held, []
        return self._message("event", entities=entities)

    def _end(self) -> Sequence[str]:
        texts = [self._released()] if self._held and self._state != "disconnected" else []
        if self._state == "closing":
            texts.append(self._message("closed"))
        elif self._state != "disconnected":  # it is the server that ends
            texts.append(self._message("disconnect", reason="completed"))
        self._state = "over"
        return texts

    def _disconnect(self, error: Error) -> Sequence[str]:
        if (
            self._state == "closing"
        ):  # the client waits for `closed`, whatever became of its results
            return self._end() if error.fatal else ()
        if self._state == "disconnected":
            return ()
        self._state = "disconnected"
        self._held = []
        if error.code == "unauthorized":
            return (self._message("disconnect", reason="unauthorized"),)
        return (self._message("disconnect", reason="error", info=error.message),)

    def _reply(self, kind: str, **parameters: Any) -> Sequence[Order]:
        return (Reply(self._message(kind, **parameters)),)

    def _message(self, kind: str, **parameters: Any) -> str:
        self._seq += 1
        message = {
            "version": VERSION,
            "id": self._id,
            "type": kind,
            "seq": self._seq,
            "clientseq": self._client_seq,
            "parameters": parameters,
        }
        return msgspec.json.encode(message).decode()


_DURATION: Final = re.compile(r"PT(\d{0,9}\.\d{1,9}|\d{1,9})S", re.ASCII)


def seconds(text: str, where: str = "duration") -> float:
    """An ISO 8601 duration as AudioHook writes it (`PT1.5S`) -> seconds.

    Raises:
        MessageError: it is something else.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise bad(f"{where}: expected a duration like PT1.5S, found {shown(text)}")
    return float(found[1])


def duration(length: float) -> str:
    """Seconds -> an ISO 8601 duration."""
    return f"PT{round(length, 6):f}".rstrip("0").rstrip(".") + "S"
