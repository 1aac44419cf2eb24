"""A load: what it counts, when it ends, and that nothing a server does stops it."""

import os
import signal
import socket
from array import array
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from clients import caller, connect, load
from clients.tally import Tally, percentile_ms
from clients.watch import Watch, remarks
from emotion.messages import Error, Warning
from stream_server.http import response
from tests.clients.conftest import Ran
from tests.clients.scripts import hear_start, say
from tests.fakes import silence, started, summary_of

Client = Callable[..., Ran]
Stub = Callable[..., str]
SHORT = ("--streams", 3, "--seconds", 0.5, "--ramp", 0)


def line(ran: Ran, code: int = 0) -> dict[str, Any]:
    """The one line on stdout."""
    assert ran.code == code, ran.err
    (only,) = ran.messages
    return only


def test_streams_are_judged_and_measured_from_sending_to_receipt(
    client: Client, server: str
) -> None:
    options = "--streams 4 --seconds 2 --ramp 0.5 --hop 0.5 --window 1 --speech-share 1"
    result = line(client("load", "--url", server, *options.split()))
    counts = ("refused", "disconnected", "skipped", "silent", "events_missing")
    assert [result[name] for name in counts] == [0] * 5
    assert result["streams"] == 4
    assert result["windows"] == result["inferred"] >= 4
    assert 0 < result["p50_ms"] <= result["p95_ms"] <= result["p99_ms"]


def test_telephones_and_silence(client: Client, server: str) -> None:
    options = "--streams 2 --seconds 1 --ramp 1 --encoding mulaw --speech-share 0 --frame-ms 60"
    page = server.replace("ws://", "http://")
    result = line(client("load", "--url", page, *options.split(), "--json"))
    assert result["windows"] == result["silent"] >= 1
    assert result["inferred"] == 0 and result["inferred_p99_ms"] is None


async def hear_all(connection: ServerConnection) -> None:
    """Starts a stream and hears it to its `stop`."""
    await hear_start(connection)
    await say(connection, started())
    async for message in connection:
        if isinstance(message, str):
            return


def test_refusals_are_counted_and_said(client: Client, stub: Stub) -> None:
    turns = iter([401, 503, None])

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" not in request.headers:
            return None
        status = next(turns)
        return None if status is None else connection.respond(HTTPStatus(status), "no\n")

    async def full(connection: ServerConnection) -> None:
        await connection.recv()
        await say(connection, Error(code="at_capacity", message="full", fatal=True))

    ran = client("load", "--url", stub(full, process_request=refuse), *SHORT)
    assert line(ran)["refused"] == 3 and line(ran)["windows"] == 0
    assert "1 x refused: at_capacity: full" in ran.err and "HTTP 503" in ran.err


def test_broken_streams_are_counted_and_the_others_go_on(client: Client, stub: Stub) -> None:
    turns = iter(["breaks", "fails", "drains", "babbles", "invents", "holds"])

    async def handler(connection: ServerConnection) -> None:
        match next(turns):
            case "breaks":
                await hear_start(connection)
                connection.transport.abort()
            case "fails":
                await hear_start(connection)
                await say(connection, started())
                await say(connection, Error(code="internal", message="oh", fatal=True))
            case "drains":
                await hear_start(connection)
                await say(connection, started(), summary_of(audio_s=0))
            case "babbles":
                await hear_start(connection)
                await connection.send("[]")
            case "invents":
                await hear_start(connection)
                await say(connection, silence(1, 1e9), summary_of(audio_s=1))
            case _:
                await hear_all(connection)
                await say(connection, summary_of(audio_s=1, windows=2, silent=2))

    ran = client("load", "--url", stub(handler), "--streams", 6, *SHORT[2:])
    assert (line(ran)["disconnected"], line(ran)["events_missing"]) == (5, 2)
    assert "internal: oh" in ran.err and "the server ended the stream" in ran.err
    assert "not of the protocol" in ran.err


def test_skipped_windows_are_counted_as_the_server_says(client: Client, stub: Stub) -> None:
    async def skips(connection: ServerConnection) -> None:
        await hear_start(connection)
        await say(connection, started())
        frames = 0
        while isinstance(await connection.recv(), bytes):
            frames += 1
            if frames == 15:
                await say(connection, silence(1, 0.02))
                await say(connection, Warning(code="skipped_windows", message="3", count=3))
                await say(connection, Warning(code="too_fast", message="fast"))
        await say(connection, summary_of(audio_s=1, windows=4, silent=1, skipped=3))

    options = ("--streams", 1, "--seconds", 0.8, "--ramp", 0, "--hop", 0.25)
    result = line(client("load", "--url", stub(skips), *options))
    assert (result["skipped"], result["silent"], result["windows"]) == (3, 1, 4)


def test_a_server_that_does_not_read_is_given_up(
    client: Client, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "MAX_UNSENT", 1)

    async def deaf(connection: ServerConnection) -> None:
        await hear_start(connection)
        connection.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
        )
        connection.transport.pause_reading()
        await say(connection, started())
        await connection.wait_closed()

    options = ("--streams", 1, "--seconds", 4, "--ramp", 0, "--frame-ms", 200, "--hop", 0.25)
    monkeypatch.setattr(
        load,
        "framed",
        lambda samples, encoding, frame_ms: load.Frames([bytes(1 << 20)], 3_200, 16_000),
    )
    ran = client("load", "--url", stub(deaf), *options)
    assert line(ran)["disconnected"] == 1
    assert "the server does not read" in ran.err


