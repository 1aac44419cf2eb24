"""The hub: a ring, and subscribers who are places in it."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

import stream_server.hub
from emotion.errors import MessageError
from emotion.messages import Silence
from stream_server.hub import Cursor, Hub, Subscription
from tests.fakes import silence, summary_of

PATIENCE_S = 20.0


def event(number: int, stream: str = "call-1") -> Silence:
    name = f"{stream}:{number}"
    return silence(number, float(number), id=name, stream_id=stream, channel="customer")


def publish(hub: Hub, numbers: Iterable[int], stream: str = "call-1") -> None:
    for number in numbers:
        hub.publish(event(number, stream))


async def read(subscription: Subscription, count: int) -> list[dict[str, Any]]:
    """The next so many frames."""
    frames = []
    async with asyncio.timeout(PATIENCE_S):
        async for text in subscription:
            if "subscribed" in text:
                continue
            frames.append(json.loads(text))
            if len(frames) == count:
                break
    return frames


def hub_of(size: int, began: float = 1000.0) -> Hub:
    return Hub(size, clock=lambda: began)


async def test_events_come_as_on_the_wire_with_a_cursor_and_a_time():
    hub = hub_of(10)
    subscription = hub.subscribe()
    hub.publish(event(1))
    [frame] = await read(subscription, 1)
    assert frame.pop("cursor") == "1000000-1" and frame.pop("time") == 1000.0
    assert frame == msgspec.to_builtins(event(1))


async def test_who_comes_without_a_cursor_hears_only_what_follows():
    hub = hub_of(10)
    publish(hub, [1, 2])
    subscription = hub.subscribe()
    publish(hub, [3])
    assert [frame["seq"] for frame in await read(subscription, 1)] == [3]


async def test_the_first_frame_says_where_it_begins():
    hub = hub_of(10)
    publish(hub, [1])
    first = json.loads(await anext(aiter(hub.subscribe("a*"))))
    assert first == {"type": "subscribed", "cursor": "1000000-1", "streams": "a*"}


async def test_who_comes_with_a_cursor_hears_what_came_after_it():
    hub = hub_of(10)
    subscription = hub.subscribe()
    publish(hub, range(1, 6))
    cursors = [Cursor.parse(frame["cursor"]) for frame in await read(subscription, 5)]
    for i in range(4):
        again = hub.subscribe(since=cursors[i])
        assert [frame["seq"] for frame in await read(again, 4 - i)] == list(range(i + 2, 6))


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [("*", [1, 2, 3]), ("call-*", [1, 2]), ("call-?", [1, 2]), ("CALL-*", []), ("[x-z]*", [3])],
)
async def test_a_pattern_chooses_streams_by_their_whole_name(pattern: str, heard: list[int]):
    hub = hub_of(10)
    subscription = hub.subscribe(pattern)
    for number, stream in ((1, "call-1"), (2, "call-2"), (3, "xcall-3")):
        publish(hub, [number], stream)
    hub.close()
    assert [frame["seq"] for frame in await read(subscription, 9)] == heard


async def test_a_subscriber_sees_no_stream_beyond_what_it_is_allowed():
    hub = hub_of(10)
    subscription = hub.subscribe("*")
    subscription.restrict("mine-*")
    publish(hub, [1], "mine-1")
    publish(hub, [2], "yours-1")
    hub.close()
    assert [frame["stream_id"] for frame in await read(subscription, 9)] == ["mine-1"]


async def test_what_has_left_the_ring_is_a_gap_with_its_count():
    hub = hub_of(4)
    subscription = hub.subscribe()
    publish(hub, range(1, 11))
    gap, *events = await read(subscription, 5)
    assert gap == {
        "type": "gap",
        "cursor": "1000000-6",
        "from": "1000000-0",
        "to": "1000000-6",
        "count": 6,
    }
    assert [frame["seq"] for frame in events] == [7, 8, 9, 10]


async def test_what_leaves_the_ring_while_a_gap_is_being_told_is_a_gap_too():
    hub = hub_of(4)
    stream = aiter(hub.subscribe())
    assert json.loads(await anext(stream))["type"] == "subscribed"
    publish(hub, range(1, 11))
    frames = [json.loads(await anext(stream))]
    publish(hub, range(11, 14))
    frames += [json.loads(await anext(stream)) for _ in range(5)]
    assert [(frame["from"], frame["to"], frame["count"]) for frame in frames[:2]] == [
        ("1000000-0", "1000000-6", 6),
        ("1000000-6", "1000000-9", 3),
    ]
    assert [frame["seq"] for frame in frames[2:]] == [10, 11, 12, 13]


async def test_a_cursor_of_an_earlier_process_is_a_gap_of_unknown_size():
    hub = hub_of(4, began=2000.0)
    publish(hub, [1])
    gap, first = await read(hub.subscribe(since=Cursor(1_000_000, 17)), 2)
    assert (gap["from"], gap["to"], gap["count"]) == ("1000000-17", "2000000-0", None)
    assert first["seq"] == 1


async def test_from_the_beginning_there_is_no_gap_while_nothing_was_dropped():
    hub = hub_of(4)
    frames = aiter(hub.subscribe(since=Cursor(0, 0)))
    assert json.loads(await anext(frames))["cursor"] == "1000000-0"
    publish(hub, [1, 2, 3, 4])
    assert (await read(hub.subscribe(since=Cursor(0, 0)), 1))[0]["seq"] == 1
    publish(hub, [5])
    [gap] = await read(hub.subscribe(since=Cursor(0, 0)), 1)
    assert (gap["from"], gap["to"], gap["count"]) == ("0-0", "1000000-1", None)
    gap = json.loads(await anext(frames))  # who was there when it was dropped hears how much it was
    assert (gap["from"], gap["to"], gap["count"]) == ("1000000-0", "1000000-1", 1)


async def test_from_the_beginning_of_anothers_order_there_is_a_gap_where_it_is_not_whole():
    for lost, kinds in ((Cursor(0, 0), ["silence"]), (Cursor(7, 1), ["gap", "silence"])):
        hub = hub_of(4)
        hub.begin(lost, lost)
        hub.append(Cursor(7, 2), "call-1", msgspec.json.encode(event(1)).decode())
        frames = await read(hub.subscribe(since=Cursor(0, 0)), len(kinds))
        assert [frame["type"] for frame in frames] == kinds


async def test_who_falls_behind_while_live_goes_on_with_the_newest_and_may_ask_again(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(stream_server.hub, "MAX_LAG", 5)
    hub = hub_of(100)
    subscription = hub.subscribe()
    stream = aiter(subscription)
    publish(hub, [1])
    assert json.loads(await anext(stream))["type"] == "subscribed"
    assert json.loads(await anext(stream))["seq"] == 1
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    publish(hub, range(2, 9), "call-1")
    publish(hub, range(2, 5), "other")
    gap = json.loads(await waiting)
    assert (gap["type"], gap["count"]) == ("gap", 10)
    publish(hub, [99])
    assert json.loads(await anext(stream))["seq"] == 99
    again = await read(hub.subscribe("call-*", since=Cursor.parse(gap["from"])), 8)
    assert [frame["seq"] for frame in again] == [2, 3, 4, 5, 6, 7, 8, 99]


async def test_among_very_many_events_a_slow_subscribers_own_are_not_counted(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(stream_server.hub, "MAX_LAG", 5)
    monkeypatch.setattr(stream_server.hub, "MAX_COUNTED", 10)
    for pattern, amount, expected in (("call-*", 10, 10), ("call-*", 11, None), ("*", 11, 11)):
        hub = hub_of(100)
        stream = aiter(hub.subscribe(pattern))
        assert json.loads(await anext(stream))["type"] == "subscribed"
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        publish(hub, range(amount), "call-1")
        gap = json.loads(await waiting)
        assert (gap["type"], gap["count"]) == ("gap", expected)


async def test_a_replay_longer_than_a_live_lag_is_not_cut_short(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream_server.hub, "MAX_LAG", 5)
    monkeypatch.setattr(stream_server.hub, "BATCH", 3)
    hub = hub_of(100)
    start = hub.newest
    publish(hub, range(50))
    frames = await read(hub.subscribe(since=start), 50)
    assert [frame["seq"] for frame in frames] == list(range(50))


async def test_the_ring_keeps_no_more_than_its_size():
    hub = hub_of(10)
    publish(hub, range(1000))
    assert len(hub._ring) == 10 and hub.newest == Cursor(1_000_000, 1000)


async def test_when_the_hub_closes_what_is_left_is_read_first():
    hub = hub_of(10)
    subscription = hub.subscribe()
    publish(hub, [1, 2])
    hub.publish(summary_of(audio_s=1))
    hub.close()
    frames = await read(subscription, 9)
    assert [frame["type"] for frame in frames] == ["silence", "silence", "summary"]


@pytest.mark.parametrize(
    "text", ["", "1", "-", "1-", "a-1", "1-٣", "1-1-1", "9" * 50 + "-1", "-1-1"]
)
def test_what_is_no_cursor_is_refused(text: str):
    with pytest.raises(MessageError, match="since"):
        Cursor.parse(text)


async def test_who_sees_only_some_streams_is_not_told_how_much_there_was_of_others():
    for pattern, allowed in (("mine", "*"), ("*", "mine")):
        hub = hub_of(4)
        subscription = hub.subscribe(pattern)
        subscription.restrict(allowed)
        publish(hub, range(40), "theirs")
        [gap] = await read(subscription, 1)
        assert gap["type"] == "gap" and gap["count"] is None


async def test_what_the_bus_lost_is_a_gap_and_what_follows_comes():
    hub = hub_of(10)
    subscription = hub.subscribe()
    publish(hub, [1, 2])
    hub.lose(Cursor(1_000_001, 5))
    hub.append(Cursor(1_000_001, 6), "call-1", '{"time":1,"seq":9}')
    gap, event = await read(subscription, 2)
    assert (gap["to"], gap["count"], event["seq"]) == ("1000001-5", None, 9)
    assert [e.get("seq") for e in await read(hub.subscribe(since=Cursor.parse(gap["to"])), 1)] == [
        9
    ]
