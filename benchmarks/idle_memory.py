"""Memory that an idle session costs the server: `python benchmarks/idle_memory.py [SESSIONS]`.

Starts a server of its own, opens sessions that adapt and have each heard four seconds of speech in
frames of 100 ms (so that every buffer is filled, every window was judged and the session has statistics
of its own), and divides what its resident memory has grown by. The WebSocket library keeps a
connection's last frame: whoever sends longer ones costs more.
"""

import asyncio
import json
import re
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from websockets.asyncio.client import ClientConnection, connect

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


async def resident_kib(url: str, pid: int, sessions: int) -> float:
    """KiB by which the server's resident memory grows with each session."""
    async with AsyncExitStack() as stack:
        for _ in range(WARM_UP):
            await stack.enter_async_context(await idle(url))
        before = rss_kib(pid)
        for _ in range(sessions):
            await stack.enter_async_context(await idle(url))
        return (rss_kib(pid) - before) / sessions


def rss_kib(pid: int) -> int:
    """Resident memory, as Linux counts it."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])


def measure(sessions: int) -> float:
    """KiB an idle session, of a server of its own."""
    command = [sys.executable, "-m", "stream_server", "--port", "0", "--idle-timeout", "600"]
    command += ["--max-sessions", str(sessions + WARM_UP + 1), "--max-handshakes-per-minute", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            url = next(m[1] for line in server.stderr if (m := re.search(r"(ws://\S+)", line)))
            return asyncio.run(resident_kib(url, server.pid, sessions))
        finally:
            server.terminate()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{measure(count):.0f} KiB of resident memory a session, mean of {count} idle ones")
