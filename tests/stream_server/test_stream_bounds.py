"""One stream over a real socket: who is slow, silent, deaf or one too many."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from emotion.engine import Engine
from stream_server.admission import Admission
from stream_server.auth import ANONYMOUS
from stream_server.calls import Calls
from stream_server.config import Config
from stream_server.dialect import Native
from stream_server.hub import Hub
from stream_server.scheduler import Scheduler
from stream_server.server import Server, running
from stream_server.stream import FRAMES_A_TURN, Stream
from tests.fakes import int16_bytes
from tests.speech import speech_like
from tests.stream_server.client import converse, dial, hear, hear_one, say, until
from tests.stream_server.telephony.genesys import Client

SPEECH = int16_bytes(speech_like(5.3))


async def test_an_idle_stream_ends_with_idle_and_a_keepalive_holds_it(engine: Engine) -> None:
    async with running(Config(port=0, idle_timeout_s=0.6), engine) as server:
        async with dial(server.url) as connection:
            await say(connection, {"type": "start"})
            for _ in range(5):
                await asyncio.sleep(0.2)
                await say(connection, {"type": "keepalive"})
            messages = await hear(connection)
    assert [m.get("code") for m in messages] == [None, "idle"]
    assert connection.close_code == 1008


async def test_a_server_that_stood_still_does_not_call_its_clients_idle(engine: Engine) -> None:
    async with running(Config(port=0, idle_timeout_s=0.5), engine) as server:
        async with dial(server.url) as connection:
            await say(connection, {"type": "start"})
            await hear_one(connection)
            await say(connection, SPEECH[:640])
            time.sleep(0.7)  # noqa: ASYNC251 (nothing runs meanwhile, that is the point)
            for _ in range(2):
                await say(connection, {"type": "flush", "id": "still here"})
                assert (await hear_one(connection))["type"] == "flushed"


async def test_who_never_starts_is_let_go(engine: Engine) -> None:
    async with running(Config(port=0, start_timeout_s=0.1), engine) as server:
        messages, code = await converse(server.url, None)
        assert messages[0]["code"] == "idle" and code == 1008
        assert server.admission.active == 0


async def test_a_full_server_refuses_before_the_upgrade(server: Server) -> None:
    async with dial(server.url), dial(server.url), dial(server.url):
        with pytest.raises(InvalidStatus) as refused:
            await converse(server.url, {})
        assert refused.value.response.status_code == 503
        assert b"all 3 sessions are taken" in refused.value.response.body


async def test_a_full_server_tells_a_browser_over_the_websocket(server: Server) -> None:
    async with dial(server.url), dial(server.url), dial(server.url):
        messages, code = await converse(server.url, None, origin=server.url.replace("ws:", "http:"))
        assert messages[0]["code"] == "at_capacity" and code == 1013
        assert server.admission.active == 3


async def test_a_client_that_vanishes_gives_its_slot_back(server: Server) -> None:
    async with dial(server.url) as connection:
        await say(connection, {"type": "start"})
        await hear_one(connection)
        await say(connection, SPEECH[:1234])
        connection.transport.abort()
    await until(lambda: server.admission.active == 0)


async def test_who_says_hours_of_silence_and_vanishes_gives_its_slot_back(server: Server) -> None:
    client = Client()
    async with connect(f"{server.url}/telephony/audiohook", compression=None) as connection:
        await connection.send(client.open())
        for _ in range(2):  # with more, reading pauses, and it is the pings that find out
            await connection.send(client.say("discarded", {"discarded": "PT14400S"}))
        assert (await hear_one(connection))["type"] == "opened"
        connection.transport.abort()
    await until(lambda: server.admission.active == 0 and len(server._calls) == 0)


@asynccontextmanager
async def serving(
    connection: Any, engine: Engine, admission: Admission | None = None, **settings: Any
) -> AsyncIterator[asyncio.Task[None]]:
    """A stream that serves this connection."""
    config = Config(**settings)
    scheduler = Scheduler(engine, 1)
    calls = Calls(engine, scheduler, Hub(100))
    stream = Stream(connection, Native(), calls, ANONYMOUS, config)
    yield asyncio.create_task(stream.serve((admission or Admission(1)).slot))
    await calls.close()
    scheduler.close()


class Deaf:
    """A connection whose client sends but does not read: what is sent to it never leaves."""

    def __init__(self, messages: list[str | bytes]) -> None:
        self.messages = messages
        self.aborted = False
        self.transport = self
        self.close_code = 1006

    async def recv(self) -> str | bytes:
        return self.messages.pop(0) if self.messages else await asyncio.Future()

    async def send(self, text: str) -> None:
        await asyncio.Future()

    def abort(self) -> None:
        self.aborted = True

    async def close(self, code: int, reason: str = "") -> None:
        raise AssertionError("it is aborted: a close frame would wait like the rest")


async def test_many_small_frames_at_once_leave_others_their_turns(engine: Engine) -> None:
    crowd: Any = Deaf(['{"type":"start"}', *[b"\0"] * 1000, '{"type":"stop"}'])
    crowd.send = crowd.close = lambda *_: asyncio.sleep(0)
    left = []
    async with serving(crowd, engine) as stream:
        while not stream.done():
            await asyncio.sleep(0)
            left.append(len(crowd.messages))
    assert max(a - b for a, b in pairwise(left)) <= FRAMES_A_TURN


async def test_who_pings_and_does_not_read_is_cut_off(server: Server) -> None:
    def flood() -> int:
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            client.settimeout(20)
            client.sendall(
                b"GET /v1/stream HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert client.recv(4096).startswith(b"HTTP/1.1 101")
            pings = (b"\x89\xfd\0\0\0\0" + b"x" * 125) * 1000
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 1 << 24:
                    client.sendall(pings)
                    sent += len(pings)
            return sent

    assert await asyncio.to_thread(flood) < 1 << 24
    await until(lambda: server.admission.active == 0)


async def test_a_client_that_does_not_read_is_given_up(engine: Engine) -> None:
    deaf: Any = Deaf(['{"type":"start"}', SPEECH])
    admission = Admission(1)
    async with serving(deaf, engine, admission, send_timeout_s=0.05) as stream:
        await asyncio.wait_for(stream, 20)
    assert deaf.aborted and admission.active == 0


async def test_a_close_that_waits_for_the_client_to_read_is_given_up(engine: Engine) -> None:
    deaf: Any = Deaf(["{"])
    deaf.send = lambda *_: asyncio.sleep(0)
    deaf.close = lambda *_: asyncio.Future()
    async with serving(deaf, engine, send_timeout_s=0.05) as stream:
        await asyncio.wait_for(stream, 20)
    assert deaf.aborted


async def test_a_close_reads_what_the_client_still_sends(engine: Engine) -> None:
    talker: Any = Deaf(["{", *[b"\0"] * 100])
    talker.send = lambda *_: asyncio.sleep(0)
    talker.close = lambda *_: until(lambda: not talker.messages)
    async with serving(talker, engine) as stream:
        await asyncio.wait_for(stream, 20)
    assert not talker.messages and not talker.aborted


async def test_what_a_client_says_makes_no_lines_of_its_own_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await converse(server.url, {"channels": ["a\nforged line"]})
    async with dial(server.url) as connection:
        await say(connection, {"type": "start"})
        await connection.close(1000, "bye\nforged line")
    await until(lambda: "went away" in caplog.text)
    assert "\nforged line" not in caplog.text
