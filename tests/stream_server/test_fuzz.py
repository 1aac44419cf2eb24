"""Random frames against a live server: no crash, no leak, no stuck session.

EMOTION_FUZZ_FRAMES sets how many; the nightly run takes 100,000 (`make fuzz`).
"""

import asyncio
import contextlib
import gc
import json
import os
import random
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from emotion.engine import Engine
from stream_server.config import Config
from stream_server.server import Server, running
from tests.fakes import fake_engine
from tests.stream_server.client import converse, dial, until

FRAMES: Final = int(os.environ.get("EMOTION_FUZZ_FRAMES", "5000"))
CLIENTS: Final = 8
PER_CONNECTION: Final = 60

VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2.5,
    8000,
    16_000,
    1e308,
    1 << 70,
    "",
    "x",
    "mono",
    [],
    {},
]
VALUES += [
    "call-7",
    "pcm_f32le",
    "mulaw",
    ["mono"],
    ["left", "right"],
    {"session_id": "x"},
    "\ud800",
]
FIELDS = ["stream_id", "encoding", "sample_rate", "channels", "analyze", "window_s", "hop_s", "vad"]
FIELDS += ["adapt", "metadata", "resume", "id", "samples", "type", "surprise"]
TYPES = ["start", "flush", "keepalive", "gap", "stop", "Start", "", "emotion"]


class Stranger:
    """Says anything, from a seed: now what the protocol knows, now what it does not."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def frame(self) -> str | bytes:
        """The next frame."""
        pick = self._random.random()
        if pick < 0.5:
            return self._random.randbytes(self._random.choice([0, 1, 2, 3, 320, 641, 3200, 32_000]))
        if pick < 0.85:
            return self._message()
        if pick < 0.95:
            return self._broken(self._message())
        return "".join(
            self._random.choices('{}[]",:\\\0é\U0001f600 0a', k=self._random.randrange(99))
        )

    def _message(self) -> str:
        message: dict[str, Any] = {"type": self._random.choice(TYPES)}
        for name in self._random.sample(FIELDS, self._random.choice([0, 0, 1, 3])):
            message[name] = self._random.choice(VALUES)
        return json.dumps(message)

    def _broken(self, text: str) -> str:
        at = self._random.randrange(len(text))
        return text[:at] + self._random.choice(["", "}", '"', "\n", "\0"]) + text[at + 1 :]

    def start(self) -> str:
        """A `start` that is mostly right."""
        if self._random.random() < 0.2:
            return self._message()
        fields = {"encoding": ["pcm_s16le", "pcm_f32le", "mulaw"], "vad": [False, True]}
        fields |= {
            "sample_rate": [8000, 16_000, 44_100],
            "hop_s": [0.25, 1.0],
            "adapt": [False, True],
        }
        chosen = {name: self._random.choice(values) for name, values in fields.items()}
        return json.dumps({"type": "start", **chosen})

    @property
    def leaves_rudely(self) -> bool:
        """Whether this connection ends without a close frame."""
        return self._random.random() < 0.3


async def bother(server: Server, stranger: Stranger, frames: int) -> None:
    """Sends so many frames, over as many connections as that takes."""
    while frames > 0:
        count = min(frames, PER_CONNECTION)
        frames -= count
        with contextlib.suppress(ConnectionClosed, InvalidStatus):
            async with dial(server.url) as connection:
                reading = asyncio.create_task(drain(connection))
                await connection.send(stranger.start())
                for _ in range(count - 1):
                    await connection.send(stranger.frame())
                if stranger.leaves_rudely:
                    connection.transport.abort()
                reading.cancel()


async def drain(connection: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for text in connection:
            message = json.loads(text)
            assert message["type"] != "error" or message["code"] != "internal", message


async def test_strangers_leave_the_server_as_it_was(engine: Engine) -> None:
    config = Config(port=0, max_sessions=CLIENTS, resume_grace_s=0.05, max_handshakes_per_minute=0)
    async with running(config, fake_engine()) as server:
        expected, _ = await converse(server.url, {}, [b"\1\0" * 32_000])
        tasks = len(asyncio.all_tasks())
        async with asyncio.TaskGroup() as group:
            for seed in range(CLIENTS):
                group.create_task(bother(server, Stranger(seed), FRAMES // CLIENTS))
        await until(lambda: server.admission.active == 0)
        await until(lambda: len(server._calls) == 0 and not server._calls._tasks)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        after, code = await converse(server.url, {}, [b"\1\0" * 32_000])
        assert [m["type"] for m in after] == [m["type"] for m in expected] and code == 1000
        gc.collect()
        get = server.metrics.registry.get_sample_value
        assert get("emotion_monitor_errors_total", {"code": "internal"}) == 0
