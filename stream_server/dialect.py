"""How a connection speaks: foreign messages to the orders a stream understands, and back.

A dialect is pure: it keeps what its protocol needs remembered and knows no socket, no clock and no
session. Protocol v1 is one dialect, each telephony protocol another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emotion.messages import ClientSays, Message, encode
from emotion.parsing import parse


@dataclass(frozen=True)
class Audio:
    """Bytes in the stream's encoding."""

    data: bytes


@dataclass(frozen=True)
class Token:
    """Credentials that came in a message instead of the handshake; before `Start`."""

    value: str


@dataclass(frozen=True)
class Reply:
    """To be sent at once, as it stands."""

    text: str


@dataclass(frozen=True)
class Close:
    """There is nothing to be streamed: the connection is closed normally, without an error."""


Order = ClientSays | Audio | Token | Reply | Close


class Dialect(Protocol):
    """One connection's way of speaking.

    Some protocols number what they are sent. So what `write` returns, and the `Reply`s among what
    `receive` returns, have to be sent before the dialect is asked again by anybody.
    """

    def receive(self, message: str | bytes) -> Sequence[Order]:
        """What a message asks for, in order; `Reply`s come first.

        The first order but `Token`, `Reply` and `Close` is `Start`. A connection that only probes may
        never start a stream.

        Raises:
            MessageError: the message cannot be understood. Before `Start` that is fatal; afterwards
                the client is told and the stream goes on.
        """
        ...

    def write(self, message: Message) -> Sequence[str]:
        """What the client is sent for a message of protocol v1: none, one or several text frames."""
        ...

    def closed(self) -> Sequence[Order]:
        """What it means that the client has closed the connection: the end, where that is a hangup."""
        ...


class Native:
    """Protocol v1."""

    def receive(self, message: str | bytes) -> Sequence[Order]:
        """As `Dialect.receive`."""
        return (Audio(message),) if isinstance(message, bytes) else (parse(message),)

    def write(self, message: Message) -> Sequence[str]:
        """As `Dialect.write`."""
        return (encode(message),)

    def closed(self) -> Sequence[Order]:
        """As `Dialect.closed`: nothing, the client may come back and go on."""
        return ()
