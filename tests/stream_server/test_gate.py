"""Who is let through the handshake, over real sockets."""

import asyncio
import base64
import contextlib
import hashlib
import logging
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlparse

import pytest
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request

import stream_server.gate
from emotion.engine import Engine
from stream_server.admission import Admission
from stream_server.auth import Authenticator, Principal, Role, unauthorized
from stream_server.config import Config
from stream_server.gate import Gate
from stream_server.metrics import Metrics
from stream_server.server import Server, running
from stream_server.tables import Token
from tests.stream_server.client import ask, converse, dial, hear, hear_one, say, until

PUBLISHER, WATCHER = "publish-hush", "monitor-hush"
TOKENS = tuple(
    Token(name=role, sha256=hashlib.sha256(text.encode()).hexdigest(), roles=(role,))
    for role, text in (("publish", PUBLISHER), ("monitor", WATCHER))
)


@pytest.fixture
async def server(engine: Engine) -> AsyncIterator[Server]:
    async with running(Config(port=0, max_sessions=3, tokens=TOKENS), engine) as server:
        yield server


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def own(server: Server) -> str:
    """The origin of the server's own pages."""
    return server.url.replace("ws:", "http:")


def refusals(metrics: Metrics, reason: str) -> float:
    return (
        metrics.registry.get_sample_value("emotion_monitor_refusals_total", {"reason": reason})
        or 0.0
    )


async def status_of(url: str, **options: Any) -> int:
    """The HTTP status of a refused handshake."""
    with pytest.raises(InvalidStatus) as refused:
        await converse(url, None, **options)
    return refused.value.response.status_code


# --- tokens ---


async def test_a_token_opens_a_stream_by_header_query_and_subprotocol(server: Server) -> None:
    offered = base64.urlsafe_b64encode(PUBLISHER.encode()).decode().rstrip("=")
    for options in (
        {"additional_headers": bearer(PUBLISHER)},
        {"subprotocols": ["emotion.v1", f"bearer.{offered}"]},
        {"subprotocols": ["emotion.v1", f"bearer.{offered}"], "origin": own(server)},
    ):
        messages, code = await converse(server.url, {}, **options)
        assert messages[0]["type"] == "started" and code == 1000


async def test_a_credential_among_the_subprotocols_is_never_agreed_to(server: Server) -> None:
    offered = base64.urlsafe_b64encode(PUBLISHER.encode()).decode().rstrip("=")
    async with dial(server.url, subprotocols=[f"bearer.{offered}", "emotion.v1"]) as connection:
        assert connection.subprotocol == "emotion.v1"
    async with dial(server.url, subprotocols=[f"bearer.{offered}"]) as connection:
        assert connection.subprotocol is None
        assert connection.response is not None
        assert "Sec-WebSocket-Protocol" not in connection.response.headers


async def test_every_plain_refusal_is_the_same_401(server: Server) -> None:
    seen = set()
    for headers in ({}, bearer("unknown"), bearer(WATCHER), bearer("")):
        with pytest.raises(InvalidStatus) as refused:
            await converse(server.url, None, additional_headers=headers)
        response = refused.value.response
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        seen.add(bytes(response.body or b""))
    assert seen == {unauthorized().message.encode() + b"\n"}
    assert server.admission.active == 0 and refusals(server.metrics, "unauthorized") == 4


async def test_a_browser_without_a_token_is_told_over_the_websocket_and_holds_no_slot(
    server: Server,
) -> None:
    async with dial(server.url, origin=own(server)) as connection:
        (error,) = await hear(connection)
        assert server.admission.active == 0
    assert (error["type"], error["code"], error["fatal"]) == ("error", "unauthorized", True)
    assert error["message"] == unauthorized().message and connection.close_code == 1008


async def test_a_full_server_tells_only_who_may_come_in(server: Server) -> None:
    headers = {"additional_headers": bearer(PUBLISHER)}
    async with (
        dial(server.url, **headers),
        dial(server.url, **headers),
        dial(server.url, **headers),
    ):
        assert await status_of(server.url) == 401
        assert await status_of(server.url, **headers) == 503
    assert refusals(server.metrics, "at_capacity") == 1


async def test_health_is_open_and_the_rest_needs_the_role_to_look(server: Server) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await ask(server.url, path))[0] == 200
    for path in ("/metrics", "/v1/info"):
        for headers in ({}, bearer("unknown"), bearer(PUBLISHER)):
            status, body, answered = await ask(server.url, path, headers=headers)
            assert status == 401 and answered["WWW-Authenticate"] == "Bearer"
            assert body == unauthorized().message.encode() + b"\n"
        assert (await ask(server.url, path, headers=bearer(WATCHER)))[0] == 200
        assert (await ask(server.url, f"{path}?token={WATCHER}"))[0] == 200
        assert (await ask(server.url, path, "HEAD"))[0] == 401


