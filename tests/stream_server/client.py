"""A bare client for the tests: says what it is told, hears everything, knows no library of ours."""

import asyncio
import http.client
import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlparse

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Piece = bytes | str | dict[str, Any]
STOP = {"type": "stop"}
PATIENCE_S = 30.0


def dial(url: str, **options: Any) -> connect:
    """A connection to `/v1/stream`, for `async with`."""
    return connect(f"{url}/v1/stream", compression=None, **options)


async def say(connection: ClientConnection, piece: Piece) -> None:
    """Sends audio (bytes), a text frame (str) or a message (dict)."""
    await connection.send(json.dumps(piece) if isinstance(piece, dict) else piece)


async def hear(connection: ClientConnection) -> list[dict[str, Any]]:
    """All messages until the connection closes."""
    messages = []
    try:
        async for text in connection:
            messages.append(json.loads(text))
    except ConnectionClosed:
        pass
    return messages


async def hear_one(connection: ClientConnection) -> dict[str, Any]:
    """The next message."""
    message: dict[str, Any] = json.loads(await asyncio.wait_for(connection.recv(), PATIENCE_S))
    return message


async def converse(
    url: str, start: dict[str, Any] | None, pieces: Iterable[Piece] = (), **options: Any
) -> tuple[list[dict[str, Any]], int | None]:
    """Starts, says all pieces and `stop`, and listens at the same time.

    Returns:
        all messages, and the close code.
    """
    async with asyncio.timeout(PATIENCE_S), dial(url, **options) as connection:
        listening = asyncio.create_task(hear(connection))
        try:
            if start is not None:
                await say(connection, {"type": "start", **start})
            for piece in pieces:
                await say(connection, piece)
            if start is not None:
                await say(connection, STOP)
        except ConnectionClosed:
            pass
        return await listening, connection.close_code


def of_type(messages: Iterable[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    """The messages of these types."""
    return [message for message in messages if message["type"] in kinds]


def without_clock(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events without what differs from run to run: ids and latency."""
    clock = ("id", "session_id", "stream_id", "latency_ms")
    return [{k: v for k, v in message.items() if k not in clock} for message in messages]


async def ask(
    url: str, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    """A plain HTTP request: the status, the body and the headers of the answer."""

    def request() -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", urlparse(url).port, timeout=20)
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        result = answer.status, answer.read(), dict(answer.getheaders())
        connection.close()
        return result

    return await asyncio.to_thread(request)


async def until(condition: Callable[[], Any]) -> None:
    """Waits until the condition holds; fails after a while."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.01)
