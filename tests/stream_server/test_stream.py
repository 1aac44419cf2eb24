"""One stream over a real socket: the protocol's promises and its refusals."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

import emotion.session
import stream_server.calls
import stream_server.intake
import stream_server.server
from emotion.engine import Engine, Judgement, Window
from emotion.session import Session
from stream_server.admission import Admission
from stream_server.auth import ANONYMOUS
from stream_server.calls import Calls
from stream_server.config import Config
from stream_server.dialect import Native
from stream_server.hub import Hub
from stream_server.scheduler import Scheduler
from stream_server.server import Server, running
from stream_server.stream import FRAMES_A_TURN, Stream
from tests.fakes import events_of, heard, int16_bytes, plain, restless
from tests.speech import speech_like
from tests.stream_server.client import (
    STOP,
    converse,
    dial,
    hear,
    hear_one,
    of_type,
    say,
    until,
    without_clock,
)

SPEECH = int16_bytes(speech_like(5.3))


@pytest.fixture
async def server(engine: Engine) -> AsyncIterator[Server]:
    async with running(Config(port=0, max_sessions=3), engine) as server:
        yield server


class Choosy(Engine):
    """An engine that fails, or waits, for windows of one channel; others pass to the real one."""

    def __init__(self, engine: Engine, channel: str, gate: threading.Event | None = None) -> None:
        self.__dict__ = dict(engine.__dict__)
        self._channel, self._gate = channel, gate

    def judge(self, window: Window) -> Judgement:
        if window.channel == self._channel:
            if self._gate is None:
                raise RuntimeError("the model broke")
            self._gate.wait(20)
        return super().judge(window)


# --- what is promised ---


async def test_started_states_the_configuration_in_effect(server: Server) -> None:
    messages, _ = await converse(server.url, {"sample_rate": 8000, "metadata": {"agent": 7}})
    started = messages[0]
    assert started["type"] == "started"
    assert started["sample_rate"] == 8000 and started["encoding"] == "pcm_s16le"
    assert started["window_s"] == 3.0 and started["hop_s"] == 1.0
    assert started["metadata"] == {"agent": 7}
    assert started["model"]["labels"][0] == "neutral"
    assert started["limits"]["max_frame_bytes"] == 1 << 20
    assert len(started["session_id"]) >= 16 and started["stream_id"] == started["session_id"]


@pytest.mark.parametrize("size", [7, 333, 3200, 1 << 20])
async def test_the_same_audio_gives_the_same_events_however_it_is_cut(
    server: Server, engine: Engine, size: int
) -> None:
    audio = SPEECH[:40_001] if size == 7 else SPEECH
    pieces = [audio[i : i + size] for i in range(0, len(audio), size)]
    messages, code = await converse(server.url, {}, pieces)
    offline = plain(events_of(heard(engine, [audio])), "id", "stream_id")
    assert without_clock(of_type(messages, "emotion", "silence")) == offline
    assert code == 1000


async def test_audio_at_the_pace_of_speech_gives_the_same_events_as_a_file_sent_at_once(
    server: Server,
) -> None:
    pieces = [SPEECH[i : i + 6400] for i in range(0, 6400 * 13, 6400)]
    async with dial(server.url) as connection:
        listening = asyncio.create_task(hear(connection))
        await say(connection, {"type": "start"})
        for piece in pieces:
            await say(connection, piece)
            await asyncio.sleep(0.2)
        await say(connection, STOP)
        live = await listening
    at_once, _ = await converse(server.url, {}, [b"".join(pieces)])
    kinds = ("emotion", "silence", "summary")
    assert without_clock(of_type(live, *kinds)) == without_clock(of_type(at_once, *kinds))


async def test_events_come_while_the_audio_goes_on(server: Server) -> None:
    async with dial(server.url) as connection:
        await say(connection, {"type": "start"})
        await say(connection, SPEECH[:40_000])
        assert (await hear_one(connection))["type"] == "started"
        assert (await hear_one(connection))["end_s"] == 1.0


async def test_every_window_is_counted_once(server: Server) -> None:
    audio = int16_bytes(restless(7.6))
    messages, _ = await converse(server.url, {"hop_s": 0.5}, [audio])
    summary = messages[-1]
    assert summary["type"] == "summary" and summary["audio_s"] == 7.6
    assert summary["windows"] == summary["inferred"] + summary["silent"] + summary["skipped"]
    assert summary["inferred"] == len(of_type(messages, "emotion"))
    assert summary["silent"] == len(of_type(messages, "silence"))
    assert [m["seq"] for m in of_type(messages, "emotion", "silence")] == [
        n + 1 for n in range(summary["windows"])
    ]


async def test_the_last_partial_window_comes_at_stop(server: Server) -> None:
    messages, _ = await converse(server.url, {"vad": False}, [SPEECH[: 2 * 16_000 * 2 + 20_000]])
    assert [m["end_s"] for m in of_type(messages, "emotion")] == [1.0, 2.0, 2.625]


async def test_flush_is_answered_after_the_results_of_all_that_was_heard(server: Server) -> None:
    pieces: list[Any] = [SPEECH[:70_000], {"type": "flush", "id": "now"}, SPEECH[70_000:]]
    messages, _ = await converse(server.url, {"vad": False}, pieces)
    kinds = [m["type"] for m in messages]
    flushed = kinds.index("flushed")
    assert messages[flushed]["id"] == "now"
    assert messages[flushed - 1]["end_s"] == 70_000 / 32_000
    assert kinds[-1] == "summary"


async def test_channels_are_analysed_as_named(server: Server) -> None:
    stereo = int16_bytes(restless(2.2, columns=2))
    start = {"channels": ["agent", "customer"], "vad": False}
    messages, _ = await converse(server.url, start, [stereo])
    assert messages[0]["analyze"] == ["customer"]
    assert {m["channel"] for m in of_type(messages, "emotion")} == {"customer"}


async def test_a_client_that_offers_the_subprotocol_gets_it(server: Server) -> None:
    async with dial(server.url, subprotocols=["emotion.v1", "bearer.abc"]) as connection:
        assert connection.subprotocol == "emotion.v1"


# --- what is refused ---


@pytest.mark.parametrize(
    ("first", "code", "closed"),
    [
        ("{", "bad_message", 1007),
        ("[]", "bad_message", 1007),
        (b"\0\0", "bad_message", 1007),
        ({"type": "stop"}, "bad_message", 1007),
        ({"type": "start", "sampel_rate": 8000}, "bad_message", 1007),
        ({"type": "start", "sample_rate": 4000}, "bad_message", 1007),
        ({"type": "start", "window_s": 11}, "bad_message", 1007),
        ({"type": "start", "window_s": 2, "hop_s": 3}, "bad_message", 1007),
        ({"type": "start", "encoding": "opus"}, "unsupported", 1003),
        ({"type": "start", "channels": ["agent"]}, "unsupported", 1003),
        ("x" * 70_000, "too_large", 1009),
        (b"\0" * ((1 << 20) + 1), "too_large", 1009),
    ],
)
async def test_a_bad_first_message_is_named_before_the_close(
    server: Server, first: Any, code: str, closed: int
) -> None:
    messages, close_code = await converse(server.url, None, [first])
    (error,) = messages
    assert (error["type"], error["code"], error["fatal"]) == ("error", code, True)
    assert close_code == closed


async def test_a_frame_that_is_too_long_is_named_and_disturbs_no_other_session(
    server: Server,
) -> None:
    async with dial(server.url) as other:
        await say(other, {"type": "start", "vad": False})
        await say(other, SPEECH[:16_000])
        messages, code = await converse(server.url, {}, [b"\0" * ((1 << 20) + 1)])
        assert messages[-1]["code"] == "too_large" and code == 1009
        await say(other, SPEECH[16_000:40_000])
        await say(other, STOP)
        assert [m["end_s"] for m in of_type(await hear(other), "emotion")] == [1.0]


async def test_text_that_is_not_utf8_is_named_before_the_close(server: Server) -> None:
    async with dial(server.url) as connection:
        await say(connection, {"type": "start"})
        await hear_one(connection)
        await connection.send(b"\xff\xfe", text=True)
        (error,) = await hear(connection)
        assert error["code"] == "bad_message" and connection.close_code == 1007


async def test_a_frame_that_websockets_do_not_allow_is_named_before_the_close(
    server: Server,
) -> None:
    async with dial(server.url) as connection:
        await say(connection, {"type": "start"})
        await hear_one(connection)
        connection.transport.write(b"\x83\x80\0\0\0\0")  # opcode 3 is reserved
        (error,) = await hear(connection)
        assert error["code"] == "bad_message" and connection.close_code == 1002


async def test_samples_that_are_not_finite_end_the_stream_after_the_results_before_them(
    server: Server,
) -> None:
    good = np.zeros(16_000 * 2, np.float32).tobytes()
    bad = np.array([0, np.nan], np.float32).tobytes()
    messages, code = await converse(
        server.url, {"encoding": "pcm_f32le", "vad": False}, [good, bad]
    )
    assert [m["type"] for m in messages][:3] == ["started", "emotion", "emotion"]
    assert messages[-1]["code"] == "bad_audio" and "sample 32001 is nan" in messages[-1]["message"]
    assert code == 1007


@pytest.mark.parametrize(
    "text", ["{", '{"type":"flsh"}', '{"type":"start"}', '{"type":"flush","id":7}']
)
async def test_a_bad_message_in_mid_stream_does_not_end_it(server: Server, text: str) -> None:
    messages, code = await converse(server.url, {"vad": False}, [text, SPEECH[:40_000]])
    (error,) = of_type(messages, "error")
    assert error["code"] == "bad_message" and error["fatal"] is False
    assert of_type(messages, "emotion") and messages[-1]["type"] == "summary" and code == 1000


async def test_adapting_needs_a_model_that_can(model_folder: Any, tmp_path: Any) -> None:
    from tests.fakes import write_model

    folder = write_model(tmp_path / "fixed", classifier=False)
    async with running(Config(port=0, model=folder)) as server:
        messages, code = await converse(server.url, {"adapt": True})
        assert messages[0]["code"] == "unsupported" and code == 1003


# --- bounds ---


async def test_an_idle_stream_ends_with_idle_and_a_keepalive_holds_it(engine: Engine) -> None:
    async with running(Config(port=0, idle_timeout_s=0.6), engine) as server:
        async with dial(server.url) as connection:
            await say(connection, {"type": "start"})
            for _ in range(5):
                await asyncio.sleep(0.2)
                await say(connection, {"type": "keepalive"})
            messages = await hear(connection)
    assert [m.get("code") for m in messages] == [None, "idle"]
    assert connection.close_code == 1008


async def test_who_never_starts_is_let_go(engine: Engine) -> None:
    async with running(Config(port=0, start_timeout_s=0.1), engine) as server:
        messages, code = await converse(server.url, None)
        assert messages[0]["code"] == "idle" and code == 1008
        assert server.admission.active == 0


async def test_a_full_server_refuses_before_the_upgrade(server: Server) -> None:
    async with dial(server.url), dial(server.url), dial(server.url):
        with pytest.raises(InvalidStatus) as refused:
            await converse(server.url, {})
        assert refused.value.response.status_code == 503
        assert b"all 3 sessions are taken" in refused.value.response.body


async def test_a_full_server_tells_a_browser_over_the_websocket(server: Server) -> None:
    async with dial(server.url), dial(server.url), dial(server.url):
        messages, code = await converse(server.url, None, origin=server.url.replace("ws:", "http:"))
        assert messages[0]["code"] == "at_capacity" and code == 1013
        assert server.admission.active == 3


async def test_a_client_that_vanishes_gives_its_slot_back(server: Server) -> None:
    async with dial(server.url) as connection:
        await say(connection, {"type": "start"})
        await hear_one(connection)
        await say(connection, SPEECH[:1234])
        connection.transport.abort()
    await until(lambda: server.admission.active == 0)


async def test_audio_ahead_of_the_clock_is_held_back_not_piled_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    piles: list[float] = []

    class Watched(Session):
        def feed(self, data: Any, now: float) -> None:
            super().feed(data, now)
            piles.append(self.unjudged_s)

    monkeypatch.setattr(stream_server.calls, "Session", Watched)
    async with running(Config(port=0), engine) as server:
        messages, _ = await converse(server.url, {"vad": False}, [b"\1\0" * 400_000] * 6)
    assert max(piles) <= stream_server.intake.FAST_BACKLOG_S + stream_server.intake.SLICE_S
    assert messages[-1]["windows"] == 150 and messages[-1]["skipped"] == 0
    assert [m["code"] for m in of_type(messages, "warning")] == ["too_fast"]


async def test_audio_ahead_of_the_clock_does_not_count_as_live_for_having_been_held_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    class Watched(Scheduler):
        async def judge(self, take: Any, live: bool) -> Any:
            asked.append(live)
            return await super().judge(take, live)

    monkeypatch.setattr(stream_server.server, "Scheduler", Watched)
    monkeypatch.setattr(stream_server.intake, "FAST_BACKLOG_S", 2.0)
    gate = threading.Event()
    async with running(Config(port=0), Choosy(engine, "left", gate)) as server:
        async with dial(server.url) as connection:
            await say(connection, {"type": "start", "channels": ["left"], "vad": False})
            await say(connection, b"\1\0" * 16_000 * 4)
            await asyncio.sleep(2.0)  # more than the audio is ahead of what counts as live
            before = len(asked)
            gate.set()
            await say(connection, STOP)
            await hear(connection)
    assert before >= 1 and asked[before] is False


async def test_audio_that_makes_no_window_yet_is_not_held_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_server.intake, "MAX_HOLD_S", 3600.0)
    async with running(Config(port=0), engine) as server:
        start = {"window_s": 10.0, "hop_s": 10.0, "vad": False}
        messages, code = await converse(server.url, start, [b"\1\0" * 16_000 * 10])
    assert [m["end_s"] for m in of_type(messages, "emotion")] == [10.0] and code == 1000


async def test_a_live_session_that_falls_behind_skips_to_the_newest_window(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emotion.session, "MAX_WAIT_S", 0.1)
    gate = threading.Event()
    async with running(Config(port=0), Choosy(engine, "left", gate)) as server:
        async with dial(server.url) as connection:
            start = {"channels": ["left"], "hop_s": 0.25, "window_s": 1.0, "vad": False}
            await say(connection, {"type": "start", **start})
            for i in range(24):
                await say(connection, SPEECH[i * 3200 : (i + 1) * 3200])
                await asyncio.sleep(0.1)
            gate.set()
            await asyncio.sleep(0.3)
            await say(connection, STOP)
            messages = await hear(connection)
    (warning,) = of_type(messages, "warning")
    assert warning["code"] == "skipped_windows" and warning["count"] >= 1
    assert messages[-1]["skipped"] == warning["count"]
    ends = [m["end_s"] for m in of_type(messages, "emotion")]
    assert ends[0] == 1.0 and ends[1] == 1.0 + 0.25 * (1 + warning["count"])


async def test_a_stalled_window_delays_no_other_session(engine: Engine) -> None:
    gate = threading.Event()
    config = Config(port=0, threads=2)
    async with running(config, Choosy(engine, "left", gate)) as server:
        async with dial(server.url) as stalled:
            await say(stalled, {"type": "start", "channels": ["left"], "vad": False})
            await say(stalled, SPEECH[:40_000])
            messages, code = await converse(server.url, {"vad": False}, [SPEECH])
            assert len(of_type(messages, "emotion")) == 5 and code == 1000
            gate.set()


async def test_a_window_that_cannot_be_judged_ends_only_its_own_session(engine: Engine) -> None:
    async with running(Config(port=0), Choosy(engine, "left")) as server:
        async with dial(server.url) as other:
            await say(other, {"type": "start", "vad": False})
            messages, code = await converse(
                server.url, {"channels": ["left"], "vad": False}, [SPEECH]
            )
            assert messages[-1]["code"] == "internal" and code == 1011
            assert "broke" not in json.dumps(messages)
            await say(other, SPEECH[:40_000])
            await say(other, STOP)
            assert len(of_type(await hear(other), "emotion")) == 1
        await until(lambda: server.admission.active == 0)


@asynccontextmanager
async def serving(
    connection: Any, engine: Engine, admission: Admission | None = None, **settings: Any
) -> AsyncIterator[asyncio.Task[None]]:
    """A stream that serves this connection."""
    config = Config(**settings)
    scheduler = Scheduler(engine, 1)
    calls = Calls(engine, scheduler, Hub(100))
    stream = Stream(connection, Native(), calls, ANONYMOUS, config)
    yield asyncio.create_task(stream.serve((admission or Admission(1)).slot))
    await calls.close()
    scheduler.close()


class Deaf:
    """A connection whose client sends but does not read: what is sent to it never leaves."""

    def __init__(self, messages: list[str | bytes]) -> None:
        self.messages = messages
        self.aborted = False
        self.transport = self
        self.close_code = 1006

    async def recv(self) -> str | bytes:
        return self.messages.pop(0) if self.messages else await asyncio.Future()

    async def send(self, text: str) -> None:
        await asyncio.Future()

    def abort(self) -> None:
        self.aborted = True

    async def close(self, code: int, reason: str = "") -> None:
        raise AssertionError("it is aborted: a close frame would wait like the rest")


async def test_many_small_frames_at_once_leave_others_their_turns(engine: Engine) -> None:
    crowd: Any = Deaf(['{"type":"start"}', *[b"\0"] * 1000, '{"type":"stop"}'])
    crowd.send = crowd.close = lambda *_: asyncio.sleep(0)
    left = []
    async with serving(crowd, engine) as stream:
        while not stream.done():
            await asyncio.sleep(0)
            left.append(len(crowd.messages))
    assert max(a - b for a, b in pairwise(left)) <= FRAMES_A_TURN


async def test_who_pings_and_does_not_read_is_cut_off(server: Server) -> None:
    def flood() -> int:
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            client.settimeout(20)
            client.sendall(
                b"GET /v1/stream HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert client.recv(4096).startswith(b"HTTP/1.1 101")
            pings = (b"\x89\xfd\0\0\0\0" + b"x" * 125) * 1000
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 1 << 24:
                    client.sendall(pings)
                    sent += len(pings)
            return sent

    assert await asyncio.to_thread(flood) < 1 << 24
    await until(lambda: server.admission.active == 0)


async def test_a_client_that_does_not_read_is_given_up(engine: Engine) -> None:
    deaf: Any = Deaf(['{"type":"start"}', SPEECH])
    admission = Admission(1)
    async with serving(deaf, engine, admission, send_timeout_s=0.05) as stream:
        await asyncio.wait_for(stream, 20)
    assert deaf.aborted and admission.active == 0


async def test_a_close_that_waits_for_the_client_to_read_is_given_up(engine: Engine) -> None:
    deaf: Any = Deaf(["{"])
    deaf.send = lambda *_: asyncio.sleep(0)
    deaf.close = lambda *_: asyncio.Future()
    async with serving(deaf, engine, send_timeout_s=0.05) as stream:
        await asyncio.wait_for(stream, 20)
    assert deaf.aborted


async def test_a_close_reads_what_the_client_still_sends(engine: Engine) -> None:
    talker: Any = Deaf(["{", *[b"\0"] * 100])
    talker.send = lambda *_: asyncio.sleep(0)
    talker.close = lambda *_: until(lambda: not talker.messages)
    async with serving(talker, engine) as stream:
        await asyncio.wait_for(stream, 20)
    assert not talker.messages and not talker.aborted


async def test_what_a_client_says_makes_no_lines_of_its_own_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await converse(server.url, {"channels": ["a\nforged line"]})
    async with dial(server.url) as connection:
        await say(connection, {"type": "start"})
        await connection.close(1000, "bye\nforged line")
    await until(lambda: "went away" in caplog.text)
    assert "\nforged line" not in caplog.text


# --- the end ---


async def test_draining_gives_running_sessions_their_results_and_1001(engine: Engine) -> None:
    async with running(Config(port=0), engine) as server:
        async with dial(server.url) as idle, dial(server.url) as busy:
            await say(busy, {"type": "start", "vad": False})
            await say(busy, SPEECH[:60_000])
            await hear_one(busy)
            await hear_one(busy)
            await server.drain()
            messages = await hear(busy)
            assert [m["type"] for m in messages] == ["emotion", "summary"]
            assert messages[-1]["audio_s"] == 60_000 / 32_000
            assert busy.close_code == 1001
            assert await hear(idle) == [] and idle.close_code == 1001
            with pytest.raises(InvalidStatus):
                await converse(server.url, {})


async def test_audio_that_comes_while_the_server_drains_is_no_error_of_the_client(
    engine: Engine,
) -> None:
    gate = threading.Event()
    async with running(Config(port=0, threads=1), Choosy(engine, "right", gate)) as server:
        async with dial(server.url) as connection:
            start = {"channels": ["left", "right"], "analyze": ["left", "right"], "vad": False}
            await say(connection, {"type": "start", **start})
            await say(connection, b"\1\0" * 2 * 12_000)
            await hear_one(connection)  # started
            await asyncio.sleep(0.1)
            listening = asyncio.create_task(hear(connection))
            draining = asyncio.create_task(server.drain())
            await asyncio.sleep(
                0.1
            )  # the partial window of `left` is judged, that of `right` waits
            await say(connection, b"\1\0" * 100)
            await say(connection, {"type": "keepalive"})
            await asyncio.sleep(0.1)
            gate.set()
            await draining
            messages = await listening
    assert [m["type"] for m in messages] == ["emotion", "emotion", "summary"]
    assert connection.close_code == 1001
