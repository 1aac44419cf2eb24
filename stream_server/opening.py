"""What a client says before it has a call: who it is, where the handshake did not tell, and `start`."""

import asyncio
from collections.abc import Callable

from websockets.frames import CloseCode

from emotion.errors import MessageError
from emotion.messages import Start
from stream_server.auth import Principal
from stream_server.dialect import Audio, Close, Order, Token
from stream_server.race import first_of, until
from stream_server.wire import Wire


class Opening:
    """Reads a connection up to `start`.

    Args:
        wire: nothing read from it yet.
        principal: who connected, or the refusal that stands until a message brings credentials.
        identify: finds out whose credentials a message brought; raises `unauthorized`.
        timeout_s: for `start` to come.
        draining: set where the server ends.

    Attributes:
        principal: as given, or whose credentials came since.
    """

    def __init__(
        self,
        wire: Wire,
        principal: Principal | MessageError,
        identify: Callable[[str], Principal] | None,
        timeout_s: float,
        draining: asyncio.Event,
    ) -> None:
        self.principal = principal
        self._wire = wire
        self._identify = identify
        self._timeout_s = timeout_s
        self._draining = draining

    def require_principal(self) -> Principal:
        """Who connected.

        Raises:
            MessageError: nobody who is known.
        """
        if isinstance(self.principal, MessageError):
            raise self.principal
        return self.principal

    async def orders(self) -> tuple[Start, list[Order]] | None:
        """`start` and what came with it; None where it will not come, and the connection is closed.

        Raises:
            MessageError: nothing came in time, or something else came first.
            ConnectionClosed: the client went away.
            DeafError: the client does not read.
        """
        orders: list[Order] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                while not orders:
                    message = await self._receive_unless_draining()
                    if message is None:
                        await self._wire.close(CloseCode.GOING_AWAY, "the server is shutting down")
                        return None
                    orders = await self._wire.understand(message)
                    orders = [order for order in orders if not self._identified(order)]
        except TimeoutError:
            reason = f"no start within {self._timeout_s:g} s of connecting"
            raise MessageError("idle", reason) from None
        first, *early = orders
        if isinstance(first, Close):
            await self._wire.close(CloseCode.NORMAL_CLOSURE)
            return None
        if isinstance(first, Audio):
            raise MessageError("bad_message", "a binary frame before start: send start first")
        if not isinstance(first, Start):
            raise MessageError("bad_message", "expected start as the first message")
        return first, early

    def _identified(self, order: Order) -> bool:
        """Takes credentials that came in a message; whether the order was that."""
        if isinstance(order, Token) and self._identify is not None:
            self.principal = self._identify(order.value)
        return isinstance(order, Token)

    async def _receive_unless_draining(self) -> str | bytes | None:
        return await first_of(self._wire.connection.recv(), until(self._draining))
