"""`emotion-server` as a process."""

import asyncio
import base64
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from stream_server.__main__ import on_signals, token_table, warn_of
from stream_server.config import Config
from stream_server.settings import load
from stream_server.tables import Token

# A model that never answers, in a thread that cannot be stopped.
STUCK = """
import threading
import stream_server.__main__ as program
from emotion.engine import Engine
program.LAST_RESORT_S = -4.5
Engine.judge = lambda *_: threading.Event().wait()
program.main()
"""
COMMAND = [sys.executable, "-m", "stream_server"]


class Process(subprocess.Popen[str]):
    """A process that a failed test does not wait for."""

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *rest)


def start(model: Path, *options: str, command: Sequence[str] = COMMAND) -> tuple[Process, str]:
    """A server on a free port, and its address."""
    process = Process(
        [*command, "--model", str(model), "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"listening on ([a-z]+://[^\s\"]+)", line):
            return process, found[1]
    raise AssertionError("the server ended before it listened")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(model_folder: Path, number: signal.Signals) -> None:
    process, address = start(model_folder)
    with process, connect(f"{address}/v1/stream", compression=None) as connection:
        connection.send('{"type":"start","vad":false}')
        connection.send(b"\0" * 40_000)
        assert '"started"' in connection.recv(20)
        assert '"emotion"' in connection.recv(20)
        process.send_signal(number)
        assert '"summary"' in connection.recv(20)
        assert process.wait(20) == 0
        assert connection.close_code == 1001


def test_a_client_that_does_not_end_cannot_hold_it(model_folder: Path) -> None:
    process, address = start(model_folder, "--drain-timeout", "0.2")
    with process, connect(f"{address}/v1/stream", compression=None, close_timeout=1) as connection:
        connection.send('{"type":"start"}')
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "/nowhere"], "/nowhere/monitor.onnx: no such file"),
        (["--port", "70000"], "port is 70000: expected 0 to 65535"),
        (
            ["--max-sessions", "-1"],
            "max_sessions is -1: expected 0 to 100000 (from --max-sessions)",
        ),
        (["--device", "tpu"], "tpu"),
        (["--device", "cuda"], "--device cpu"),
        (["--analyzable", ","], "analyzable"),
        (["--host", "x" * 64, "--insecure"], "cannot listen on xxx"),
        (["--host", "0.0.0.0"], "--insecure"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(
    model_folder: Path, options: list[str], said: str
) -> None:
    given = options if "--model" in options else ["--model", str(model_folder), *options]
    done = subprocess.run([*COMMAND, *given], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and said in last
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(model_folder: Path) -> None:
    process, address = start(model_folder)
    port = address.rsplit(":", 1)[1]
    with process:
        command = [*COMMAND, "--model", str(model_folder), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        process.terminate()
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr.splitlines()[-1]


def test_signals_are_heard_also_where_the_event_loop_takes_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    async def hear() -> None:
        heard = asyncio.Event()
        monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", refuse)
        on_signals(heard.set)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(heard.wait(), 10)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        asyncio.run(hear())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_thread_that_is_stuck_in_a_model_cannot_hold_it(model_folder: Path) -> None:
    command = [sys.executable, "-c", STUCK]
    options = ("--drain-timeout", "0.1", "--max-sessions", "1")  # it cannot be measured
    process, address = start(model_folder, *options, command=command)
    with process, connect(f"{address}/v1/stream", compression=None, close_timeout=1) as connection:
        connection.send('{"type":"start","vad":false}')
        connection.send(b"\0" * 40_000)
        assert '"started"' in connection.recv(20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 1
        assert process.stderr is not None and "is cut off" in process.stderr.read()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="not in CI: no /dev/full here")
def test_a_full_disk_for_the_log_stops_nothing(model_folder: Path, tmp_path: Path) -> None:
    with open("/dev/full", "wb", buffering=0) as full, socket.create_server(("", 0)) as free:
        port = str(free.getsockname()[1])
        free.close()
        process = Process(
            [*COMMAND, "--model", str(model_folder), "--port", port, "--verbose"], stderr=full
        )
        with process, once_listening(port) as connection:
            connection.send('{"type":"start","vad":false}')
            connection.send(b"\0" * 40_000)
            assert '"started"' in connection.recv(20) and '"emotion"' in connection.recv(20)
            process.send_signal(signal.SIGTERM)
            assert '"summary"' in connection.recv(20)
            assert process.wait(20) == 0


def once_listening(port: str) -> ClientConnection:
    """A stream, as soon as the server takes some."""
    for _ in range(200):
        try:
            return connect(f"ws://127.0.0.1:{port}/v1/stream", compression=None)
        except ConnectionError:
            time.sleep(0.1)
    raise AssertionError("the server does not listen")


def test_its_log_tells_neither_tokens_nor_audio_however_verbose(
    model_folder: Path, tmp_path: Path
) -> None:
    secret = "hush-hush-hush"
    (tmp_path / "server.toml").write_text(token_table("desk", secret))
    offered = base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")
    options = ("--config", str(tmp_path / "server.toml"), "--verbose", "--log-format", "json")
    process, address = start(model_folder, *options)
    with process:
        for given in (
            {"additional_headers": {"Authorization": f"Bearer {secret}"}},
            {"subprotocols": ["emotion.v1", f"bearer.{offered}"]},
        ):
            with connect(f"{address}/v1/stream", compression=None, **given) as connection:
                connection.send('{"type":"start"}')
                connection.send(b"\x5a\x5b" * 100)
                assert '"started"' in connection.recv(20)
        plain = http.client.HTTPConnection(address.removeprefix("ws://"), timeout=20)
        plain.request("GET", f"/v1/info?token={secret}", headers={"Host": secret})
        assert plain.getresponse().status == 401
        plain.close()
        process.terminate()
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(20) == 0
    lines = [json.loads(line) for line in said.splitlines()]
    assert {"connection open"} <= {line["message"] for line in lines}
    for leaked in ("hush", offered, "5a 5b", "Z["):
        assert leaked not in said


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="not in CI: Windows has no SIGHUP")
def test_a_hangup_reads_the_tokens_again_and_ends_nothing(
    model_folder: Path, tmp_path: Path
) -> None:
    def dial(token: str) -> ClientConnection:
        headers = {"Authorization": f"Bearer {token}"}
        return connect(f"{address}/v1/stream", compression=None, additional_headers=headers)

    def reload(text: str, until: str) -> None:
        file.write_text(text)
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None and any(until in line for line in process.stderr)

    file = tmp_path / "server.toml"
    file.write_text(token_table("desk", "old"))
    process, address = start(model_folder, "--config", str(file))
    with process, dial("old") as connection:
        reload("tokens = 7", "the old ones stay")
        reload("", "decided at the start")
        with dial("old"):
            pass
        reload(token_table("desk", "new"), "tokens were read again")
        with dial("new"):
            pass
        with pytest.raises(InvalidStatus), dial("old"):
            raise AssertionError("it was let in")
        connection.send('{"type":"start"}')
        assert '"started"' in connection.recv(20)
        process.terminate()
        assert process.wait(20) == 0


def test_a_new_token_comes_with_its_table_for_the_file(tmp_path: Path) -> None:
    command = [*COMMAND, "--new-token", 'the "desk"']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr
    (table,) = tomllib.loads(done.stdout)["tokens"]
    assert table["name"] == 'the "desk"'
    (tmp_path / "server.toml").write_text(done.stdout)
    (token,) = load({}, {}, tmp_path / "server.toml").tokens
    secret = done.stdout.splitlines()[1].removeprefix("# ")
    assert token.sha256 == hashlib.sha256(secret.encode()).hexdigest() and len(secret) >= 43


@pytest.mark.parametrize(
    ("options", "roles"),
    [
        ((), ["publish"]),
        (("--role", "monitor"), ["monitor"]),
        (("--role", "monitor", "--role", "publish", "--role", "monitor"), ["monitor", "publish"]),
    ],
)
def test_a_new_token_has_the_roles_that_were_asked_for(
    options: Sequence[str], roles: list[str]
) -> None:
    done = said("--new-token", "desk", *options)
    assert tomllib.loads(done.stdout)["tokens"][0]["roles"] == roles


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            ("--new-token", "desk", "--role", "admin"),
            "error: role 'admin': expected publish or monitor",
        ),
        (("--role", "monitor"), "error: --role says what a new token is good for: "),
    ],
)
def test_a_role_that_there_is_not_or_for_no_token_is_refused(
    options: Sequence[str], error: str
) -> None:
    done = said(*options)
    assert done.returncode == 2 and done.stderr.startswith(error) and not done.stdout


