"""What scripted servers hear and do."""

from contextlib import suppress

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from emotion.messages import Message, Start, encode
from emotion.parsing import parse


async def hear_start(connection: ServerConnection) -> Start:
    """The first message."""
    message = parse(str(await connection.recv()))
    assert isinstance(message, Start)
    return message


async def say(connection: ServerConnection, *messages: Message) -> None:
    """Sends messages."""
    for message in messages:
        await connection.send(encode(message))


async def break_off(connection: ServerConnection) -> None:
    """Ends the connection without a closing handshake, behind all that was said."""
    connection.transport.write_eof()
    with suppress(ConnectionClosed):
        while True:
            await connection.recv()
