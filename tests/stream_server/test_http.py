"""Plain HTTP on the same port."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlparse

import pytest

from emotion.engine import Engine
from stream_server.config import Config
from stream_server.server import Server, running
from tests.stream_server.client import ask


@pytest.fixture
async def server(engine: Engine) -> AsyncIterator[Server]:
    async with running(Config(port=0), engine) as server:
        yield server


async def test_a_server_that_listens_is_alive_and_ready(server: Server) -> None:
    assert (await ask(server.url, "/healthz"))[:2] == (200, b"alive\n")
    assert (await ask(server.url, "/readyz"))[:2] == (200, b"ready\n")


async def test_a_draining_server_is_alive_and_not_ready(server: Server) -> None:
    await server.drain()
    assert (await ask(server.url, "/healthz"))[0] == 200
    assert (await ask(server.url, "/readyz"))[:2] == (503, b"shutting down\n")


async def test_info_names_the_model_and_the_limits(server: Server) -> None:
    status, body, headers = await ask(server.url, "/v1/info?pretty")
    info: dict[str, Any] = json.loads(body)
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert info["model"]["name"] == "fake" and info["model"]["labels"][4] == "angry"
    assert info["sessions"] == {"active": 0, "max": server.admission.max_sessions}
    assert info["analyzable"] == ["customer", "mono", "left", "right"]
    assert info["limits"]["idle_timeout_s"] == 30.0


async def test_head_has_no_body(server: Server) -> None:
    status, body, headers = await ask(server.url, "/v1/info", "HEAD")
    assert status == 200 and body == b"" and int(headers["Content-Length"]) > 0


async def test_the_root_says_where_to_go(server: Server) -> None:
    status, body, _ = await ask(server.url, "/")
    assert status == 200 and b"/v1/stream" in body


@pytest.mark.parametrize("path", ["/nothing", "/../pyproject.toml", "/%2e%2e/x", "/v1"])
async def test_an_unknown_path_is_not_found(server: Server, path: str) -> None:
    assert (await ask(server.url, path))[0] == 404


async def test_another_method_is_refused(server: Server) -> None:
    status, _, headers = await ask(server.url, "/v1/info", "DELETE")
    assert status == 405 and headers["Allow"] == "GET, HEAD"


async def test_a_header_that_comes_twice_is_refused_without_a_word_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlparse(server.url).port)
    writer.write(
        b"GET /v1/stream HTTP/1.1\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 426")
    writer.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_the_stream_without_a_websocket_says_what_it_is(server: Server) -> None:
    status, body, _ = await ask(server.url, "/v1/stream")
    assert status == 426 and b"ws://" in body