async def test_metrics_can_be_opened_alone(engine: Engine) -> None:
    async with running(Config(port=0, tokens=TOKENS, open_metrics=True), engine) as server:
        assert (await ask(server.url, "/metrics"))[0] == 200
        assert (await ask(server.url, "/v1/info"))[0] == 401


# --- origins ---


async def test_a_page_from_elsewhere_gets_403_whatever_token_it_has(server: Server) -> None:
    foreign = {"origin": "http://evil.example", "additional_headers": bearer(PUBLISHER)}
    assert await status_of(server.url, **foreign) == 403
    assert refusals(server.metrics, "origin") == 1


async def test_the_log_names_a_refused_page_once_and_what_lets_it_in(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert await status_of(server.url, origin="http://desk.example") == 403
    said = [record for record in caplog.records if "http://desk.example" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.WARNING]
    assert "--origins" in said[0].getMessage()


async def test_however_many_pages_are_refused_the_log_names_some(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_server.gate, "MAX_TOLD", 2)
    for number in range(5):
        assert await status_of(server.url, origin=f"http://{number}.example" + "x" * 900) == 403
    said = [text for text in caplog.messages if "refused" in text]
    assert len(said) == 3 and "no longer told" in said[-1]
    assert max(map(len, said)) < 400


async def test_origins_can_be_listed(engine: Engine) -> None:
    config = Config(port=0, origins=("https://desk.example",))
    async with running(config, engine) as server:
        messages, _ = await converse(server.url, {}, origin="https://desk.example")
        assert messages[0]["type"] == "started"
        assert await status_of(server.url, origin=own(server)) == 403


async def test_without_tokens_a_rebound_name_does_not_lead_here(engine: Engine) -> None:
    async with running(Config(port=0), engine) as server:
        port = urlparse(server.url).port
        key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /v1/stream HTTP/1.1\r\nHost: evil.example:{port}\r\n"
            f"Origin: http://evil.example:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\n".encode()
            + key
        )
        assert b" 403 " in await asyncio.wait_for(reader.readline(), 20)
        writer.close()


# --- limits ---


async def test_an_address_that_asks_too_often_gets_429_but_health(engine: Engine) -> None:
    async with running(Config(port=0, max_handshakes_per_minute=3), engine) as server:
        assert [(await ask(server.url, "/v1/info"))[0] for _ in range(3)] == [200] * 3
        status, _, headers = await ask(server.url, "/v1/info")
        assert status == 429 and headers["Retry-After"] == "5"
        assert await status_of(server.url) == 429
        assert await status_of(server.url, origin=own(server)) == 429
        assert (await ask(server.url, "/healthz"))[0] == 200
        assert refusals(server.metrics, "rate") == 3


async def test_clients_of_a_trusted_proxy_are_counted_apart(engine: Engine) -> None:
    config = Config(port=0, max_handshakes_per_minute=1, trusted_proxies=("127.0.0.0/8",))
    async with running(config, engine) as server:
        for address in ("1.1.1.1", "2.2.2.2"):
            headers = {"X-Forwarded-For": f"9.9.9.9, {address}"}
            assert (await ask(server.url, "/v1/info", headers=headers))[0] == 200
            assert (await ask(server.url, "/v1/info", headers=headers))[0] == 429


async def test_a_connection_too_many_is_cut_off_and_room_comes_back(engine: Engine) -> None:
    async with running(Config(port=0, max_connections=2), engine) as server:
        port = urlparse(server.url).port or 0
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        try:
            await asyncio.sleep(0.1)
            with pytest.raises(ConnectionError):
                await ask(server.url, "/healthz")
        finally:
            for connection in held:
                connection.close()
        async with asyncio.timeout(20):
            while True:
                try:
                    assert (await ask(server.url, "/healthz"))[0] == 200
                    break
                except ConnectionError:
                    await asyncio.sleep(0.05)
        assert refusals(server.metrics, "connections") >= 1


async def test_connections_are_counted_out_whichever_way_they_end(engine: Engine) -> None:
    async with running(Config(port=0, max_connections=1), engine) as server:
        for _ in range(3):
            assert (await ask(server.url, "/healthz"))[0] == 200
            await converse(server.url, {})
            async with dial(server.url) as connection:
                await say(connection, {"type": "start"})
                await hear_one(connection)
                connection.transport.abort()
            await asyncio.sleep(0.1)


