"""The clients and the real server, with a line between them that breaks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from urllib.parse import urlsplit

import msgspec
import pytest

from clients import backoff
from clients.connect import Access
from clients.link import Heard, Link
from clients.monitor import follow
from emotion.messages import Emotion, Silence, Start, Started, Summary
from tests.fakes import int16_bytes
from tests.speech import speech_like

RATE = 16_000
START = Start(stream_id="call-1", vad=False)


class Line:
    """A TCP relay to a server; breaks each of its connections after the next of these bytes.

    Args:
        server: its url.
        breaks: bytes from the client, or from the server where negative.
    """

    def __init__(self, server: str, *breaks: int) -> None:
        self.server = urlsplit(server)
        self.breaks = list(breaks)
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        end = self.breaks.pop(0) if self.breaks else 1 << 60
        there = await asyncio.open_connection(self.server.hostname, self.server.port)
        up = asyncio.create_task(self._relay(reader, there[1], end if end > 0 else 1 << 60))
        down = asyncio.create_task(self._relay(there[0], writer, -end if end < 0 else 1 << 60))
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        for task, end_of in ((up, there[1]), (down, writer)):
            task.cancel()
            end_of.transport.abort()

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int
    ) -> None:
        while left > 0 and (data := await reader.read(min(left, 4096))):
            writer.write(data)
            await writer.drain()
            left -= len(data)


@asynccontextmanager
async def line(server: str, *breaks: int) -> AsyncIterator[tuple[Line, Access]]:
    relay = Line(server, *breaks)
    async with asyncio.timeout(30), await asyncio.start_server(relay, "127.0.0.1", 0) as listener:
        yield relay, Access(f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}")


async def streamed(access: Access, data: bytes, start: Start = START) -> list[Heard]:
    async with Link(access, start, live=False) as link, asyncio.TaskGroup() as tasks:

        async def send() -> None:
            for first in range(0, len(data), 3_200):
                await link.send(data[first : first + 3_200])
            await link.stop()

        tasks.create_task(send())
        return [heard async for heard in link]


def events(heard: list[Heard]) -> list[dict[str, object]]:
    """Without what differs from one session to the next."""
    kept = [
        msgspec.to_builtins(h.message) for h in heard if isinstance(h.message, Emotion | Silence)
    ]
    names = ("id", "stream_id", "latency_ms")
    return [{name: value for name, value in e.items() if name not in names} for e in kept]


async def test_a_file_over_a_line_that_breaks_gives_the_events_of_one_that_holds(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff.Backoff.__init__, "__defaults__", (0.01, 0.02, lambda: 1.0))
    data = int16_bytes(speech_like(9.6))
    async with line(server) as (_, access):
        whole = events(await streamed(access, data))
    assert len(whole) == 10
    async with line(server, 90_001, -2_000, 60_000, -1_500, 400, 200_003) as (relay, access):
        heard = await streamed(access, data)
    assert events(heard) == whole
    assert relay.connections > 1  # how many depends on how fast results come
    begun = [h.message for h in heard if isinstance(h.message, Started)]
    assert len({message.session_id for message in begun}) == 1
    last = heard[-1].message
    assert isinstance(last, Summary) and last.audio_s == 9.6 and last.windows == 10


async def test_a_monitor_over_a_line_that_breaks_misses_no_event(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff.Backoff.__init__, "__defaults__", (0.01, 0.02, lambda: 1.0))
    ids = []
    start = msgspec.structs.replace(START, stream_id="watched-1")
    async with line(server, *[-3_000] * 4) as (relay, access), asyncio.TaskGroup() as tasks:

        async def watch() -> None:
            async with aclosing(follow(access, "watched-*", since="0-0")) as seen:
                async for event, _ in seen:
                    ids.append(event.id.rpartition(":")[2])
                    if event.type == "summary":
                        return

        tasks.create_task(watch())
        await streamed(Access(server), int16_bytes(speech_like(6)), start)
    assert [name for name in ids if name] == ["0", "1", "2", "3", "4", "5", "6", "end"]
    assert relay.connections > 1