def test_a_summary_that_never_comes_is_not_waited_for(
    client: Client, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "END_S", 0.1)
    monkeypatch.setattr(connect, "CLOSE_TIMEOUT_S", 0.1)

    async def silent(connection: ServerConnection) -> None:
        await hear_start(connection)
        await say(connection, started())
        await connection.wait_closed()

    ran = client("load", "--url", stub(silent), *SHORT, "--hop", 0.25)
    assert line(ran)["disconnected"] == 3
    assert "3 x disconnected: no summary came in time" in ran.err


def test_ctrl_c_ends_it_early_with_the_line(client: Client, stub: Stub) -> None:
    async def handler(connection: ServerConnection) -> None:
        await hear_start(connection)
        await say(connection, started())
        await connection.recv()
        os.kill(os.getpid(), signal.SIGINT)
        while isinstance(await connection.recv(), bytes):
            pass
        await say(connection, summary_of(audio_s=1))

    ran = client("load", "--url", stub(handler), "--streams", 1, "--seconds", 600, "--ramp", 0)
    assert line(ran, 130)["disconnected"] == 0


def test_ctrl_c_while_streams_are_added_adds_no_more(client: Client, stub: Stub) -> None:
    async def handler(connection: ServerConnection) -> None:
        await hear_start(connection)
        await say(connection, started())
        os.kill(os.getpid(), signal.SIGINT)
        while isinstance(await connection.recv(), bytes):
            pass
        await say(connection, summary_of(audio_s=0))

    options = ("--streams", 2, "--seconds", 600, "--ramp", 1200, "--json")
    result = line(client("load", "--url", stub(handler), *options), 130)
    assert (result["streams"], result["disconnected"], result["windows"]) == (2, 0, 0)


def test_the_servers_processor_time_and_memory_are_asked_of_its_metrics(
    client: Client, stub: Stub
) -> None:
    cpu = iter([1.0, 2.0])

    def metrics(connection: ServerConnection, request: Request) -> Response | None:
        if request.path != "/metrics":
            return None
        assert request.headers["Authorization"] == "Bearer secret"
        text = (
            "# HELP process_cpu_seconds_total Time\n"
            f"process_cpu_seconds_total {next(cpu)}\n"
            "process_resident_memory_bytes 1.5e+08\n"
        )
        return response(HTTPStatus.OK, text)

    async def handler(connection: ServerConnection) -> None:
        await hear_all(connection)
        await say(connection, summary_of(audio_s=1))

    url = stub(handler, process_request=metrics)
    result = line(client("load", "--url", url, *SHORT, "--hop", 0.25, "--token", "secret"))
    assert result["server_cpu"] > 0 and result["server_rss_mb"] == 150.0
    assert result["server_loop_cpu"] is None


def test_no_server_is_one_line_that_says_so(client: Client, unused_tcp_port: int) -> None:
    ran = client("load", "--url", f"ws://127.0.0.1:{unused_tcp_port}", *SHORT)
    assert (ran.code, ran.out) == (2, "")
    assert "nothing listens there" in ran.error


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--streams", 0),
        ("--seconds", 0),
        ("--ramp", -1),
        ("--speech-share", 1.1),
        ("--frame-ms", 1),
        ("--hop", 4),
        ("--window", 99),
        ("--url", "http://h"),
        ("--audio", "nowhere"),
        ("--encoding", "mp3"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(client: Client, option: str, value: object) -> None:
    ran = client("load", *SHORT, option, value)
    assert ran.code == 2 and "error: " in ran.error


def test_percentiles_are_values_that_were_measured() -> None:
    seconds = array("d", [n / 1000 for n in range(1, 101)])
    assert [percentile_ms(seconds, p) for p in (0, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile_ms(array("d", [0.5]), 99) == 500
    assert percentile_ms(array("d"), 99) is None


def test_windows_of_the_ramp_and_of_the_end_are_not_of_the_measured_period() -> None:
    tally = Tally()
    tally.window(True, sent_at=1.0, now=2.0)
    tally.begin, tally.end = 2.0, 3.0
    for sent_at in (1.9, 2.0, 2.5, 3.0):
        tally.window(sent_at == 2.0, sent_at, now=4.0)
    result = tally.result(
        streams=1,
        server_cpu=None,
        server_loop_cpu=None,
        server_memory=None,
        client_cpu=0.9,
        client_late=0.5,
    )
    assert (result.inferred, result.silent, result.ramp_windows) == (1, 1, 2)
    assert (result.p50_ms, result.p99_ms, result.ramp_p99_ms) == (1500, 2000, 2100)
    said = remarks(result, tally)
    assert any("2 windows of the ramp are not counted" in remark for remark in said)
    assert any("this client was late itself" in remark for remark in said)


def test_a_lap_holds_the_windows_since_the_last_one_and_forgets_them() -> None:
    tally = Tally()
    tally.begin = 0.0
    assert tally.lap() == (0, None, None)
    tally.window(True, sent_at=1.0, now=1.5)
    tally.window(False, sent_at=1.0, now=1.1)
    assert tally.lap() == (2, 100, 500)
    tally.window(True, sent_at=2.0, now=2.2)
    assert tally.lap() == (1, 200, 200)
    assert tally.answered == 0


def test_where_no_terminal_is_a_line_says_now_and_then_how_far_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tally = Tally()
    with Watch(60, quiet=False) as watch:
        for second in range(1, 21):
            watch(second, tally)
    assert capsys.readouterr().err.splitlines() == [
        "10 of 60 s: 0 streams, 0 windows",
        "20 of 60 s: 0 streams, 0 windows",
    ]
