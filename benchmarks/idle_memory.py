"""Memory that an idle session costs the server: `python -m benchmarks.idle_memory [SESSIONS]`.

Starts a server of its own, opens sessions that adapt and have each heard four seconds of speech in
frames of 100 ms (so that every buffer is filled, every window was judged and the session has statistics
of its own), and divides what its resident memory has grown by. A session in which another voice is
suspected has a second set of statistics: 32 KiB more with 4,096 dimensions. The WebSocket library keeps
a connection's last frame: whoever sends longer ones costs more.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Final

from websockets.asyncio.client import ClientConnection, connect

from benchmarks.serving import ALLOCATOR, Serving, serving
from clients.synthetic import speech_like
from emotion.audio import to_pcm

SECONDS: Final = 4
WARM_UP: Final = 20
"""Sessions before the first measurement: they fill what the allocator has taken and not used yet."""
FRAME_BYTES: Final = 3_200  # 100 ms
START: Final = json.dumps({"type": "start", "adapt": True})


async def idle(url: str) -> ClientConnection:
    """A session that has been heard to the end and now says nothing."""
    connection = await connect(f"{url}/v1/stream", compression=None)
    await connection.send(START)
    speech = to_pcm(speech_like(SECONDS)).tobytes()
    for first in range(0, len(speech), FRAME_BYTES):
        await connection.send(speech[first : first + FRAME_BYTES])
    windows = 0
    while windows < SECONDS:
        windows += json.loads(await connection.recv())["type"] in ("emotion", "silence")
    return connection


async def resident_kib(server: Serving, sessions: int) -> float:
    """KiB by which the server's resident memory grows with each session."""
    async with AsyncExitStack() as stack:
        for _ in range(WARM_UP):
            await stack.enter_async_context(await idle(server.url))
        before = server.held().rss_kib
        for _ in range(sessions):
            await stack.enter_async_context(await idle(server.url))
        return (server.held().rss_kib - before) / sessions


def measure(sessions: int) -> float:
    """KiB an idle session, of a server of its own."""
    most = str(sessions + WARM_UP + 1)
    options = ("--idle-timeout", "600", "--max-sessions", most)
    with serving(*options, environment=ALLOCATOR) as server:
        return asyncio.run(resident_kib(server, sessions))


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{measure(count):.0f} KiB of resident memory a session, mean of {count} idle ones")
