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


Order = ClientSays | Audio | Token | Reply


class Dialect(Protocol):
    """One connection's way of speaking."""

    def receive(self, message: str | bytes) -> Sequence[Order]:
        """What a message asks for, in order; the first order but `Token` and `Reply` is `Start`.

        Raises:
            MessageError: the message cannot be understood. Before `Start` that is fatal; afterwards
                the client is told and the stream goes on.
        """
        ...

    def write(self, message: Message) -> Sequence[str]:
        """What the client is sent for a message of protocol v1: none, one or several text frames."""
        ...


class Native:
    """Protocol v1."""

    def receive(self, message: str | bytes) -> Sequence[Order]:
        """As `Dialect.receive`."""
        return (Audio(message),) if isinstance(message, bytes) else (parse(message),)

    def write(self, message: Message) -> Sequence[str]:
        """As `Dialect.write`."""
        return (encode(message),)
