"""Plain HTTP on the same port."""

import asyncio
import json
import mimetypes
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from emotion.engine import Engine
from stream_server import http
from stream_server.config import Config
from stream_server.server import Server, running
from tests.fakes import write_model
from tests.stream_server.client import ask

PAGES = Path(__file__).parents[2] / "clients" / "browser"


@pytest.fixture
async def server(engine: Engine) -> AsyncIterator[Server]:
    async with running(Config(port=0), engine) as server:
        yield server


async def test_a_server_that_listens_is_alive_and_ready(server: Server) -> None:
    assert (await ask(server.url, "/healthz"))[:2] == (200, b"alive\n")
    assert (await ask(server.url, "/readyz"))[:2] == (200, b"ready\n")


@pytest.mark.parametrize("path", ["/", "/stream", "/v1/info", "/v1/stream/"])
async def test_a_handshake_where_there_is_no_websocket_is_told_where_there_is_one(
    server: Server, path: str
) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(server.url + path, compression=None)
    answer = refusal.value.response
    assert answer.status_code == 404 and b"/v1/stream" in (answer.body or b"")
    assert answer.headers["Content-Type"].startswith("text/plain")


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


async def test_info_says_whether_sessions_may_adapt(server: Server, tmp_path: Path) -> None:
    without = write_model(tmp_path / "without", classifier=False)
    async with running(Config(port=0, max_sessions=3, model=without)) as other:
        for url, adaptable in ((server.url, True), (other.url, False)):
            info = json.loads((await ask(url, "/v1/info"))[1])
            assert info["model"]["adaptable"] is adaptable


async def test_head_has_no_body(server: Server) -> None:
    status, body, headers = await ask(server.url, "/v1/info", "HEAD")
    assert status == 200 and body == b"" and int(headers["Content-Length"]) > 0


async def test_the_root_is_the_page(server: Server) -> None:
    status, body, headers = await ask(server.url, "/")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert body == (PAGES / "index.html").read_bytes()


async def test_the_root_of_a_server_without_pages_says_where_to_go(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "browser_files", dict)
    async with running(Config(port=0), engine) as server:
        status, body, headers = await ask(server.url, "/")
        assert status == 200 and b"/v1/stream" in body
        assert headers["Content-Type"].startswith("text/plain")
        assert (await ask(server.url, "/dashboard"))[0] == 404


async def test_every_file_of_the_pages_is_served_as_what_it_is(server: Server) -> None:
    kinds = {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
    }
    for file in PAGES.iterdir():
        status, body, headers = await ask(server.url, f"/{file.name}")
        assert status == 200 and body == file.read_bytes(), file.name
        assert headers["Content-Type"] == kinds[file.suffix]


def test_types_do_not_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mimetypes, "guess_type", lambda *_: ("text/plain", None))
    assert http.browser_files()["/theme.css"].kind == "text/css; charset=utf-8"
    assert http.browser_files()["/emotions.js"].kind == "text/javascript; charset=utf-8"


def test_the_dashboard_has_a_path_of_its_own_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "browser").mkdir()
    (tmp_path / "browser" / "dashboard.html").write_text("calls")
    (tmp_path / "browser" / "notes.txt").write_text("not a page's")
    (tmp_path / "browser" / ".hidden.js").write_text("nor this")
    monkeypatch.setattr(http.resources, "files", lambda _: tmp_path)
    files = http.browser_files()
    assert set(files) == {"/dashboard", "/dashboard.html"}
    assert files["/dashboard"].body == b"calls"


async def test_a_page_runs_nothing_inline_and_nothing_from_elsewhere(server: Server) -> None:
    for path in ("/", "/theme.css", "/emotions.js"):
        headers = (await ask(server.url, path))[2]
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Permissions-Policy"].startswith("microphone=(self)")


async def test_a_file_that_the_browser_has_is_not_sent_again(server: Server) -> None:
    _, _, headers = await ask(server.url, "/theme.css")
    assert headers["Cache-Control"] == "no-cache"
    for known in (headers["ETag"], f'"other", W/{headers["ETag"]}'):
        status, body, again = await ask(server.url, "/theme.css", headers={"If-None-Match": known})
        assert (status, body, again["ETag"]) == (304, b"", headers["ETag"])
        assert "Content-Length" not in again
    status, body, _ = await ask(server.url, "/theme.css", headers={"If-None-Match": '"other"'})
    assert status == 200 and body


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
