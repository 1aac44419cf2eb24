"""One stream over a real socket: audio ahead of the clock, and judging that falls behind or breaks."""

import asyncio
import json
import threading
from typing import Any

import pytest

import emotion.session
import stream_server.calls
import stream_server.intake
import stream_server.server
from emotion.engine import Engine
from emotion.session import Session
from stream_server.config import Config
from stream_server.scheduler import Scheduler
from stream_server.server import running
from tests.fakes import Choosy, int16_bytes
from tests.speech import speech_like
from tests.stream_server.client import STOP, converse, dial, hear, hear_one, of_type, say, until

SPEECH = int16_bytes(speech_like(5.3))


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


async def test_the_clock_of_a_call_that_is_taken_over_while_it_is_held_back_goes_on(
    engine: Engine,
) -> None:
    gate = threading.Event()
    start = {"type": "start", "channels": ["left"], "vad": False}
    async with running(Config(port=0), Choosy(engine, "left", gate)) as server:
        async with dial(server.url) as first, dial(server.url) as second:
            await say(first, start)
            session_id = (await hear_one(first))["session_id"]
            await say(first, b"\1\0" * 16_000 * 8)
            call = server._calls._known[session_id]
            await until(lambda: call._held_since is not None)
            await say(second, {**start, "resume": {"session_id": session_id, "last_seq": 0}})
            assert (await hear_one(second))["received_samples"] >= 4 * 16_000
            assert not call.live
            later = call._now() + 100
            call._now = lambda: later
            assert call.live
            gate.set()


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