async def test_headers_beyond_all_measure_are_refused_before_they_are_read(server: Server) -> None:
    offered = ["bearer.VA"] * 5000
    headers = [("Sec-WebSocket-Protocol", ",".join(offered[:800]))] * 6
    assert await status_of(server.url, additional_headers=headers) == 431


async def test_a_client_that_says_nothing_or_garbage_makes_no_error_of_ours(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    for said in (
        b"",
        b"\x16\x03\x01\x02\x00" * 9,
        b"GET / HTTP/9\r\n\r\n",
        b"\r\n" * 99,
        b"\0" * 20_000,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlparse(server.url).port)
        writer.write(said)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 20)
        writer.close()
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


# --- logs ---


async def test_no_token_reaches_any_log_however_verbose(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "websockets")  # as logs.configure leaves it
    offered = base64.urlsafe_b64encode(b"wrong-hush").decode().rstrip("=")
    await converse(server.url, {}, additional_headers=bearer(PUBLISHER))
    await status_of(server.url, additional_headers=bearer("wrong-hush"))
    await status_of(server.url, subprotocols=[f"bearer.{offered}"])
    await ask(server.url, "/metrics?token=wrong-hush")
    await ask(server.url, "/v1/stream?token=wrong-hush")
    for line in (
        b"GET /?token=wrong-hush\r\n\r\n",
        b"GET /?token=wrong-hush HTTP/1.1\r\nx\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlparse(server.url).port)
        writer.write(line)
        await asyncio.wait_for(reader.read(), 20)
        writer.close()
    said = "".join(f"{logging.Formatter().format(record)}\n" for record in caplog.records)
    assert "connection open" in said and "401" in said
    assert "hush" not in said and offered not in said


# --- who may watch, and how much one token may have ---


async def test_events_need_the_role_to_watch_and_are_those_of_the_tokens_streams(
    engine: Engine,
) -> None:
    sha256 = hashlib.sha256(b"part").hexdigest()
    part = Token(name="part", sha256=sha256, roles=("monitor",), streams="call-*")
    async with running(Config(port=0, tokens=(*TOKENS, part)), engine) as server:
        url = f"{server.url}/v1/monitor"
        for headers in ({}, bearer(PUBLISHER)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, additional_headers=headers)
            assert refused.value.response.status_code == 401
        async with (
            connect(url, additional_headers=bearer(WATCHER)) as everything,
            connect(url, additional_headers=bearer("part")) as some,
        ):
            for name in ("other-1", "call-1"):
                start = {"stream_id": name, "vad": False}
                headers = {"additional_headers": bearer(PUBLISHER)}
                await converse(server.url, start, [b"\1\0" * 16_000], **headers)
            for subscriber in (everything, some):
                assert (await hear_one(subscriber))["type"] == "subscribed"
            assert "other-1" in str(await hear_one(everything))
            assert "call-1" in str(await hear_one(some))


async def test_a_token_has_no_more_sessions_than_its_table_says(engine: Engine) -> None:
    sha256 = hashlib.sha256(b"one").hexdigest()
    one = Token(name="one", sha256=sha256, roles=("publish",), max_sessions=1)
    async with running(Config(port=0, tokens=(*TOKENS, one)), engine) as server:
        async with dial(server.url, additional_headers=bearer("one")) as first:
            await say(first, {"type": "start"})
            await hear_one(first)
            messages, code = await converse(server.url, {}, additional_headers=bearer("one"))
            assert messages[-1]["code"] == "at_capacity" and code == 1013
            others, _ = await converse(server.url, {}, additional_headers=bearer(PUBLISHER))
            assert others[0]["type"] == "started"
        await until(lambda: server.admission.active == 0)
        assert refusals(server.metrics, "token") == 1


@pytest.mark.parametrize(
    ("tokens", "path", "status", "known"),
    [
        (TOKENS, "/", None, False),
        (TOKENS, "/?token=unknown", 401, False),
        (TOKENS, f"/?token={WATCHER}", 401, False),
        (TOKENS, f"/?token={PUBLISHER}", None, True),
        ((), "/", None, True),
    ],
)
async def test_telephony_may_show_who_it_is_later_but_not_a_wrong_token_now(
    tokens: tuple[Token, ...], path: str, status: int | None, known: bool
) -> None:
    config = Config(tokens=tokens)
    gate = Gate(config, Admission(1), Authenticator(config))
    connection: Any = SimpleNamespace(principal=unauthorized())
    answer = gate.enter(connection, Request(path, Headers()), Role.PUBLISH, later=True)
    assert (answer and answer.status_code) == status
    assert isinstance(connection.principal, Principal) is known
