"""Alerts from a call's events to whoever follows it, to the bus and to the webhook."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from emotion.alerts import Rule
from emotion.engine import Engine
from emotion.labels import EMOTIONS
from stream_server.__main__ import warn_of
from stream_server.config import Config
from stream_server.server import Server, running
from stream_server.tables import Webhook
from tests.fakes import Choosy, int16_bytes
from tests.speech import speech_like
from tests.stream_server.client import converse, dial, hear_one, of_type, say, until
from tests.stream_server.receiver import SECRET, receiving, verify
from tests.stream_server.test_bus import RedisServer, redis  # noqa: F401 (a fixture)
from tests.stream_server.test_metrics import samples

SPEECH = int16_bytes(speech_like(6.3))
ALWAYS = Rule(name="always", emotions=EMOTIONS, above=0.99, for_s=3, streams="call-*")
START = {"type": "start", "vad": False, "stream_id": "call-1"}


@asynccontextmanager
async def serving(engine: Engine, *rules: Rule, **settings: Any) -> AsyncIterator[Server]:
    config = Config(port=0, max_sessions=5, alerts=rules or (ALWAYS,), **settings)
    async with running(config, engine) as server:
        yield server


@asynccontextmanager
async def following(server: Server, query: str = "") -> AsyncIterator[ClientConnection]:
    async with connect(f"{server.url}/v1/monitor{query}") as monitor:
        assert (await hear_one(monitor))["type"] == "subscribed"
        yield monitor


async def until_summary(monitor: ClientConnection) -> list[dict[str, Any]]:
    events = [await hear_one(monitor)]
    while events[-1]["type"] != "summary":
        events.append(await hear_one(monitor))
    return events


def shape(events: list[dict[str, Any]]) -> list[Any]:
    """What came in which order: windows by their end, alerts by their state, others by type."""
    return [event.get("state") or event.get("end_s") or event["type"] for event in events]


async def test_who_follows_hears_an_alert_after_its_event_and_its_end_before_the_summary(
    engine: Engine,
) -> None:
    async with serving(engine) as server, following(server) as monitor:
        own, _ = await converse(server.url, START, [SPEECH])
        events = await until_summary(monitor)
    assert shape(events) == ["started", 1, 2, 3, "raised", 4, 5, 6, "cleared", "summary"]
    raised, cleared = of_type(events, "alert")
    assert list(raised)[:2] == ["cursor", "time"]
    session = events[0]["session_id"]
    assert {k: v for k, v in raised.items() if k not in ("cursor", "time")} == {
        "type": "alert",
        "id": f"{session}:alert:1",
        "stream_id": "call-1",
        "session_id": session,
        "channel": "mono",
        "rule": "always",
        "state": "raised",
        "at_s": 3.0,
        "since_s": 0.0,
        "message": ALWAYS.message,
        "reason": None,
    }
    assert (cleared["id"], cleared["reason"]) == (f"{session}:alert:2", "ended")
    assert of_type(own, "alert") == [] and own[-1]["type"] == "summary"


async def test_a_stream_that_no_rule_is_for_is_not_watched(engine: Engine) -> None:
    async with serving(engine) as server, following(server) as monitor:
        await converse(server.url, START | {"stream_id": "test-1"}, [SPEECH])
        assert of_type(await until_summary(monitor), "alert") == []
        assert server._calls._alarms.over("S", "test-1") is None


async def test_a_resumed_call_keeps_its_alerts_and_nothing_is_raised_twice(engine: Engine) -> None:
    async with serving(engine) as server, following(server) as monitor:
        async with dial(server.url) as first:
            await say(first, START)
            started = await hear_one(first)
            await say(first, SPEECH[: 4 * 32_000])
            while (await hear_one(first)).get("end_s") != 4:
                pass
            first.transport.abort()
        await until(lambda: server._calls.parked == 1)
        resume = {"session_id": started["session_id"], "last_seq": 0}
        again, _ = await converse(server.url, START | {"resume": resume}, [SPEECH[4 * 32_000 :]])
        events = await until_summary(monitor)
        assert [event["seq"] for event in of_type(again, "emotion")] == [1, 2, 3, 4, 5, 6]
        assert shape(of_type(events, "alert")) == ["raised", "cleared"]
        since = events[0]["cursor"]
        async with following(server, f"?since={since}") as later:
            replayed = await until_summary(later)
        assert replayed == events[1:]  # under the same ids


async def test_an_alert_that_still_holds_is_published_again_under_its_id_and_counted_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_server.alarms.REPEAT_S", 2.0)
    async with serving(engine) as server, following(server) as monitor:
        await converse(server.url, START, [SPEECH])
        events = await until_summary(monitor)
        alerts = of_type(events, "alert")
        assert shape(alerts) == ["raised", "raised", "cleared"]
        assert alerts[0]["id"] == alerts[1]["id"] != alerts[2]["id"]
        assert shape(events).index("raised") + 3 == shape(events).index(
            "raised", shape(events).index("raised") + 1
        )
        counted = samples(server.metrics.exposition())["emotion_monitor_alerts_total[always]"]
        assert counted == 1


async def test_a_flush_changes_no_alert(engine: Engine) -> None:
    flush = {"type": "flush", "id": "x"}
    async with serving(engine) as server, following(server) as monitor:
        cut = 2 * 32_000 + 20_000
        await converse(server.url, START, [SPEECH[:cut], flush, SPEECH[cut:], flush])
        flushed = await until_summary(monitor)
        await converse(server.url, START, [SPEECH])
        plain = await until_summary(monitor)
    assert len(flushed) > len(plain)
    times = [
        [(e["state"], e["at_s"], e["since_s"]) for e in of_type(events, "alert")]
        for events in (flushed, plain)
    ]
    assert times[0] == times[1] and len(times[0]) == 2


async def test_a_call_that_fails_is_cleared_before_its_end(engine: Engine) -> None:
    rule = Rule(name="r", emotions=EMOTIONS, above=0.99, for_s=0)
    channels = {"channels": ["left", "right"], "analyze": ["left", "right"]}
    async with serving(Choosy(engine, "right"), rule) as server, following(server) as monitor:
        await converse(server.url, START | channels, [2 * SPEECH])
        events = await until_summary(monitor)
    assert shape(events) == ["started", 1, "raised", "cleared", "summary"]


async def test_raised_alerts_are_counted_by_their_rule(engine: Engine) -> None:
    never = Rule(name="never", emotions=("sad",), above=0.99, for_s=600)
    async with serving(engine, ALWAYS, never) as server:
        assert samples(server.metrics.exposition())["emotion_monitor_alerts_total[always]"] == 0
        await converse(server.url, START, [SPEECH])
        found = samples(server.metrics.exposition())
    assert found["emotion_monitor_alerts_total[always]"] == 1
    assert found["emotion_monitor_alerts_total[never]"] == 0


@pytest.mark.parametrize(("repeat_s", "states"), [(30.0, ["raised"]), (2.0, ["raised"] * 2)])
async def test_over_a_bus_each_node_hears_an_alert_once_or_as_often_as_it_is_repeated(
    engine: Engine,
    redis: RedisServer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    repeat_s: float,
    states: list[str],
) -> None:
    monkeypatch.setattr("stream_server.alarms.REPEAT_S", repeat_s)
    async with AsyncExitStack() as stack:
        here, there = [
            await stack.enter_async_context(serving(engine, bus=redis.url)) for _ in range(2)
        ]
        monitors = [await stack.enter_async_context(following(node)) for node in (here, there)]
        await converse(here.url, START, [SPEECH])
        both = [await until_summary(monitor) for monitor in monitors]
    assert both[0] == both[1]
    assert shape(of_type(both[0], "alert")) == [*states, "cleared"]
    counted = [
        samples(node.metrics.exposition())["emotion_monitor_alerts_total[always]"]
        for node in (here, there)
    ]
    assert counted == [1, 0]


# --- the webhook ---


def webhook(folder: Path, url: str, **fields: Any) -> Webhook:
    path = folder / "webhook-secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    return Webhook(url=url, secret_file=path, **fields)


async def test_the_webhook_gets_what_the_monitor_gets(engine: Engine, tmp_path: Path) -> None:
    pytest.importorskip("httpx", reason="httpx is not installed (pip install '.[webhook]')")
    async with (
        receiving() as receiver,
        serving(engine, webhook=webhook(tmp_path, receiver.url)) as server,
        following(server) as monitor,
    ):
        await converse(server.url, START, [SPEECH])
        alerts = of_type(await until_summary(monitor), "alert")
        await until(lambda: len(receiver.requests) == 2)
    told = [{k: v for k, v in event.items() if k not in ("cursor", "time")} for event in alerts]
    assert [body["data"] for body in receiver.bodies] == told
    assert [body["type"] for body in receiver.bodies] == ["alert.raised", "alert.cleared"]
    assert all(verify(headers, body) for _, headers, body in receiver.requests)


async def test_a_server_that_ends_delivers_what_its_last_calls_raised(
    engine: Engine, tmp_path: Path
) -> None:
    pytest.importorskip("httpx", reason="httpx is not installed (pip install '.[webhook]')")
    async with (
        receiving() as receiver,
        serving(engine, webhook=webhook(tmp_path, receiver.url)) as server,
        dial(server.url) as connection,
    ):
        await say(connection, START)
        await say(connection, SPEECH)
        while (await hear_one(connection)).get("end_s") != 6:
            pass
        await server.drain()
        assert [body["type"] for body in receiver.bodies] == ["alert.raised", "alert.cleared"]


async def test_a_stalled_receiver_holds_neither_the_stream_nor_the_end(
    engine: Engine, tmp_path: Path
) -> None:
    pytest.importorskip("httpx", reason="httpx is not installed (pip install '.[webhook]')")
    async with (
        receiving("stall") as receiver,
        serving(engine, webhook=webhook(tmp_path, receiver.url), drain_timeout_s=0.5) as server,
        following(server) as monitor,
    ):
        own, code = await converse(server.url, START, [SPEECH])
        assert own[-1]["type"] == "summary" and code == 1000
        assert shape(of_type(await until_summary(monitor), "alert")) == ["raised", "cleared"]
        async with asyncio.timeout(20):
            await server.drain()
            await monitor.wait_closed()
    assert receiver.requests


async def test_a_hangup_reads_the_webhooks_secret_again(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("httpx", reason="httpx is not installed (pip install '.[webhook]')")
    caplog.set_level(logging.INFO)
    hook = webhook(tmp_path, "http://127.0.0.1:9/")
    async with serving(engine, webhook=hook) as server:
        server.reload(server.config)
        assert "the webhook's secrets were read again" in caplog.messages
        (tmp_path / "webhook-secret").write_text("hush")
        server.reload(server.config)
    assert "the webhook's secrets were not read again, the old ones stay" in caplog.text
    assert "hush" not in caplog.text


def test_a_webhook_without_rules_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = webhook(tmp_path, "http://127.0.0.1:9/")
    warn_of(Config(webhook=hook, alerts=(ALWAYS,)))
    assert caplog.messages == []
    warn_of(Config(webhook=hook))
    assert caplog.messages == ["webhook: there is no [[alerts]] table, so nothing will be sent"]
