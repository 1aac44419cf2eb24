"""Streaming a file: its pace, its end, and all the ways in which there is no stream."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from clients import link, stream_file
from clients.stream_file import paced
from emotion.messages import Error, Start, encode
from emotion.parsing import parse
from tests.clients.conftest import Ran
from tests.clients.scripts import break_off, hear_start, say
from tests.fakes import silence, started, summary_of

Client = Callable[..., Ran]
Stub = Callable[..., str]
Wav = Callable[..., Path]

SUMMARY = encode(summary_of(audio_s=1))
NOTHING = encode(summary_of(audio_s=0))


class Clock:
    """A clock that only sleeping moves, and whoever is slow."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def frames(count: int) -> AsyncIterator[bytes]:
    for n in range(count):
        yield bytes([n])


async def sent_at(count: int, interval_s: float, late: dict[int, float]) -> list[float]:
    """When each frame goes out, in seconds from the start; `late` is how long sending it takes."""
    clock, times = Clock(), []
    async for frame in paced(frames(count), interval_s, clock, clock.sleep):
        times.append(clock.now - 100)
        clock.now += late.get(frame[0], 0.0)
    return times


async def test_frames_go_out_on_a_schedule() -> None:
    assert await sent_at(5, 0.5, {}) == [0, 0.5, 1, 1.5, 2]


async def test_a_frame_that_is_late_does_not_delay_those_after_it() -> None:
    assert await sent_at(5, 0.5, {1: 0.75}) == [0, 0.5, 1.25, 1.5, 2]


async def test_without_an_interval_nothing_waits() -> None:
    assert await sent_at(3, 0.0, {0: 0.5}) == [0, 0.5, 0.5]


class Heard:
    """A server that remembers what a client says and answers `stop` with a summary."""

    def __init__(self) -> None:
        self.start: Start | None = None
        self.headers: Any = None
        self.frames: list[bytes] = []

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.headers = connection.request.headers
        start = parse(str(await connection.recv()))
        assert isinstance(start, Start)
        self.start = start
        async for message in connection:
            if isinstance(message, bytes):
                self.frames.append(message)
            else:
                await connection.send(SUMMARY)
                return


def test_the_whole_file_arrives_in_live_frames(client: Client, stub: Stub, wav: Wav) -> None:
    heard = Heard()
    ran = client("file", wav(0.55), "--url", stub(heard), "--speed", 20)
    assert (ran.code, ran.out, ran.err) == (0, SUMMARY + "\n", "")
    assert [len(frame) for frame in heard.frames] == [3200] * 5 + [1600]


def test_at_max_speed_frames_are_longer(client: Client, stub: Stub, wav: Wav) -> None:
    heard = Heard()
    client("file", wav(2.5), "--url", stub(heard), "--speed", "max")
    assert [len(frame) for frame in heard.frames] == [32_000, 32_000, 16_000]


def test_the_options_reach_the_server(client: Client, stub: Stub, wav: Wav) -> None:
    heard = Heard()
    options = "--channels customer,agent --analyze agent --window 2 --hop 0.5 --no-vad --adapt"
    more = "--stream-id call-7 --token secret --speed max"
    path = wav(1, rate=8_000, channels=2)
    ran = client("file", path, "--url", stub(heard), *options.split(), *more.split())
    assert (ran.code, ran.err) == (0, "")
    assert heard.start == Start(
        stream_id="call-7",
        sample_rate=8_000,
        channels=("customer", "agent"),
        analyze=("agent",),
        window_s=2,
        hop_s=0.5,
        vad=False,
        adapt=True,
    )
    assert heard.headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("options", "adapt"), [((), None), (("--adapt",), True), (("--no-adapt",), False)]
)
def test_whether_to_adapt_is_the_servers_to_know_unless_it_is_said(
    client: Client, stub: Stub, wav: Wav, options: tuple[str, ...], adapt: bool | None
) -> None:
    heard = Heard()
    assert client("file", wav(0.1), "--url", stub(heard), *options).code == 0
    assert heard.start is not None and heard.start.adapt is adapt


