"""Memory that an idle session costs the server: `python -m benchmarks.idle_memory [SESSIONS]`.

Starts a server of its own, opens sessions that have each heard four seconds of audio (so that every
buffer is filled and every window was judged), and divides what its resident memory has grown by.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Final

from websockets.asyncio.client import ClientConnection, connect

from benchmarks.serving import Serving, serving

SECONDS: Final = 4
AUDIO: Final = b"\1\0" * 16_000 * SECONDS
START: Final = json.dumps({"type": "start", "adapt": True})


async def idle(url: str) -> ClientConnection:
    """A session that has been heard to the end and now says nothing."""
    connection = await connect(f"{url}/v1/stream", compression=None)
    await connection.send(START)
    await connection.send(AUDIO)
    windows = 0
    while windows < SECONDS:
        windows += json.loads(await connection.recv())["type"] in ("emotion", "silence")
    return connection


async def resident_kib(server: Serving, sessions: int) -> float:
    """KiB by which the server's resident memory grows with each session."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(await idle(server.url))  # what the first needs, all share
        before = server.held().rss_kib
        for _ in range(sessions):
            await stack.enter_async_context(await idle(server.url))
        return (server.held().rss_kib - before) / sessions


def measure(sessions: int) -> float:
    """KiB an idle session, of a server of its own."""
    with serving("--idle-timeout", "600", "--max-sessions", str(sessions + 2)) as server:
        return asyncio.run(resident_kib(server, sessions))


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{measure(count):.0f} KiB of resident memory a session, mean of {count} idle ones")
