"""Following calls over scripted servers, and what people see of them."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from rich.console import Console
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from clients import backoff, monitor
from clients.calls import FADE_S, GONE_S, MAX_ROWS, Calls, Tapped, alert_line, decode
from clients.connect import Access
from clients.errors import RefusedError, StreamError, UnreachableError
from clients.monitor import Memory, follow
from emotion.errors import MessageError
from emotion.messages import Alert, Message, Smoothed
from tests.clients.conftest import Ran
from tests.clients.scripts import break_off
from tests.fakes import silence, started, summary_of

Client = Callable[..., Ran]
Stub = Callable[..., str]
Part = Callable[[ServerConnection], Awaitable[None]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a doubling time."""
    monkeypatch.setattr(backoff.Backoff.__init__, "__defaults__", (0.01, 0.02, lambda: 1.0))


def tapped(cursor: str, message: Message, **fields: Any) -> str:
    """An event as the wire has it."""
    event = {"cursor": cursor, "time": 1.5} | msgspec.to_builtins(message) | fields
    return msgspec.json.encode(event).decode()


def shouting() -> Alert:
    return Alert(
        id="s:alert:1",
        stream_id="call-7",
        session_id="s",
        channel="mono",
        rule="angry",
        state="raised",
        at_s=12.0,
        since_s=2.0,
        message="angry above 0.6 for 10 s",
    )


def error(code: str) -> str:
    return f'{{"type":"error","code":"{code}","message":"no","fatal":true}}'


class Script:
    """A server that plays one part a connection (an int: an HTTP status), the last one again."""

    def __init__(self, *parts: list[str | int | None] | int) -> None:
        self.parts = list(parts)
        self.queries: list[dict[str, list[str]]] = []

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        assert url.path == "/v1/monitor"
        self.queries.append(parse_qs(url.query))
        if isinstance(part := self.parts[0], int):
            self._next()
            return connection.respond(HTTPStatus(part), "no\n")
        return None

    async def __call__(self, connection: ServerConnection) -> None:
        """Says the texts of a part; a number closes with that code, None breaks the connection."""
        part = self._next()
        assert not isinstance(part, int)
        for said in part:
            if said is None:
                await break_off(connection)
            elif isinstance(said, int):
                await connection.close(said)
            else:
                await connection.send(said)
        await connection.wait_closed()

    def _next(self) -> list[str | int | None] | int:
        return self.parts.pop(0) if len(self.parts) > 1 else self.parts[0]


