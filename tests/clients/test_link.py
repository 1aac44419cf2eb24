"""A link over scripted servers: each connection of a test meets the next part of the script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from clients import backoff, link
from clients.connect import Access
from clients.errors import RefusedError, StreamError, UnreachableError
from clients.link import Link
from emotion.messages import Error, Gap, Message, Start, Stop, Warning
from emotion.parsing import parse
from tests.clients.scripts import break_off, hear_start, say
from tests.fakes import silence, started, summary_of

Part = Callable[[ServerConnection], Awaitable[None]]
RATE = 16_000
START = Start(stream_id="call-7")
PATIENCE_S = 20.0


class Script:
    """A server that plays one part a connection; an int is the HTTP status that refuses one."""

    def __init__(self, *parts: Part | int) -> None:
        self.parts = list(parts)
        self.starts: list[Start] = []
        self.paths: list[str] = []
        self.audio = bytearray()
        self.says: list[Message] = []

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        if isinstance(part := self.parts[0], int):
            if len(self.parts) > 1:
                self.parts.pop(0)
            return connection.respond(HTTPStatus(part), "no\n")
        return None

    async def __call__(self, connection: ServerConnection) -> None:
        part = self.parts.pop(0)
        assert not isinstance(part, int)
        self.starts.append(await hear_start(connection))
        await part(connection)

    async def hear(self, connection: ServerConnection, size: int) -> None:
        """Hears until it has heard so many bytes in all."""
        while len(self.audio) < size:
            message = await connection.recv()
            if isinstance(message, bytes):
                self.audio += message
            else:
                self.says.append(parse(message))
                if isinstance(self.says[-1], Stop):
                    return

    def end(self, audio_s: float) -> Part:
        """Resumes after so many bytes as were heard, hears the rest, and ends well."""

        async def part(connection: ServerConnection) -> None:
            await say(connection, started(resumed=True, received_samples=len(self.audio) // 2))
            await self.hear(connection, 1 << 40)
            await say(connection, summary_of(audio_s=audio_s))

        return part

    def broken(self, size: int, *messages: Message) -> Part:
        """Hears so much, says something, and breaks the connection in the middle."""

        async def part(connection: ServerConnection) -> None:
            await say(connection, started())
            await self.hear(connection, size)
            await say(connection, *messages)
            if messages:
                await break_off(connection)
            else:
                connection.transport.abort()

        return part


@asynccontextmanager
async def playing(script: Script) -> AsyncIterator[Access]:
    async with (
        asyncio.timeout(PATIENCE_S),
        serve(script, "127.0.0.1", 0, process_request=script.process_request) as server,
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        yield Access(f"ws://127.0.0.1:{port}")


async def stream(
    script: Script, data: bytes, *, live: bool = True
) -> tuple[list[str], list[str], Exception | None]:
    """Streams data to a script's end: the types of what was heard, the notices, and what failed."""
    heard, notices, failure = [], list[str](), None
    async with playing(script) as access:
        try:
            async with Link(access, START, live=live, notice=notices.append) as stream:
                for first in range(0, len(data), 32_000):
                    await stream.send(data[first : first + 32_000])
                await stream.stop()
                async for message, text in stream:
                    assert type(message).__name__.lower() in text
                    name = type(message).__name__
                    heard.append(f"{name} {getattr(message, 'seq', '')}".strip())
        except StreamError as error:
            failure = error
    return heard, notices, failure


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a doubling time."""
    monkeypatch.setattr(backoff.Backoff.__init__, "__defaults__", (0.01, 0.02, lambda: 1.0))


def recorded(seconds: float) -> bytes:
    """Bytes of which every sample is another."""
    return b"".join(n.to_bytes(2, "little") for n in range(1, round(seconds * RATE) + 1))


@pytest.mark.parametrize("live", [True, False])
async def test_after_a_break_nothing_is_lost_and_nothing_shown_twice(live: bool) -> None:
    data = recorded(3.5)
    script = Script()

    async def again(connection: ServerConnection) -> None:
        del script.audio[48_000:]  # the rest was on its way when the connection broke
        await say(connection, started(resumed=True, received_samples=24_000))
        await say(connection, silence(1, 1.0), silence(2, 2.0), silence(3, 3.0))
        await script.hear(connection, 1 << 40)
        await say(connection, summary_of(audio_s=3.5))

    script.parts = [script.broken(60_000, silence(1, 1.0)), again]
    heard, notices, failure = await stream(script, data, live=live)
    assert failure is None
    assert heard == ["Started", "Silence 1", "Started", "Silence 2", "Silence 3", "Summary"]
    assert bytes(script.audio) == data
    assert [start.resume and start.resume.last_seq for start in script.starts] == [None, 1]
    assert "broke" in notices[0] and "nothing is lost" in notices[1]


async def test_a_server_that_is_away_or_full_is_asked_again() -> None:
    script = Script()

    async def full(connection: ServerConnection) -> None:
        await say(connection, Error(code="at_capacity", message="full", fatal=True))
        await connection.close(1013)

    script.parts = [script.broken(32_000), 503, 502, full, script.end(2.0)]
    heard, _, failure = await stream(script, recorded(2))
    assert failure is None
    assert heard == ["Started", "Started", "Summary"]
    assert bytes(script.audio) == recorded(2)


@pytest.mark.parametrize("stream_id", ["call 7&x=1", None])
async def test_every_connection_names_the_stream_for_whoever_balances_the_load(
    stream_id: str | None,
) -> None:
    script = Script()
    script.parts = [script.broken(32_000), 503, script.end(2.0)]
    async with playing(script) as access, Link(access, Start(stream_id=stream_id)) as stream:
        await stream.send(recorded(2))
        await stream.stop()
        async for _ in stream:
            pass
    assert len(script.paths) == 3 and len(set(script.paths)) == 1
    named = parse_qs(urlsplit(script.paths[0]).query)["stream_id"][0]
    assert named == stream_id if stream_id else len(named) >= 16


async def test_a_break_before_started_begins_anew() -> None:
    script = Script()

    async def nothing(connection: ServerConnection) -> None:
        connection.transport.abort()

    async def whole(connection: ServerConnection) -> None:
        await say(connection, started())
        await script.hear(connection, 1 << 40)
        await say(connection, summary_of(audio_s=1.0))

    script.parts = [nothing, whole]
    heard, _, failure = await stream(script, recorded(1))
    assert (heard, failure) == (["Started", "Summary"], None)
    assert [start.resume for start in script.starts] == [None, None]
    assert bytes(script.audio) == recorded(1)


async def test_a_session_that_was_forgotten_is_begun_again_where_nothing_was_judged() -> None:
    script, data = Script(), recorded(4)

    async def forgotten(connection: ServerConnection) -> None:
        await say(connection, Error(code="unknown_session", message="who?", fatal=True))
        await connection.close(1008)

    async def fresh(connection: ServerConnection) -> None:
        script.audio.clear()
        await say(connection, started(session_id="t"))
        await say(connection, silence(1, 1.0))
        await script.hear(connection, 1 << 40)
        await say(connection, summary_of(audio_s=1.5))

    script.parts = [script.broken(128_000, silence(1, 1.0), silence(2, 2.5)), forgotten, fresh]
    heard, notices, failure = await stream(script, data)
    assert failure is None
    assert heard == ["Started", "Silence 1", "Silence 2", "Started", "Silence 1", "Summary"]
    assert bytes(script.audio) == data[80_000:]
    assert any("times count from 2.5 s" in notice for notice in notices)
    assert script.starts[-1] == START


async def test_a_server_that_shuts_down_before_the_end_is_left_for_another() -> None:
    script, data = Script(), recorded(2)

    async def drains(connection: ServerConnection) -> None:
        await say(connection, started())
        await script.hear(connection, 32_000)
        await say(connection, silence(1, 1.0), summary_of(audio_s=1.0))
        await connection.close(1001)

    async def forgotten(connection: ServerConnection) -> None:
        script.audio.clear()
        await say(connection, Error(code="unknown_session", message="who?", fatal=True))

    async def fresh(connection: ServerConnection) -> None:
        await say(connection, started())
        await script.hear(connection, 1 << 40)
        await say(connection, summary_of(audio_s=1.0))

    script.parts = [drains, forgotten, fresh]
    heard, notices, failure = await stream(script, data)
    assert failure is None
    assert heard[-1] == "Summary" and heard.count("Summary") == 2
    assert bytes(script.audio) == data[32_000:]
    assert "shutting down" in notices[0]


async def test_audio_that_the_backlog_lost_is_declared_and_told() -> None:
    script, data = Script(), recorded(1) * 80
    waiting = asyncio.Event()

    async def hears_little(connection: ServerConnection) -> None:
        await say(connection, started())
        await script.hear(connection, 2)
        del script.audio[2:]
        waiting.set()
        connection.transport.abort()

    script.parts = [hears_little, 503, script.end(80)]
    async with playing(script) as access:
        notices = list[str]()
        async with Link(access, START, notice=notices.append) as line:
            await line.send(data[:2])
            await waiting.wait()
            for first in range(2, len(data), 32_000):
                await line.send(data[first : first + 32_000])
            await line.stop()
            heard = [message async for message, _ in line]
    assert type(heard[-1]).__name__ == "Summary"
    gaps = [said.samples for said in script.says if isinstance(said, Gap)]
    assert sum(gaps) + len(script.audio) // 2 == len(data) // 2
    assert 19 * RATE <= sum(gaps) <= 21 * RATE
    assert any("are lost and count as silence" in notice for notice in notices)


async def test_after_stop_the_summary_is_fetched_by_another_connection() -> None:
    script = Script()

    async def only_the_summary(connection: ServerConnection) -> None:
        await say(connection, started(resumed=True, received_samples=RATE))
        assert isinstance(parse(str(await connection.recv())), Stop)
        await say(connection, Error(code="bad_message", message="after stop", fatal=False))
        await say(connection, summary_of(audio_s=1.0))

    script.parts = [script.broken(1 << 40), only_the_summary]
    heard, _, failure = await stream(script, recorded(1))
    assert (heard, failure) == (["Started", "Started", "Summary"], None)


async def test_a_summary_that_overtakes_the_second_stop_is_the_last_one() -> None:
    script = Script()

    async def at_once(connection: ServerConnection) -> None:
        await say(connection, started(resumed=True, received_samples=RATE))
        await say(connection, summary_of(audio_s=1.0))
        await connection.close(1000)

    script.parts = [script.broken(1 << 40), at_once]
    heard, _, failure = await stream(script, recorded(1))
    assert (heard, failure) == (["Started", "Started", "Summary"], None)


async def test_events_that_the_server_lost_are_heard_of() -> None:
    script = Script()

    async def missed(connection: ServerConnection) -> None:
        await say(connection, started(resumed=True, received_samples=RATE))
        await say(connection, Warning(code="missed_events", message="3 are lost", count=3))
        await say(connection, summary_of(audio_s=1.0))

    script.parts = [script.broken(32_000), missed]
    heard, _, _ = await stream(script, recorded(1))
    assert heard == ["Started", "Started", "Warning", "Summary"]


@pytest.mark.parametrize("status", [401, 404])
async def test_what_waiting_does_not_mend_ends_the_stream(status: int) -> None:
    script = Script()
    script.parts = [script.broken(32_000), status]
    _, _, failure = await stream(script, recorded(1))
    assert isinstance(failure, UnreachableError) and failure.status == status


@pytest.mark.parametrize("status", [401, 503])
async def test_a_refusal_at_the_beginning_is_final(status: int) -> None:
    heard, notices, failure = await stream(Script(status), b"")
    assert isinstance(failure, UnreachableError) and failure.status == status
    assert (heard, notices) == ([], [])


@pytest.mark.parametrize("again", [False, True])
async def test_a_fatal_error_ends_the_stream_with_its_code(again: bool) -> None:
    script = Script()

    async def refuses(connection: ServerConnection) -> None:
        await say(connection, Error(code="internal", message="broken", fatal=True))
        await connection.close(1011)

    script.parts = [script.broken(32_000), refuses] if again else [refuses]
    heard, _, failure = await stream(script, recorded(1))
    assert isinstance(failure, RefusedError) and failure.code == "internal"
    assert heard[-1] == "Error"


async def test_a_full_server_at_the_beginning_is_final() -> None:
    async def full(connection: ServerConnection) -> None:
        await say(connection, Error(code="at_capacity", message="full", fatal=True))

    _, _, failure = await stream(Script(full), b"")
    assert isinstance(failure, RefusedError) and failure.code == "at_capacity"


@pytest.mark.parametrize("live", [True, False])
async def test_a_server_that_stays_away_is_given_up(
    monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    monkeypatch.setattr(link, "RESUME_GRACE_S", 0.1)
    script = Script()
    script.parts = [script.broken(32_000), 503]
    _, _, failure = await stream(script, recorded(3), live=live)
    assert failure is not None and "given up after 0.1 s" in str(failure)


async def test_a_server_that_takes_the_session_and_breaks_it_again_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "RESUME_GRACE_S", 0.2)
    script = Script()
    script.parts = [script.broken(2)] * 100
    _, notices, failure = await stream(script, recorded(1))
    assert failure is not None and "given up" in str(failure)
    assert len([notice for notice in notices if "broke" in notice]) == 1


async def test_a_silent_stream_says_that_it_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "KEEPALIVE_S", 0.01)

    async def waits(connection: ServerConnection) -> None:
        assert parse(str(await connection.recv())) == parse('{"type":"keepalive"}')
        await say(connection, Error(code="idle", message="done", fatal=True))

    async with playing(Script(waits)) as access, Link(access, START) as line:
        with pytest.raises(RefusedError):
            async for _ in line:
                pass


async def test_who_leaves_early_leaves_nothing_running() -> None:
    script = Script()
    script.parts = [script.broken(1 << 40)]
    async with playing(script) as access:
        before = asyncio.all_tasks()
        async with Link(access, START) as line:
            await line.send(b"ab")
        assert {
            task for task in asyncio.all_tasks() - before if "conn_handler" not in str(task)
        } <= (set())
