"""Wire protocol v1: typed messages and their JSON.

What a client says is parsed and checked in `parsing.py`; what a server says is encoded with `encode`.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from emotion.audio import MAX_RATE, MIN_RATE, Encoding
from emotion.errors import ErrorCode, MessageError

PROTOCOL: Final = "emotion.v1"
MAX_FRAME_BYTES: Final = 1 << 20  # of a binary frame
MAX_CONTROL_BYTES: Final = 1 << 16  # of a text frame
MAX_NESTING: Final = 32  # of arrays and objects in a text frame
MAX_METADATA_BYTES: Final = 4096
MAX_CHANNELS: Final = 8
MAX_GAP_S: Final = 60.0

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Probabilities = dict[str, float]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """Root of all messages; `type` is the class's name in lower case."""


class ClientMessage(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Root of what a client says."""


class Resume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which session a new connection goes on with.

    Attributes:
        session_id: of the session whose connection broke.
        last_seq: of the last event that the client has; those after it come again.
    """

    session_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    last_seq: Annotated[int, msgspec.Meta(ge=0)] = 0


class Start(ClientMessage, frozen=True, kw_only=True):
    """The first message: how the audio is encoded and what is to be done with it.

    Attributes:
        stream_id: the client's name for the stream; the session's own id where None.
        encoding: of the binary frames.
        sample_rate: Hz, 8,000 to 48,000.
        channels: names of the interleaved channels.
        analyze: which of them are analysed; where None, `customer` if there is one, else the first.
        window_s: seconds a window covers, 1 to 10.
        hop_s: seconds from one window's end to the next, 0.25 to `window_s`.
        vad: whether windows with too little speech are reported as `silence` and not judged.
        adapt: whether the session learns each channel's own baseline; where None, if the model can.
        metadata: the client's own; at most 4 KiB as JSON.
        resume: a session to go on with; the other fields are then those it was started with.
    """

    stream_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    encoding: Encoding = "pcm_s16le"
    sample_rate: Annotated[int, msgspec.Meta(ge=MIN_RATE, le=MAX_RATE)] = 16_000
    channels: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=MAX_CHANNELS)] = (
        "mono",
    )
    analyze: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)] | None = None
    window_s: Annotated[float, msgspec.Meta(ge=1, le=10)] = 3.0
    hop_s: Annotated[float, msgspec.Meta(ge=0.25, le=10)] = 1.0
    vad: bool = True
    adapt: bool | None = None
    metadata: dict[str, Any] = {}
    resume: Resume | None = None

    @property
    def analyzed(self) -> tuple[str, ...]:
        """The channels that are analysed, whether named or by default."""
        if self.analyze is not None:
            return self.analyze
        return ("customer",) if "customer" in self.channels else self.channels[:1]


class Flush(ClientMessage, frozen=True, kw_only=True):
    """Asks for the results of all that has been heard so far, then `flushed` with the same id."""

    id: Annotated[str, msgspec.Meta(max_length=256)] = ""


class Keepalive(ClientMessage, frozen=True, kw_only=True):
    """Holds an idle stream open."""


class Gap(ClientMessage, frozen=True, kw_only=True):
    """Audio that was lost on its way to the server: silence takes its place, so that times stay true.

    Attributes:
        samples: how many of each channel, at the stream's rate; at most 60 s.
    """

    samples: Annotated[int, msgspec.Meta(ge=1)]


class Stop(ClientMessage, frozen=True, kw_only=True):
    """No more audio: asks for the results of all that is left and the summary."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The model that judges, as `started` names it."""

    name: str
    version: str
    labels: tuple[str, ...]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the server holds a session to."""

    max_frame_bytes: int = MAX_FRAME_BYTES
    max_control_bytes: int = MAX_CONTROL_BYTES
    idle_timeout_s: float = 30.0


class Started(Message, frozen=True, kw_only=True):
    """The session's id and the configuration in effect.

    Attributes:
        id: `session_id:0`.
        resumed: whether an earlier session goes on.
        received_samples: of each channel; what comes next is the sample of this number, from 0.
    """

    id: str
    session_id: str
    stream_id: str
    encoding: Encoding
    sample_rate: int
    channels: tuple[str, ...]
    analyze: tuple[str, ...]
    window_s: float
    hop_s: float
    vad: bool
    adapt: bool
    metadata: dict[str, Any]
    smoothing_half_life_s: float
    model: Model
    limits: Limits
    resumed: bool = False
    received_samples: int = 0
    protocol: str = PROTOCOL


class Smoothed(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities smoothed over audio time."""

    label: str
    probabilities: Probabilities


