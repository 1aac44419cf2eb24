"""A connection as whoever serves it sees it: sends with patience, and closes while it reads on."""

import asyncio
from contextlib import suppress

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from emotion.errors import MessageError
from emotion.messages import Error, Message
from stream_server.connection import CLOSE_CODES
from stream_server.dialect import Dialect, Order, Reply


class DeafError(Exception):
    """The client does not read what it is sent; its connection has been cut."""


class Wire:
    """Speaks to one client, in its dialect.

    Args:
        connection: open.
        dialect: how the client speaks.
        send_timeout_s: for the client to take a message.
    """

    def __init__(
        self, connection: ServerConnection, dialect: Dialect, send_timeout_s: float
    ) -> None:
        self.connection = connection
        self.dialect = dialect
        self._send_timeout_s = send_timeout_s
        # What a dialect gave to be sent is sent before it is asked again: some number their texts.
        self._speaking = asyncio.Lock()

    async def understand(self, message: str | bytes) -> list[Order]:
        """A message's orders but `Reply`, which have been obeyed.

        Raises:
            MessageError: the message cannot be understood.
            ConnectionClosed: the client went away.
            DeafError: the client does not read.
        """
        async with self._speaking:
            orders = self.dialect.receive(message)
            for order in orders:
                if isinstance(order, Reply):
                    await self.send_text(order.text)
        return [order for order in orders if not isinstance(order, Reply)]

    async def send(self, message: Message) -> None:
        """Sends a message of protocol v1.

        Raises:
            ConnectionClosed: the client went away.
            DeafError: the client does not read.
        """
        async with self._speaking:
            for text in self.dialect.write(message):
                await self.send_text(text)

    async def send_text(self, text: str) -> None:
        """Sends a text frame; raises as `send`."""
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await self.connection.send(text)
        except TimeoutError:
            self.connection.transport.abort()
            raise DeafError from None

    async def tell(self, reason: str) -> None:
        """Says what could not be obeyed; the call goes on."""
        await self.send(Error(code="bad_message", message=reason, fatal=False))

    async def refuse(self, error: MessageError) -> None:
        """Says what is wrong and closes with the code that belongs to it, if anybody listens."""
        with suppress(ConnectionClosed, DeafError):
            await self.send(Error(code=error.code, message=error.message, fatal=True))
            await self.close(CLOSE_CODES[error.code], error.code)

    async def close(self, code: int, reason: str = "") -> None:
        """Closes the connection, and reads on meanwhile: the client's answer comes behind its audio.

        Raises:
            DeafError: the client does not read.
        """
        try:
            async with asyncio.timeout(self._send_timeout_s), asyncio.TaskGroup() as tasks:
                discarding = tasks.create_task(self._until_closed())
                await self.connection.close(code, reason)
                discarding.cancel()
        except TimeoutError:
            self.connection.transport.abort()
            raise DeafError from None

    async def discard(self) -> None:
        """Reads what nobody wants to hear any more.

        Raises:
            ConnectionClosed: that was all.
        """
        while True:
            await self.connection.recv()
            await asyncio.sleep(0)

    async def _until_closed(self) -> None:
        with suppress(ConnectionClosed):
            await self.discard()
