"""The bus over Redis Streams, against a real server that is killed, restarted and lied to."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import stream_server.bus
from emotion.errors import ConfigurationError
from stream_server.bus import KEY, RedisBus
from stream_server.hub import Cursor, Hub, Subscription
from tests.stream_server.client import until
from tests.stream_server.test_hub import publish, read

pytest.importorskip("redis", reason="redis-py is not installed (pip install '.[redis]')")


class RedisServer:
    """A `redis-server` of the test's own, on a free port; what it keeps survives a restart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "always", "logfile": "redis.log"}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self._process = await asyncio.create_subprocess_exec("redis-server", *words)
        async with asyncio.timeout(20):
            while not await self._answers():
                assert self._process.returncode is None, "redis-server did not start"
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None


@pytest.fixture
async def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server: install it (Debian: apt-get install redis-server)")
    monkeypatch.setattr(stream_server.bus, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(stream_server.bus, "BLOCK_MS", 200)
    server = RedisServer(tmp_path)
    await server.start()
    yield server
    await server.kill()


@asynccontextmanager
async def node(url: str, size: int = 1000, **options: Any) -> AsyncIterator[Hub]:
    """A hub with its bus; connected where there is a Redis."""
    hub = Hub(size)
    hub.bus = bus = RedisBus(url, hub, ring_events=size, **options)
    running = asyncio.create_task(bus.run())
    try:
        yield hub
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def bus_of(hub: Hub) -> RedisBus:
    assert isinstance(hub.bus, RedisBus)
    return hub.bus


async def connected(*hubs: Hub) -> None:
    await until(lambda: all(bus_of(hub).connected for hub in hubs))


async def seqs(subscription: Subscription, count: int) -> list[int]:
    return [frame["seq"] for frame in await read(subscription, count)]


async def test_every_node_sees_the_events_of_every_node_in_one_order(redis: RedisServer):
    async with node(redis.url) as here, node(redis.url) as there:
        await connected(here, there)
        both = [here.subscribe(), there.subscribe()]
        for number in range(10):
            publish(here if number % 2 else there, [number])
        first, second = [await read(subscription, 10) for subscription in both]
    assert first == second and sorted(frame["seq"] for frame in first) == list(range(10))


async def test_a_cursor_of_one_node_is_good_at_another_that_starts_later(redis: RedisServer):
    async with node(redis.url) as here:
        await connected(here)
        subscription = here.subscribe()
        publish(here, range(5))
        frames = await read(subscription, 5)
    async with node(redis.url) as later:
        await connected(later)
        since = Cursor.parse(frames[1]["cursor"])
        assert await seqs(later.subscribe(since=since), 3) == [2, 3, 4]


async def test_what_redis_no_longer_keeps_is_a_gap(redis: RedisServer):
    async with node(redis.url, size=100) as here:
        await connected(here)
        subscription = here.subscribe()
        publish(here, range(1000))
        frames = await read(subscription, 1)
        await until(lambda: bus_of(here).buffered == 0)
    async with node(redis.url, size=100) as later:
        await connected(later)
        gap, first = await read(later.subscribe(since=Cursor.parse(frames[0]["cursor"])), 2)
    assert gap["type"] == "gap" and gap["count"] is None and first["seq"] > 500


async def test_redis_goes_away_and_comes_back_and_nothing_is_lost(redis: RedisServer):
    async with node(redis.url) as here:
        await connected(here)
        subscription = here.subscribe()
        stream = aiter(subscription)
        publish(here, range(10))
        await anext(stream)
        heard = [json.loads(await anext(stream))["seq"] for _ in range(10)]
        await redis.kill()
        publish(here, range(10, 400))
        await until(lambda: not bus_of(here).connected)
        publish(here, range(400, 500))
        await redis.start()
        async with asyncio.timeout(20):
            while len(heard) < 500:
                heard.append(json.loads(await anext(stream))["seq"])
        assert heard == list(range(500)) and bus_of(here).dropped == 0


async def test_a_node_that_starts_without_redis_gets_it_later(redis: RedisServer):
    await redis.kill()
    async with node(redis.url) as here:
        publish(here, range(3))
        await asyncio.sleep(0.1)
        await redis.start()
        await connected(here)
        assert await seqs(here.subscribe(since=Cursor(0, 0)), 3) == [0, 1, 2]


async def test_beyond_its_buffer_the_oldest_events_are_dropped_and_counted(redis: RedisServer):
    await redis.kill()
    async with node(redis.url, buffer_events=50) as here:
        await asyncio.sleep(0.05)
        publish(here, range(500))
        assert bus_of(here).buffered <= 50 and bus_of(here).dropped >= 450
        await redis.start()
        await connected(here)
        await until(lambda: bus_of(here).buffered == 0)
        heard = await seqs(here.subscribe(since=Cursor(0, 0)), 500 - bus_of(here).dropped)
        assert heard[-1] == 499 and len(set(heard)) == len(heard)


async def test_a_write_that_was_repeated_is_handed_on_once(redis: RedisServer):
    from redis.asyncio import Redis

    async with node(redis.url) as here, Redis.from_url(redis.url) as other:
        await connected(here)
        subscription = here.subscribe()
        fields = {"stream": "call-1", "id": "call-1:1", "event": '{"time":1,"seq":1}'}
        await other.xadd(KEY, fields)
        await other.xadd(KEY, fields)
        await other.xadd(KEY, fields | {"id": "call-1:2", "event": '{"time":1,"seq":2}'})
        assert await seqs(subscription, 2) == [1, 2]
        assert bus_of(here).repeated == 1


async def test_publishing_never_waits_for_redis(redis: RedisServer):
    async with node("redis://127.0.0.1:9/0") as here:  # nothing listens there
        publish(here, range(20_000))
        assert bus_of(here).buffered <= 10_000


@pytest.mark.parametrize("url", ["http://x", "redis", "localhost:6379"])
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(ConfigurationError, match="bus: expected memory, redis://"):
        RedisBus(url, Hub(1), ring_events=1)


async def test_a_password_is_not_in_the_log(caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    async with node("redis://user:secret@127.0.0.1:9/0") as here:
        publish(here, [1])
        await until(lambda: "trying again" in caplog.text)
    assert "secret" not in caplog.text and "127.0.0.1" in caplog.text


async def test_a_node_that_was_cut_off_for_too_long_tells_of_the_hole(redis: RedisServer):
    async with node(redis.url, size=100) as here, node(redis.url, size=100) as cut_off:
        await connected(here, cut_off)
        subscription = cut_off.subscribe()
        publish(here, range(5))
        stream = aiter(subscription)
        await anext(stream)
        assert [json.loads(await anext(stream))["seq"] for _ in range(5)] == [0, 1, 2, 3, 4]
        bus = bus_of(cut_off)
        reach, bus._client.xread = bus._client.xread, _unreachable
        await until(lambda: not bus.connected)
        publish(here, range(5, 2000))
        await until(lambda: bus_of(here).buffered == 0)
        bus._client.xread = reach
        async with asyncio.timeout(20):
            gap = first = json.loads(await anext(stream))
            while first["type"] == "gap":  # the ring is as small as Redis: it may overflow, too
                first = json.loads(await anext(stream))
        assert gap["type"] == "gap" and gap["count"] is None
        assert first["seq"] > 1000 and Cursor.parse(gap["to"]) < Cursor.parse(first["cursor"])


async def _unreachable(*_: Any, **__: Any) -> Any:
    raise ConnectionError("no route")


async def test_an_error_that_nobody_thought_of_does_not_end_the_bus(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
):
    async with node(redis.url) as here:
        await connected(here)
        reach = bus_of(here)._client.xread

        async def broken(*_: Any, **__: Any) -> Any:
            bus_of(here)._client.xread = reach
            raise KeyError("surprise")

        subscription = here.subscribe()
        bus_of(here)._client.xread = broken
        publish(here, [1])
        assert await seqs(subscription, 1) == [1]
    assert "KeyError" in caplog.text


async def test_flushed_means_read_back_too(redis: RedisServer):
    async with node(redis.url) as here:
        await connected(here)
        publish(here, range(600))
        async with asyncio.timeout(20):
            await bus_of(here).flushed()
        assert here._count == 600