class Emotion(Message, frozen=True, kw_only=True):
    """A window's judgement.

    Attributes:
        id: `session_id:seq`, unique.
        seq: counts the session's `emotion` and `silence` events from 1.
        start_s: where the window begins, in seconds of audio since the session's start.
        end_s: where it ends.
        speech_ratio: share of the window that is speech; None where voice activity is off.
        adapted_s: seconds of speech behind the channel's statistics; 0 without adaptation. It falls
            where another voice is noticed, and the statistics start afresh.
        latency_ms: from the receipt of the window's last sample to this event.
    """

    id: str
    seq: int
    stream_id: str
    channel: str
    start_s: float
    end_s: float
    label: str
    confidence: float
    probabilities: Probabilities
    smoothed: Smoothed
    speech_ratio: float | None
    adapted_s: float
    latency_ms: float


class Silence(Message, frozen=True, kw_only=True):
    """A window with too little speech to judge; the fields are those of `Emotion`."""

    id: str
    seq: int
    stream_id: str
    channel: str
    start_s: float
    end_s: float
    speech_ratio: float
    latency_ms: float


class Flushed(Message, frozen=True, kw_only=True):
    """Every result up to the `flush` with this id has been sent."""

    id: str


class Summary(Message, frozen=True, kw_only=True):
    """The whole session; windows = inferred + silent + skipped.

    Attributes:
        id: `session_id:end`.
        audio_s: seconds of audio heard (of each channel).
        dominant: per channel, the label with the largest mean probability; None where nothing was
            judged.
    """

    id: str
    session_id: str
    stream_id: str
    audio_s: float
    windows: int
    inferred: int
    silent: int
    skipped: int
    dominant: dict[str, str | None]


class Alert(Message, frozen=True, kw_only=True):
    """To whoever follows calls: a rule of the operator's begins to hold, or no longer does.

    Attributes:
        id: `session_id:alert:n`, unique; n counts the call's alerts from 1.
        rule: its name.
        state: `raised` when it begins to hold, then once `cleared`.
        at_s: where the window that decided ends, in seconds of audio since the session's start.
        since_s: where the seconds that decided begin; the same in both.
        message: what the rule says, for people.
        reason: why it was cleared: `below` its limit, too much `silence`, or the call `ended`.
    """

    id: str
    stream_id: str
    session_id: str
    channel: str
    rule: str
    state: Literal["raised", "cleared"]
    at_s: float
    since_s: float
    message: str
    reason: Literal["below", "silence", "ended"] | None = None


class Warning(Message, frozen=True, kw_only=True):
    """Something the client should know; the session goes on.

    Attributes:
        code: `skipped_windows` (with `count`), `too_fast`, `incomplete_sample`, or `missed_events`
            (with `count`): events after `last_seq` that a resumed session no longer has.
    """

    code: Literal["skipped_windows", "too_fast", "incomplete_sample", "missed_events"]
    message: str
    count: int | None = None


class Error(Message, frozen=True, kw_only=True):
    """What went wrong; where `fatal`, the connection is closed next."""

    code: ErrorCode
    message: str
    fatal: bool


class Subscribed(Message, frozen=True, kw_only=True):
    """The first message to whoever follows calls.

    Attributes:
        cursor: what follows comes after it; good for `since`.
        streams: the pattern in effect.
    """

    cursor: str
    streams: str


class LostEvents(
    Message, frozen=True, kw_only=True, tag="gap", rename={"begin": "from", "end": "to"}
):
    """To whoever follows calls: events that it does not get.

    Attributes:
        cursor: of the last of them; what follows comes after it.
        begin: cursor of the last event before them.
        end: cursor of the last of them.
        count: how many they are; None where nobody knows.
    """

    cursor: str
    begin: str
    end: str
    count: int | None


Event = Emotion | Silence
ServerMessage = Started | Emotion | Silence | Flushed | Summary | Warning | Error

ClientSays = Start | Flush | Keepalive | Gap | Stop


def encode(message: Message) -> str:
    """A message as one JSON object."""
    return msgspec.json.encode(message).decode()


def decode_server(text: str | bytes) -> ServerMessage:
    """What a server said, for clients; unknown fields are ignored, so that servers may add some.

    Raises:
        MessageError: the text is not one of the server's messages.
    """
    try:
        message: ServerMessage = msgspec.json.decode(text, type=ServerMessage)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise MessageError("bad_message", f"not a message of {PROTOCOL}: {error}") from error
    return message
