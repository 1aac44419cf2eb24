"""A call outlives its connections."""

import asyncio
import hashlib
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

import stream_server.call
from emotion.engine import Engine
from emotion.parsing import start_from
from stream_server.config import Config
from stream_server.server import Server, running
from stream_server.tables import Token
from tests.fakes import int16_bytes
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

SPEECH = int16_bytes(speech_like(6.3))
SECOND = 32_000  # bytes
START = {"type": "start", "vad": False, "hop_s": 0.5}


async def hear_events(connection: ClientConnection, count: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while len(events) < count:
        events += of_type([await hear_one(connection)], "emotion", "silence")
    return events


async def begun(connection: ClientConnection) -> dict[str, Any]:
    await say(connection, START)
    return await hear_one(connection)


async def broken_off(server: Server) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """`started` and the 11 events of a call whose connection broke once it had heard them."""
    async with dial(server.url) as connection:
        started = await begun(connection)
        await say(connection, SPEECH)
        events = await hear_events(connection, 11)
        connection.transport.abort()
    return started, events


async def resumed(
    connection: ClientConnection, started: dict[str, Any], last_seq: int
) -> dict[str, Any]:
    resume = {"session_id": started["session_id"], "last_seq": last_seq}
    await say(connection, {**START, "resume": resume})
    return await hear_one(connection)


async def whole(server: Server) -> list[dict[str, Any]]:
    """What the speech gives over one connection."""
    messages, _ = await converse(server.url, START, [SPEECH])
    return without_clock(of_type(messages, "emotion", "summary"))


@pytest.mark.parametrize("cut", [0, 1, SECOND - 1, SECOND + 1, 3 * SECOND, len(SPEECH)])
async def test_a_call_over_two_connections_gives_the_events_of_one(server: Server, cut: int):
    async with dial(server.url) as first:
        started = await begun(first)
        await say(first, SPEECH[:cut])
        await say(first, {"type": "flush", "id": "x"})
        before = [await hear_one(first)]
        while before[-1]["type"] != "flushed":
            before.append(await hear_one(first))
        first.transport.abort()
    events = [m for m in of_type(before, "emotion") if m["end_s"] * 2 == int(m["end_s"] * 2)]
    await until(lambda: server._calls.parked == 1 and server.admission.active == 0)
    async with dial(server.url) as second:
        again = await resumed(second, started, last_seq=len(of_type(before, "emotion")))
        assert again["resumed"] and again["received_samples"] == cut // 2
        assert again["adapt"] is True
        await say(second, SPEECH[2 * again["received_samples"] :])
        await say(second, STOP)
        after = await hear(second)
        assert second.close_code == 1000
    seqs = [m["seq"] for m in of_type([*before, *after], "emotion")]
    assert seqs == list(range(1, len(seqs) + 1))
    grid = [m for m in [*events, *of_type(after, "emotion")]]
    without = [{k: v for k, v in m.items() if k != "seq"} for m in without_clock(grid)]
    expected = [
        {k: v for k, v in m.items() if k != "seq"}
        for m in await whole(server)
        if m["type"] == "emotion"
    ]
    assert without == expected
    assert [m["adapted_s"] for m in grid] == [m["end_s"] for m in grid]  # statistics go on


async def test_events_that_came_meanwhile_come_again(server: Server):
    started, events = await broken_off(server)
    async with dial(server.url) as second:
        await resumed(second, started, last_seq=4)
        assert await hear_events(second, 7) == events[4:]


async def test_events_that_are_no_longer_kept_are_counted(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stream_server.call, "OUTBOX", 3)
    started, events = await broken_off(server)
    async with dial(server.url) as second:
        await resumed(second, started, last_seq=4)
        warning = await hear_one(second)
        assert (warning["code"], warning["count"]) == ("missed_events", 4)
        assert await hear_events(second, 3) == events[8:]


async def test_a_summary_that_did_not_arrive_comes_again(server: Server):
    async with dial(server.url) as first:
        started = await begun(first)
        await say(first, SPEECH)
        first.transport.pause_reading()
        await say(first, STOP)
        await until(lambda: server._calls._known[started["session_id"]].ended)
        first.transport.abort()
    await until(lambda: server._calls.parked == 1)
    async with dial(server.url) as second:
        await resumed(second, started, last_seq=0)
        messages = await hear(second)
    assert messages[-1]["type"] == "summary" and second.close_code == 1000
    await until(lambda: len(server._calls) == 0)


async def test_a_new_connection_takes_over_from_one_that_hangs(server: Server):
    async with dial(server.url) as first, dial(server.url) as second:
        started = await begun(first)
        await say(first, SPEECH[:SECOND])
        event = await hear_one(first)
        again = await resumed(second, started, last_seq=event["seq"])
        assert again["received_samples"] == SECOND // 2
        await hear(first)
        assert first.close_code == 1008
        await say(second, SPEECH[SECOND : 2 * SECOND])
        assert (await hear_one(second))["end_s"] == 1.5


async def test_two_who_resume_at_once_leave_one_connected(server: Server):
    async with dial(server.url) as first, dial(server.url) as a, dial(server.url) as b:
        started = await begun(first)
        resume = {"session_id": started["session_id"], "last_seq": 0}
        for connection in (a, b):
            await say(connection, {**START, "resume": resume})
        ends = [asyncio.create_task(hear(connection)) for connection in (first, a, b)]
        _, left = await asyncio.wait(ends, timeout=5, return_when="FIRST_COMPLETED")
        await until(lambda: server.admission.active == 1)
        for task in left:
            task.cancel()


async def test_a_session_that_nobody_knows_cannot_be_resumed(server: Server):
    resume = {"session_id": "x", "last_seq": 0}
    messages, code = await converse(server.url, {"resume": resume})
    assert messages[-1]["code"] == "unknown_session" and code == 1008


async def test_a_session_belongs_to_whoever_opened_it(server: Server):
    async with dial(server.url) as first:
        started = await begun(first)
        call = server._calls._known[started["session_id"]]
        call.owner = "somebody else"
        resume = {"session_id": started["session_id"], "last_seq": 0}
        messages, _ = await converse(server.url, {"resume": resume})
        assert messages[-1]["code"] == "unknown_session"
        await say(first, STOP)
        assert (await hear(first))[-1]["type"] == "summary"


def desk(text: str, streams: str) -> Config:
    """One token's configuration; whoever has it may publish these streams."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    token = Token(name="desk", sha256=digest, roles=("publish",), streams=streams)
    return Config(port=0, max_sessions=3, resume_grace_s=0.5, tokens=(token,))


async def test_who_may_no_longer_publish_a_stream_leaves_its_call_parked(engine: Engine):
    wide, narrow = desk("old", "*"), desk("new", "mine-*")
    async with running(wide, engine) as server:
        old = {"additional_headers": {"Authorization": "Bearer old"}}
        async with dial(server.url, **old) as first:
            started = await begun(first)
            first.transport.abort()
        await until(lambda: server._calls.parked == 1)
        server.reload(narrow)
        resume = {"session_id": started["session_id"], "last_seq": 0}
        new = {"additional_headers": {"Authorization": "Bearer new"}}
        messages, code = await converse(server.url, {"resume": resume}, **new)
        assert messages[-1]["code"] == "unauthorized" and code == 1008
        assert server._calls.parked == 1
        await until(lambda: len(server._calls) == 0)  # its grace period still ends it


@pytest.mark.parametrize("frames", [1, 4, 7])
async def test_short_frames_that_are_kept_for_later_are_neither_lost_nor_doubled(
    server: Server, frames: int
):
    async with dial(server.url) as first, dial(server.url) as second:
        started = await begun(first)
        for number in range(frames):
            await say(first, SPEECH[number * 640 : (number + 1) * 640])
        await say(first, SPEECH[frames * 640 : frames * 640 + 101])  # in the middle of a sample
        call = server._calls._known[started["session_id"]]
        await until(lambda: call.session.audio_s * 32_000 >= frames * 640 + 100)
        again = await resumed(second, started, last_seq=0)
        assert again["received_samples"] == frames * 320 + 50
        await say(second, SPEECH[2 * again["received_samples"] :])
        await say(second, STOP)
        messages = await hear(second)
    assert without_clock(of_type(messages, "emotion", "summary")) == await whole(server)


async def test_after_the_grace_period_a_call_ends_and_its_summary_is_published(engine: Engine):
    async with running(Config(port=0, resume_grace_s=0.1), engine) as server:
        subscription = server.hub.subscribe()
        async with dial(server.url) as first:
            started = await begun(first)
            await say(first, SPEECH[:SECOND])
            await hear_one(first)
            first.transport.abort()
        await until(lambda: len(server._calls) == 0)
        server.hub.close()
        types = [json.loads(text)["type"] async for text in subscription]
        assert types == ["subscribed", "started", "emotion", "summary"]
        messages, _ = await converse(
            server.url, {"resume": {"session_id": started["session_id"], "last_seq": 0}}
        )
        assert messages[-1]["code"] == "unknown_session"


async def test_a_client_that_closes_well_is_not_waited_for(server: Server):
    async with dial(server.url) as first:
        await begun(first)
    await until(lambda: server.admission.active == 0)
    assert server._calls.parked == 0


async def test_no_more_calls_are_parked_than_there_may_be_sessions(server: Server):
    for _ in range(5):
        async with dial(server.url) as connection:
            await begun(connection)
            connection.transport.abort()
        await until(lambda: server.admission.active == 0)
    assert server._calls.parked == 3 and len(server._calls) == 3


async def test_lost_audio_leaves_silence_and_times_stay_true(server: Server):
    async with dial(server.url) as connection:
        await say(connection, {"type": "start"})
        await hear_one(connection)
        await say(connection, SPEECH[:SECOND])
        await say(connection, {"type": "gap", "samples": 16_000 * 4})
        await say(connection, SPEECH[: 2 * SECOND])
        await say(connection, STOP)
        events = of_type(await hear(connection), "emotion", "silence")
    assert [event["end_s"] for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert [event["type"] for event in events[3:5]] == ["silence", "silence"]


@pytest.mark.parametrize("samples", [0, -1, 1.5, "1", 16_000 * 60 + 1, 1 << 70])
async def test_a_gap_that_makes_no_sense_is_refused_and_the_stream_goes_on(
    server: Server, samples: Any
):
    async with dial(server.url) as connection:
        await begun(connection)
        await say(connection, {"type": "gap", "samples": samples})
        error = await hear_one(connection)
        assert error["code"] == "bad_message" and not error["fatal"] and "gap" in error["message"]
        await say(connection, STOP)
        assert (await hear(connection))[-1]["audio_s"] == 0


async def test_a_connection_that_breaks_while_another_takes_over_ends_nothing(engine: Engine):
    async with running(Config(port=0, max_sessions=3, resume_grace_s=0.3), engine) as server:
        for ticks in range(4):
            async with dial(server.url) as first, dial(server.url) as second:
                started = await begun(first)
                first.transport.abort()
                for _ in range(ticks):
                    await asyncio.sleep(0)
                assert (await resumed(second, started, last_seq=0))["resumed"]
                await asyncio.sleep(0.5)  # longer than the grace period
                assert server._calls.parked == 0
                await say(second, SPEECH[:SECOND])
                assert (await hear_one(second))["end_s"] == 1
                await say(second, STOP)
                await hear(second)


async def test_a_call_that_ended_meanwhile_is_not_parked_again(server: Server):
    async with dial(server.url) as first:
        started = await begun(first)
        call = server._calls._known[started["session_id"]]
        server._calls.forget(call)
        server._calls.park(call)
        assert server._calls.parked == 0
        server._calls.drain()


async def test_who_starts_while_the_server_begins_to_drain_is_ended_too(engine: Engine):
    for ticks in range(4):
        async with running(Config(port=0, max_sessions=3), engine) as server:
            async with dial(server.url) as connection:
                await until(lambda server=server: server._streams)
                await say(connection, START)
                for _ in range(ticks):
                    await asyncio.sleep(0)
                async with asyncio.timeout(5):
                    await server.drain()
                await hear(connection)
                assert connection.close_code == 1001


async def test_work_that_was_left_behind_is_bounded(server: Server):
    for number in range(5):
        call = server._calls.open(start_from(), f"somebody {number}")
        call.abandoned = True
        if server._calls.abandoned > 3:
            break
    messages, code = await converse(server.url, {})
    assert messages[-1]["code"] == "at_capacity" and code == 1013


async def test_too_many_parked_calls_of_one_owner_push_out_none_of_anothers(server: Server):
    calls = [server._calls.open(start_from(), owner) for owner in ("a", "b", "b", "b", "b")]
    for call in calls:
        server._calls.park(call)
    assert server._calls.parked == 3 and not calls[0].abandoned
    assert [call.abandoned for call in calls[1:]] == [True, True, False, False]


async def test_where_too_many_are_parked_the_oldest_gives_way_to_an_owners_only_one(server: Server):
    calls = [server._calls.open(start_from(), owner) for owner in ("a", "b", "b", "c")]
    for call in calls:
        server._calls.park(call)
    assert server._calls.parked == 3
    assert [call.abandoned for call in calls] == [True, False, False, False]