def test_without_a_token_no_credentials_are_sent(client: Client, stub: Stub, wav: Wav) -> None:
    heard = Heard()
    client("file", wav(0.1), "--url", stub(heard))
    assert "Authorization" not in heard.headers


def test_a_stereo_file_is_announced_on_stderr_and_streamed_as_mono(
    client: Client, stub: Stub, wav: Wav
) -> None:
    heard = Heard()
    ran = client("file", wav(0.1, channels=2), "--url", stub(heard))
    assert "mixed down" in ran.error
    assert heard.start is not None and heard.start.channels == ("mono",)


def test_json_lines_are_what_was_on_the_wire_byte_for_byte(
    client: Client, stub: Stub, wav: Wav
) -> None:
    odd = SUMMARY.replace(":", " : ").replace("{", '{"a field of the future":[1e3, "\\u00e4"], ', 1)

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            if message == encode(parse('{"type":"stop"}')):
                await connection.send(odd)

    ran = client("file", wav(0.1), "--url", stub(handler), "--json")
    assert (ran.code, ran.out) == (0, odd + "\n")


def test_an_error_of_the_server_is_one_line_with_its_code(
    client: Client, stub: Stub, wav: Wav
) -> None:
    said = encode(Error(code="unsupported", message="not\nhere", fatal=True))

    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(said)
        await connection.close(1003)

    ran = client("file", wav(5), "--url", stub(handler))
    assert (ran.code, ran.out) == (2, said + "\n")
    assert ran.error == "error: the server refused (unsupported): not here"


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "--token"), (503, "try again later"), (404, "check --url")]
)
def test_a_refused_connection_says_what_to_do(
    client: Client, stub: Stub, wav: Wav, status: int, advice: str
) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(HTTPStatus(status), "no\n")

    ran = client("file", wav(0.1), "--url", stub(Heard(), process_request=refuse))
    assert ran.code == 2
    assert advice in ran.error and str(status) in ran.error


def test_no_server_is_one_line_that_says_so(client: Client, wav: Wav, unused_tcp_port: int) -> None:
    for host in ("127.0.0.1", "localhost"):
        ran = client("file", wav(0.1), "--url", f"ws://{host}:{unused_tcp_port}")
        assert ran.code == 2
        assert "nothing listens there" in ran.error


def test_an_unknown_host_is_one_line_that_says_so(
    client: Client, wav: Wav, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy", "socks_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    ran = client("file", wav(0.1), "--url", "ws://nobody.invalid:1")
    assert ran.code == 2
    assert "no such host" in ran.error


@pytest.mark.parametrize(
    ("code", "said"), [(1001, "shutting down"), (1011, "close code 1011"), (None, "broke")]
)
def test_a_connection_that_ends_in_the_middle_and_cannot_be_resumed_is_said(
    client: Client,
    stub: Stub,
    wav: Wav,
    monkeypatch: pytest.MonkeyPatch,
    code: int | None,
    said: str,
) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.recv()
        if code is None:
            connection.transport.abort()
        else:
            await connection.send(NOTHING)  # of what came so far: not the end of this file
            await connection.close(code)

    monkeypatch.setattr(link, "RESUME_GRACE_S", 0.1)
    ran = client("file", wav(30), "--url", stub(handler))
    assert ran.code == 2
    assert said in ran.err.splitlines()[-1]


@pytest.mark.parametrize("speed", ["1", "max"])
def test_a_connection_that_breaks_is_resumed_and_that_is_said(
    client: Client, stub: Stub, wav: Wav, speed: str
) -> None:
    begun = list[Start]()

    async def handler(connection: ServerConnection) -> None:
        begun.append(await hear_start(connection))
        if len(begun) == 1:
            await say(connection, started())
            await connection.recv()
            await say(connection, silence(1, 0.1))
            await break_off(connection)
            return
        await say(connection, started(resumed=True, received_samples=1600), silence(1, 0.1))
        async for message in connection:
            if isinstance(message, str):
                await connection.send(SUMMARY)

    ran = client("file", wav(1), "--url", stub(handler), "--speed", speed)
    assert ran.code == 0
    types = [message["type"] for message in ran.messages]
    assert types == ["started", "silence", "started", "summary"]
    assert begun[1].resume is not None and begun[1].resume.last_seq == 1
    broke, again = ran.err.splitlines()
    assert "notice: the connection broke" in broke and "connected again" in again


def test_what_is_not_of_the_protocol_is_one_line(client: Client, stub: Stub, wav: Wav) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"type":"weather"}')
        await connection.wait_closed()

    ran = client("file", wav(5), "--url", stub(handler))
    assert ran.code == 2
    assert "not a message of emotion.v1" in ran.error


