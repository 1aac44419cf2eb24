"""What happens to servers: clients that die in the middle, sockets half open, clocks that jump."""

import asyncio
import contextlib
import gc
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from emotion.engine import Engine
from emotion.session import Session
from stream_server.call import Call
from stream_server.config import Config
from stream_server.hub import Hub
from stream_server.server import Server, running
from stream_server.stream import Stream
from stream_server.wire import Wire
from tests.stream_server.client import converse, until
from tests.stream_server.test_hub import publish, read

HANDSHAKE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
START = json.dumps({"type": "start", "vad": False}).encode()
SECOND = b"\1\0" * 16_000


@pytest.fixture
async def server(engine: Engine) -> AsyncIterator[Server]:
    config = Config(port=0, max_sessions=2, idle_timeout_s=0.5, start_timeout_s=0.5)
    async with running(config, engine) as server:
        yield server


def frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame of RFC 6455, its mask zero."""
    size = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, len(payload))
    return size + bytes(4) + payload


async def raw(
    server: Server, handshake: bytes = HANDSHAKE
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket on which the server has agreed to speak WebSocket."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(handshake)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


async def serves(server: Server) -> bool:
    """Whether somebody else is served as ever, and every slot is free again."""
    await until(lambda: server.admission.active == 0)
    messages, code = await converse(server.url, {"vad": False}, [SECOND])
    return code == 1000 and messages[-1]["windows"] == 1


def reset(writer: asyncio.StreamWriter) -> None:
    """Dies as a killed process does where its machine goes down: RST, no close frame."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


@pytest.mark.parametrize("kept", [1, 5, 14, 20_000])
async def test_a_client_killed_in_the_middle_of_a_frame_is_waited_for(server: Server, kept: int):
    _, writer = await raw(server)
    writer.write(frame(1, START) + frame(2, SECOND)[:kept])
    await writer.drain()
    await until(lambda: len(server._calls) == 1)
    reset(writer)
    await until(lambda: server._calls.parked == 1)
    assert await serves(server)


@pytest.mark.parametrize("path", ["stream", "monitor"])
async def test_a_connection_that_broke_leaves_nothing_to_the_garbage_collector(
    engine: Engine, path: str
):
    config = Config(port=0, max_sessions=2, resume_grace_s=0.05)
    kinds = (Call, Session, Stream, Wire)
    async with running(config, engine) as server:
        gc.collect()
        gc.disable()
        try:
            if path == "stream":
                _, writer = await raw(server)
                writer.write(frame(1, START) + frame(2, SECOND))
                await until(lambda: len(server._calls) == 1)
            else:
                _, writer = await raw(server, HANDSHAKE.replace(b"stream", b"monitor"))
                await until(lambda: server.hub.subscribers == 1)
            reset(writer)
            await until(lambda: not server._calls and server.hub.subscribers == 0)
            # Tasks that have ended go in the loop's next turns.
            await until(lambda: not [o for o in gc.get_objects() if type(o) in kinds])
        finally:
            gc.enable()


@pytest.mark.parametrize("said", [b"", frame(1, START), frame(1, START) + frame(2, SECOND)])
async def test_a_half_open_socket_gives_its_slot_back(server: Server, said: bytes):
    reader, writer = await raw(server)
    writer.write(said)
    # Nothing comes any more, not even an end: the peer's cable was pulled.
    assert await serves(server)
    assert b'"idle"' in await reader.read()
    writer.close()


async def test_garbage_instead_of_http_disturbs_nobody(server: Server):
    parts = urlsplit(server.url)
    for garbage in (os.urandom(2000), b"\r\n" * 500, b"GET " + b"/" * 9000, b"\x16\x03\x01\x02"):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(garbage)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
    assert await serves(server)


async def test_a_wall_clock_that_jumps_back_keeps_cursors_in_order():
    times = iter([1000.0, 1000.1, 500.0, 500.1, 2000.0])
    hub = Hub(10, clock=lambda: next(times))
    start = hub.newest
    publish(hub, [1, 2, 3, 4])
    frames = await read(hub.subscribe(since=start), 4)
    assert [event["seq"] for event in frames] == [1, 2, 3, 4]
    assert [event["time"] for event in frames] == [1000.1, 500.0, 500.1, 2000.0]
    assert sorted(event["cursor"] for event in frames) == [event["cursor"] for event in frames]


async def test_a_wall_clock_that_jumps_leaves_streams_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    import time

    now: Any = iter(range(10**9, 0, -(10**7)))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    assert await serves(server)
