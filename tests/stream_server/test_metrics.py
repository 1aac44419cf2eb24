"""What Prometheus finds at /metrics."""

import asyncio
import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from emotion.engine import Engine
from stream_server.config import Config
from stream_server.metrics import Metrics
from stream_server.server import running
from tests.stream_server.client import ask, dial, hear_one, say


def samples(exposition: bytes) -> dict[str, float]:
    """Values by name, a label's value in brackets."""
    found = {}
    for family in text_string_to_metric_families(exposition.decode()):
        for sample in family.samples:
            labels = ",".join(value for name, value in sample.labels.items() if name != "le")
            found[f"{sample.name}[{labels}]" if labels else sample.name] = sample.value
    return found


def test_all_values_of_a_label_are_there_from_the_start() -> None:
    found = samples(Metrics().exposition())
    for name in (
        "windows_total[inferred]",
        "windows_total[silent]",
        "windows_total[skipped]",
        "refusals_total[at_capacity]",
        "refusals_total[unauthorized]",
        "errors_total[internal]",
        "window_latency_seconds_count",
        "queue_seconds_count",
        "inference_seconds_count",
        "audio_seconds_total",
        "sessions_started_total",
        "bus_dropped_events_total",
        "webhook_deliveries_total[delivered]",
        "webhook_deliveries_total[given_up]",
        "webhook_queued",
    ):
        assert found[f"emotion_monitor_{name}"] == 0, name


def test_what_is_counted_is_shown() -> None:
    metrics = Metrics()
    metrics.windows("silent", 3)
    metrics.refused("rate")
    metrics.failed("idle")
    metrics.latency_s.observe(0.2)
    metrics.follow(lambda: 5, lambda: 9)
    found = samples(metrics.exposition())
    assert found["emotion_monitor_windows_total[silent]"] == 3
    assert found["emotion_monitor_refusals_total[rate]"] == 1
    assert found["emotion_monitor_errors_total[idle]"] == 1
    assert found["emotion_monitor_window_latency_seconds_sum"] == 0.2
    assert found["emotion_monitor_sessions"] == 5
    assert found["emotion_monitor_capacity_sessions"] == 9


def test_two_servers_in_one_process_count_apart() -> None:
    one, two = Metrics(), Metrics()
    one.refused("rate")
    assert samples(two.exposition())["emotion_monitor_refusals_total[rate]"] == 0


async def test_the_event_loops_lag_is_measured_until_the_watch_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics, seen = Metrics(), asyncio.Queue[float]()
    monkeypatch.setattr(metrics.loop_lag_s, "observe", seen.put_nowait)
    watch = asyncio.create_task(metrics.watch_loop())
    assert await asyncio.wait_for(seen.get(), 20) >= 0
    watch.cancel()
    await asyncio.wait({watch})
    assert watch.cancelled()


async def test_a_server_shows_its_sessions_its_capacity_and_its_model(engine: Engine) -> None:
    async with running(Config(port=0, max_sessions=7), engine) as server:
        async with dial(server.url) as connection:
            await say(connection, {"type": "start"})
            await hear_one(connection)
            status, body, headers = await ask(server.url, "/metrics")
        info = json.loads((await ask(server.url, "/v1/info"))[1])
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=")
    found = samples(body)
    assert found["emotion_monitor_sessions"] == 1
    assert found["emotion_monitor_capacity_sessions"] == 7 == info["sessions"]["max"]
    assert b'emotion_monitor_model_info{device="cpu",name="fake"' in body
    assert "process_cpu_seconds_total" in found and "process_resident_memory_bytes" in found