def test_a_file_that_breaks_off_ends_the_stream(client: Client, stub: Stub, tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    samples = np.zeros(40_000)
    samples[-1] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 16_000, subtype="FLOAT")
    ran = client("file", tmp_path / "nan.wav", "--url", stub(Heard()), "--speed", "max")
    assert ran.code == 2
    assert "not finite" in ran.error


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "fast"])
def test_a_speed_that_is_none_is_refused(client: Client, wav: Wav, speed: str) -> None:
    ran = client("file", wav(0.1), f"--speed={speed}")
    assert ran.code == 2
    assert "or max" in ran.error


@pytest.mark.parametrize(
    "options", ["--window 99", "--hop 4", "--analyze nobody", "--channels a,b", "--channels ,"]
)
def test_a_setting_out_of_range_is_refused_before_anything_is_sent(
    client: Client, wav: Wav, options: str
) -> None:
    ran = client("file", wav(0.1), *options.split())
    assert ran.code == 2
    assert "error: " in ran.error and "listens" not in ran.error


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_the_recording_and_still_shows_the_summary(
    client: Client, stub: Stub, wav: Wav
) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.recv()
        interrupt()
        async for message in connection:
            if isinstance(message, str):
                await connection.send(SUMMARY)

    ran = client("file", wav(60), "--url", stub(handler))
    assert (ran.code, ran.out) == (130, SUMMARY + "\n")
    assert "error" not in ran.err and "Traceback" not in ran.err


def test_after_ctrl_c_a_server_that_says_nothing_is_given_up(
    client: Client, stub: Stub, wav: Wav, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        interrupt()
        await connection.wait_closed()

    monkeypatch.setattr(stream_file, "GRACE_S", 0.05)
    ran = client("file", wav(60), "--url", stub(handler))
    assert (ran.code, ran.out) == (130, "")


def test_a_second_ctrl_c_does_not_wait(
    client: Client, stub: Stub, wav: Wav, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        interrupt()
        async for message in connection:
            if isinstance(message, str):
                interrupt()

    monkeypatch.setattr(stream_file, "GRACE_S", 3600.0)
    ran = client("file", wav(60), "--url", stub(handler))
    assert (ran.code, ran.out) == (130, "")


def test_the_real_server_gets_and_answers_the_whole_file(
    client: Client, server: str, wav: Wav
) -> None:
    ran = client("file", wav(4.2), "--url", server, "--speed", "max", "--no-vad")
    assert (ran.code, ran.err) == (0, "")
    types = [message["type"] for message in ran.messages if message["type"] != "warning"]
    assert types == ["started", *["emotion"] * 4, "summary"]
    assert ran.messages[-1]["audio_s"] == 4.2


def test_a_channel_that_the_operator_does_not_allow_is_refused_with_its_code(
    client: Client, server: str, wav: Wav
) -> None:
    ran = client("file", wav(1, channels=2), "--channels", "agent,other", "--url", server)
    assert ran.code == 2
    assert "(unsupported)" in ran.error and "agent" in ran.error


def test_messages_are_json_objects(client: Client, server: str, wav: Wav) -> None:
    ran = client("file", wav(1), "--url", server, "--speed", "max", "--json")
    assert all(isinstance(msgspec.json.decode(line), dict) for line in ran.out.splitlines())
