"""One stream over a real socket: the protocol's promises, its refusals and its end."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from emotion.engine import Engine
from stream_server.config import Config
from stream_server.server import Server, running
from tests.fakes import Choosy, events_of, heard, int16_bytes, plain, restless
from tests.speech import speech_like
from tests.stream_server.client import (
    STOP,
    converse,
    dial,
    hear,
    hear_one,
    of_type,
    say,
    without_clock,
)

SPEECH = int16_bytes(speech_like(5.3))

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


@pytest.mark.parametrize(
    ("start", "adapts"), [({}, True), ({"adapt": True}, True), ({"adapt": False}, False)]
)
async def test_a_stream_adapts_unless_it_says_otherwise(
    server: Server, start: dict[str, bool], adapts: bool
) -> None:
    messages, _ = await converse(server.url, {"vad": False} | start, [SPEECH[:64_000]])
    assert messages[0]["adapt"] is adapts
    adapted = [m["adapted_s"] for m in of_type(messages, "emotion")]
    assert adapted == ([1, 2] if adapts else [0, 0])


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


@pytest.mark.parametrize("model", [{"classifier": False}, {"adaptable": False}])
async def test_a_model_that_cannot_adapt_serves_all_but_who_insists(
    model: dict[str, bool], tmp_path: Any
) -> None:
    from tests.fakes import write_model

    folder = write_model(tmp_path / "fixed", **model)
    async with running(Config(port=0, model=folder, max_sessions=3)) as server:
        messages, code = await converse(server.url, {"adapt": True})
        assert messages[0]["code"] == "unsupported" and code == 1003
        for start in ({}, {"adapt": None}, {"adapt": False}):
            messages, code = await converse(server.url, {"vad": False} | start, [SPEECH[:64_000]])
            assert messages[0]["adapt"] is False and code == 1000
            assert [m["adapted_s"] for m in of_type(messages, "emotion")] == [0, 0]


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
