"""WebSocket connections that say why before they fail.

`websockets` answers an over-long message, invalid UTF-8 or a broken frame with a bare close frame.
Clients of this protocol are promised an `error` with a code first, so the protocol has last words.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from websockets.asyncio.server import Server, ServerConnection
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from emotion.errors import ErrorCode, MessageError
from emotion.messages import MAX_FRAME_BYTES, PROTOCOL, Error, encode
from stream_server.admission import Doors
from stream_server.auth import Principal, unauthorized
from stream_server.telephony import SUBPROTOCOLS

READ_BYTES: Final = 1 << 14
"""Taken from a socket at a time. asyncio's 256 KiB can hold 37,000 frames of one byte, and the loop
would spend a second on them before anybody else's turn."""
MAX_UNREAD_BYTES: Final = 1 << 18
"""That may wait for a client to read. What the session sends waits for it, pongs do not: a client that
pings and never reads could fill the memory with them."""

LAST_WORDS: Final[dict[int, tuple[ErrorCode, str]]] = {
    CloseCode.MESSAGE_TOO_BIG: (
        "too_large",
        f"a message longer than {MAX_FRAME_BYTES} bytes or in too many parts: send audio in "
        "shorter frames, 20 to 100 ms each",
    ),
    CloseCode.PROTOCOL_ERROR: (
        "bad_message",
        "a frame that RFC 6455 does not allow: expected text, binary or control frames",
    ),
    CloseCode.INVALID_DATA: ("bad_message", "a text frame that is not UTF-8: expected JSON"),
}

CLOSE_CODES: Final[dict[ErrorCode, int]] = {
    "bad_message": CloseCode.INVALID_DATA,
    "bad_audio": CloseCode.INVALID_DATA,
    "unsupported": CloseCode.UNSUPPORTED_DATA,
    "unauthorized": CloseCode.POLICY_VIOLATION,
    "unknown_session": CloseCode.POLICY_VIOLATION,
    "too_large": CloseCode.MESSAGE_TOO_BIG,
    "at_capacity": CloseCode.TRY_AGAIN_LATER,
    "idle": CloseCode.POLICY_VIOLATION,
    "internal": CloseCode.INTERNAL_ERROR,
}
"""What a connection is closed with after a fatal error of each code."""


class SpeakingProtocol(ServerProtocol):
    """Sends an `error` before it fails a connection for what the client sent."""

    def fail(self, code: int, reason: str = "") -> None:
        words = LAST_WORDS.get(code)
        if words is not None and self.state is State.OPEN:
            error = Error(code=words[0], message=words[1], fatal=True)
            self.send_text(encode(error).encode())
        super().fail(code, reason)

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Agrees to a protocol's name where it is offered; clients need not offer any."""
        for name in (PROTOCOL, *SUBPROTOCOLS.values()):
            if name in subprotocols:
                return Subprotocol(name)
        return None


class SpeakingConnection(ServerConnection):
    """A connection over a `SpeakingProtocol`, for `serve(create_connection=...)`.

    `serve` has no way to choose the protocol's class, so the one it made is replaced before use.

    Attributes:
        principal: who the client is; until the handshake has said so, and where it may not come in,
            the refusal that it is to be told.
        address: that limits count it by.
    """

    def __init__(
        self, protocol: ServerProtocol, server: Server, doors: Doors | None = None, **options: Any
    ) -> None:
        speaking = SpeakingProtocol(max_size=MAX_FRAME_BYTES, logger=protocol.logger)
        super().__init__(speaking, server, **options)
        self.principal: Principal | MessageError = unauthorized()
        self.address = ""
        self._doors = doors

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if hasattr(transport, "max_size"):  # of asyncio's own event loop on Unix
            transport.max_size = READ_BYTES
        if self._doors is not None and not self._doors.enter():
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._doors is not None:
            self._doors.leave()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self.transport.abort()