def test_the_help_names_choices_and_defaults() -> None:
    text = said("--help", COLUMNS="200").stdout
    for what in ("auto|cpu|cuda", "text|json", "publish|monitor", "Default: 127.0.0.1."):
        assert what in text
    assert "VALUE" not in text


def test_the_version_is_told() -> None:
    done = said("--version")
    assert done.returncode == 0 and re.fullmatch(r"emotion-monitor( \S+)?\n", done.stdout)


def test_the_log_says_where_the_page_is(model_folder: Path) -> None:
    command = [*COMMAND, "--model", str(model_folder), "--port", "0"]
    with Process(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "listening" in line)
        found = re.search(r"ws://(127\.0\.0\.1:\d+) and http://(\S+) \(the page\)", line)
        assert found is not None and found[1] == found[2]
        process.terminate()


def said(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the command says that serves nothing."""
    return subprocess.run(
        [*COMMAND, *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_what_is_allowed_and_dangerous_is_said(caplog: pytest.LogCaptureFixture) -> None:
    tokens = (Token(name="a", sha256="ab" * 32, roles=("publish",)),)
    key = Path("key")
    warn_of(Config())
    warn_of(Config(host="0.0.0.0", tokens=tokens, tls_cert=key, tls_key=key))
    assert not caplog.messages
    warn_of(Config(host="0.0.0.0", tokens=tokens))
    warn_of(Config(host="0.0.0.0", insecure=True))
    clear, insecure = caplog.messages
    assert "in the clear" in clear and "anybody" in insecure


def test_settings_come_from_variables_too(model_folder: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--model", str(model_folder)],
        env={**os.environ, "EMOTION_PORT": "x"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.endswith("error: port is 'x': expected a whole number (from EMOTION_PORT)\n")
