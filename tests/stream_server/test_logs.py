"""Log lines: their form, what never gets into them, and that they cannot stop anything."""

import asyncio
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from stream_server.logs import SESSION, JsonFormatter, TextFormatter, configure, redacted


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, websockets = logging.getLogger(), logging.getLogger("websockets")
    before = root.handlers[:], root.level, websockets.level, logging.raiseExceptions
    yield
    root.handlers[:], root.level, websockets.level, logging.raiseExceptions = before


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("a.b", logging.WARNING, "f.py", 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


def test_a_json_line_has_time_level_logger_message_and_session() -> None:
    made = record("%d sessions\nended", 3, session="S", created=86_400.25, msecs=250)
    line = JsonFormatter().format(made)
    assert "\n" not in line and json.loads(line) == {
        "time": "1970-01-02T00:00:00.250Z",
        "level": "warning",
        "logger": "a.b",
        "message": "3 sessions\nended",
        "session": "S",
    }


async def test_the_session_is_that_of_the_running_task() -> None:
    async def line_of(session: str) -> str | None:
        SESSION.set(session)
        await asyncio.sleep(0)
        found: str | None = json.loads(JsonFormatter().format(record("m")))["session"]
        return found

    assert await asyncio.gather(line_of("one"), line_of("two")) == ["one", "two"]
    assert "session" not in json.loads(JsonFormatter().format(record("m")))


def test_an_exception_is_one_field() -> None:
    try:
        raise RuntimeError("the model\nbroke: Bearer hush")
    except RuntimeError:
        fields = json.loads(JsonFormatter().format(record("m", exc_info=sys.exc_info())))
    assert "RuntimeError: the model\nbroke" in fields["exception"]
    assert "hush" not in fields["exception"]


def test_a_text_line_names_the_session_before_the_message() -> None:
    line = TextFormatter().format(record("started", session="S"))
    assert line.endswith("WARNING a.b: session S: started")


def test_a_message_makes_no_lines_and_colours_of_its_own() -> None:
    line = TextFormatter().format(record("a\nforged\x1b[31m\u0085line"))
    assert line.endswith(r"a\x0aforged\x1b[31m\x85line") and "\n" not in line


@pytest.mark.parametrize(
    "text",
    [
        "GET /v1/stream?token=hush&a=b HTTP/1.1",
        "< Authorization: Bearer hush",
        "< authorization: Basic hush",
        "Authorization: hush",
        "< Sec-WebSocket-Protocol: emotion.v1, bearer.hush",
        "'bearer.hush'",
        'customParameters {"token": "hush"}',
        "'token': 'hush'",
        "redis://user:hush@host/0 is away",
        "X-Twilio-Signature: hush=",
        "x-api-key: hush",
        "Cookie: hush",
        "invalid header: Bearer hush",
    ],
)
def test_secrets_are_cut_out(text: str) -> None:
    assert "hush" not in redacted(text) and "***" in redacted(text)


@pytest.mark.parametrize(
    "piece",
    [
        "sec-websocket-protocol: ",
        "://a:",
        "authorization: ",
        "bearer.",
        "token=",
        '"token" : ',
        " ",
    ],
)
def test_cutting_takes_no_time_that_grows_with_the_square_of_the_text(piece: str) -> None:
    redacted(piece * 20_000)  # with such a fault this takes minutes


@pytest.mark.parametrize(
    "text", ["listening on ws://127.0.0.1:8765", "3 tokens read", "ws://[::1]:80/v1/stream?a=b"]
)
def test_other_words_stay(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_line_that_cannot_be_written_is_lost_and_nothing_else(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr("sys.stderr", full)
        configure("json" if kind == "json" else "text", verbose=True)
        logging.getLogger("a").error("lost")
        logging.getLogger("a").error("%d", "a mistake of ours")


def test_a_program_started_with_stderr_closed_logs_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    configure("text", verbose=False)
    logging.getLogger("a").error("lost")


def test_frames_and_headers_are_not_for_logs_however_verbose() -> None:
    configure("text", verbose=True)
    assert logging.getLogger("a").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("websockets.server").isEnabledFor(logging.DEBUG)