async def followed(script: Script, count: int, since: str | None = None) -> list[str]:
    """The cursors of the first so many events."""
    cursors, notices = [], list[str]()
    async with (
        asyncio.timeout(20),
        serve(script, "127.0.0.1", 0, process_request=script.process_request) as server,
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        access = Access(f"ws://127.0.0.1:{port}")
        async with aclosing(follow(access, "call-*", since, notices.append)) as events:
            async for seen in events:
                cursors.append(seen.event.cursor)
                if len(cursors) == count:
                    break
    return cursors


async def test_after_a_break_it_asks_from_the_last_cursor_and_shows_nothing_twice() -> None:
    one, two, three = (tapped(f"0-{n}", silence(n)) for n in (1, 2, 3))
    script = Script(
        [one, two, None], 503, [two, three, 1001], [tapped("0-4", summary_of(audio_s=1))]
    )
    assert await followed(script, 4) == ["0-1", "0-2", "0-3", "0-4"]
    assert [query.get("since") for query in script.queries] == [None, ["0-2"], ["0-2"], ["0-3"]]
    assert {tuple(query["streams"]) for query in script.queries} == {("call-*",)}


async def test_it_begins_after_the_event_that_was_named() -> None:
    script = Script([tapped("0-9", silence(1))])
    assert await followed(script, 1, "0-8") == ["0-9"]
    assert script.queries[0]["since"] == ["0-8"]


async def test_a_gap_is_an_event_and_moves_the_cursor() -> None:
    gap = '{"type":"gap","cursor":"0-7","from":"0-1","to":"0-7","count":6}'
    script = Script([gap, None], [gap, tapped("0-8", silence(1))])
    assert await followed(script, 3) == ["0-7", "0-7", "0-8"]
    assert script.queries[1]["since"] == ["0-7"]


async def test_a_full_server_is_asked_again() -> None:
    script = Script([error("at_capacity"), 1013], [tapped("0-1", silence(1))])
    assert await followed(script, 1) == ["0-1"]


@pytest.mark.parametrize("status", [401, 503])
async def test_a_refusal_at_the_beginning_is_final(status: int) -> None:
    with pytest.raises(UnreachableError) as caught:
        await followed(Script(status), 1)
    assert caught.value.status == status


async def test_credentials_that_are_not_valid_any_more_are_final() -> None:
    with pytest.raises(UnreachableError, match="401"):
        await followed(Script([tapped("0-1", silence(1)), None], 401), 2)


async def test_a_question_that_cannot_be_answered_is_final() -> None:
    with pytest.raises(RefusedError, match="bad_message"):
        await followed(Script([error("bad_message")]), 1)
    with pytest.raises(StreamError, match="1008"):
        await followed(Script([1008]), 1)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type":7}', "\u00e4"])
async def test_what_is_no_event_is_one_line(text: str) -> None:
    with pytest.raises(MessageError, match="not an event"):
        decode(text)


def test_memory_is_bounded_and_keeps_what_was_seen_last() -> None:
    memory = Memory(size=2)
    assert [memory.is_new(name) for name in "abacab"] == [True, True, False, True, False, True]


def test_a_line_an_event_as_on_the_wire_and_notices_beside_it(client: Client, stub: Stub) -> None:
    odd = tapped("0-1", silence(1), future=[1e3]).replace(":", " : ")
    newer = '{"cursor":"0-2","time":1,"type":"weather","id":"x"}'
    script = Script([odd, newer, None], [odd, error("unauthorized")])
    url = stub(script, process_request=script.process_request)
    ran = client("monitor", "--url", url, "--streams", "call-*", "--token", "secret")
    assert (ran.code, ran.out) == (2, f"{odd}\n{newer}\n")
    notice, last = ran.err.splitlines()
    assert notice.startswith("notice: the connection broke") and "unauthorized" in last


def test_no_server_is_one_line_that_says_so(client: Client, unused_tcp_port: int) -> None:
    ran = client("monitor", "--url", f"ws://127.0.0.1:{unused_tcp_port}")
    assert ran.code == 2 and "nothing listens there" in ran.error


# --- the table ---


def shown(calls: Calls, now: float = 100.0, height: int = 50) -> list[str]:
    screen = io.StringIO()
    Console(file=screen, width=100, color_system=None).print(calls.table(now, height))
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def event(type: str, call: str = "a", **fields: Any) -> Tapped:
    whole = {"time": 100.0, "id": f"{call}:1", "stream_id": f"call-{call}", "channel": "mono"}
    return Tapped(type=type, **whole | fields)


SAD = Smoothed(label="sad", probabilities={"sad": 0.52, "calm": 0.48})


def test_a_row_says_what_is_heard_and_since_when() -> None:
    calls = Calls()
    calls.apply(event("emotion", smoothed=SAD, end_s=83.0, time=98.0))
    title, _, row = shown(calls)
    assert title == "1 channel live"
    assert row.split() == ["call-a", "mono", "sad", "52%", "1:23.0", "2", "s", "ago"]


def test_silence_keeps_what_was_heard_before() -> None:
    calls = Calls()
    calls.apply(event("emotion", smoothed=SAD))
    calls.apply(event("silence", end_s=4.0))
    assert "sad" in shown(calls)[2] and "0:04.0" in shown(calls)[2]


def test_a_call_that_began_has_a_row_for_each_of_its_channels() -> None:
    calls = Calls()
    calls.apply(decode(tapped("0-1", started(analyze=("left", "right")))))
    assert [line.split()[1] for line in shown(calls, 1.5)[2:]] == ["right", "left"]


def test_an_ended_call_fades_and_goes() -> None:
    calls = Calls()
    for call in ("a", "b"):
        calls.apply(event("emotion", call, smoothed=SAD))
    calls.apply(event("summary", "a", id="a:end", channel=""))
    title, _, second, first = shown(calls)
    assert title == "1 channel live" and "ended" in first and "ended" not in second
    assert len(shown(calls, 100 + FADE_S + 1)) == 3


def test_a_call_whose_end_fell_into_a_gap_goes_at_last() -> None:
    calls = Calls()
    calls.apply(event("emotion", smoothed=SAD))
    assert len(shown(calls, 100 + GONE_S)) == 3
    shown(calls, 101 + GONE_S)
    assert len(calls) == 0


def test_rows_are_bounded_to_the_most_recent() -> None:
    calls = Calls()
    for n in range(MAX_ROWS + 3):
        calls.apply(event("silence", str(n), time=float(n)))
    calls.apply(event("silence", "3", time=9999.0))
    calls.apply(event("silence", "new", time=9999.0))
    assert len(calls) == MAX_ROWS
    lines = shown(calls, float(MAX_ROWS), height=MAX_ROWS + 10)
    assert any(line.startswith("call-3 ") for line in lines)
    assert not any(line.startswith("call-4 ") for line in lines)


def test_what_does_not_fit_on_the_screen_is_counted() -> None:
    calls = Calls()
    for n in range(20):
        calls.apply(event("silence", str(n)))
    lines = shown(calls, height=10)
    assert len(lines) <= 10 and lines[-1] == "and 14 more"


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([6], "6 events missed in 1 gap"),
        ([1], "1 event missed in 1 gap"),
        ([2, 3], "5 events missed in 2 gaps"),
        ([None], "an unknown number of events missed in 1 gap"),
    ],
)
def test_gaps_are_told(counts: list[int | None], said: str) -> None:
    calls = Calls()
    for count in counts:
        calls.apply(event("gap", count=count))
    assert said in " ".join(" ".join(shown(calls)).split())


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ("raised", "ALERT   call-a mono  angry: angry above 0.6 for 10 s, since 1:00.0"),
        ("cleared", "cleared call-a mono  angry: angry above 0.6 for 10 s, over at 1:15.0"),
    ],
)
def test_an_alert_is_a_line_of_its_own(state: str, line: str) -> None:
    fields = {"rule": "angry", "message": "angry above 0.6 for 10 s", "since_s": 60.0, "at_s": 75.0}
    assert alert_line(event("alert", state=state, **fields)).plain == line


def test_an_alert_is_no_row_of_the_table() -> None:
    calls = Calls()
    calls.apply(event("alert", id="a:alert:1", state="raised"))
    assert len(calls) == 0


def test_a_newer_servers_event_changes_nothing() -> None:
    calls = Calls()
    calls.apply(event("weather"))
    assert len(calls) == 0


def test_a_terminal_shows_the_table(
    client: Client, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "REFRESH_S", 0.01)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")

    async def handler(connection: ServerConnection) -> None:
        await connection.send(tapped("0-1", silence(1), stream_id="call-7", time=4e9))
        await connection.send(tapped("0-2", shouting(), time=4e9))
        await asyncio.sleep(0.2)
        await connection.send(error("unauthorized"))

    ran = client("monitor", "--url", stub(handler))
    assert ran.code == 2
    assert "call-7" in ran.out and "1 channel live" in ran.out
    assert "ALERT" in ran.out and "angry above 0.6 for 10 s, since 0:02.0" in ran.out
