"""`emotion-server` as a process."""

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from emotion.errors import ConfigurationError
from stream_server.__main__ import on_signals
from stream_server.config import Config, url

COMMAND = [sys.executable, "-m", "stream_server"]


def start(model: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """A server on a free port, and its address."""
    process = subprocess.Popen(
        [*COMMAND, "--model", str(model), "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"listening on (\S+)", line):
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


def test_addresses_of_ipv6_are_bracketed() -> None:
    assert url("::1", 80) == "ws://[::1]:80" and url("localhost", 80) == "ws://localhost:80"


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


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"idle_timeout_s is 0: expected 0\.01"):
        Config(idle_timeout_s=0)
