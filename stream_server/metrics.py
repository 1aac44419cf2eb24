"""What Prometheus scrapes at `/metrics`.

Names are Prometheus' conventions: a prefix, base units, `_total` for counters. All values of a label are
there from the start, so that a rate over one that has not happened yet is 0 and not missing.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal, get_args

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

from emotion.contract import Contract
from emotion.errors import ErrorCode
from stream_server.admission import REFUSALS, Refusal

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
LAG_INTERVAL_S: Final = 0.5
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of the buckets: 250 ms is what a live window is to stay under, 10 s the longest window."""

WindowResult = Literal["inferred", "silent", "skipped"]
DeliveryResult = Literal["delivered", "refused", "given_up", "dropped"]
PREFIX: Final = "emotion_monitor"


class Metrics:
    """The server's counters; one object a server, in a registry of its own.

    Attributes:
        sessions, capacity: gauges; `follow` has them read where the numbers are kept.
        sessions_started, audio_s: counters.
        latency_s: histogram, from the receipt of a window's last sample to the sending of its event.
        queue_s: histogram, a window's wait for its turn.
        inference_s: histogram, a window in the model.
        loop_lag_s: histogram, by how much the event loop was late.
        published, gaps: counters of the hub: events, and holes that a slow subscriber was told of.
        subscribers: gauge of the hub.
        bus_buffered: gauge of the bus: events that wait for it.
        bus_dropped, bus_duplicates: counters of the bus: events lost to a full buffer, and sent again.
        webhook_queued: gauge of the webhook: alerts that wait for it.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.sessions = self._gauge("sessions", "Sessions now")
        self.capacity = self._gauge("capacity_sessions", "Sessions at most")
        self.sessions_started = self._counter("sessions_started", "Sessions started")
        self.audio_s = self._counter("audio_seconds", "Audio heard, of each channel")
        self._windows = self._counter("windows", "Windows by their result", "result")
        self._refusals = self._counter("refusals", "Clients turned away, by reason", "reason")
        self._errors = self._counter("errors", "Fatal errors told to clients, by code", "code")
        self.latency_s = self._histogram("window_latency_seconds", "Last sample to event")
        self.queue_s = self._histogram("queue_seconds", "Wait for a turn")
        self.inference_s = self._histogram("inference_seconds", "A window in the model")
        self.loop_lag_s = self._histogram("event_loop_lag_seconds", "The event loop's delay")
        self._loop_cpu = self._counter("event_loop_cpu_seconds", "CPU time of the event loop")
        self._loop_cpu_seen = 0.0
        self.published = self._counter("events_published", "Events to the hub")
        self.gaps = self._counter("gaps", "Gaps told to slow subscribers")
        self.subscribers = self._gauge("subscribers", "Dashboards now")
        self.bus_buffered = self._gauge("bus_buffered_events", "Events waiting for the bus")
        self.bus_dropped = self._counter("bus_dropped_events", "Events the bus never got")
        self.bus_duplicates = self._counter("bus_duplicate_events", "Events the bus got again")
        self._alerts = self._counter("alerts", "Alerts raised, by rule", "rule")
        self._deliveries = self._counter(
            "webhook_deliveries", "Alerts to the webhook, by what became of them", "result"
        )
        self.webhook_queued = self._gauge("webhook_queued", "Alerts waiting for the webhook")
        self._model = Info(f"{PREFIX}_model", "The model that judges", registry=self.registry)
        for result in get_args(WindowResult):
            self._windows.labels(result)
        for delivery in get_args(DeliveryResult):
            self._deliveries.labels(delivery)
        for reason in REFUSALS:
            self._refusals.labels(reason)
        for code in get_args(ErrorCode):
            self._errors.labels(code)

    def windows(self, result: WindowResult, count: int = 1) -> None:
        """Counts windows that ended so."""
        self._windows.labels(result).inc(count)

    def refused(self, reason: Refusal) -> None:
        """Counts a client that was turned away."""
        self._refusals.labels(reason).inc()

    def failed(self, code: ErrorCode) -> None:
        """Counts a fatal error that a client was told."""
        self._errors.labels(code).inc()

    def rules(self, names: Iterable[str]) -> None:
        """Says which rules may raise alerts."""
        for name in names:
            self._alerts.labels(name)

    def alert(self, rule: str) -> None:
        """Counts an alert that was raised."""
        self._alerts.labels(rule).inc()

    def delivery(self, result: DeliveryResult) -> None:
        """Counts an alert with which the webhook is done."""
        self._deliveries.labels(result).inc()

    def follow(self, active: Callable[[], float], capacity: Callable[[], float]) -> None:
        """Has `sessions` and `capacity` read from these whenever they are scraped."""
        self.sessions.set_function(active)
        self.capacity.set_function(capacity)

    def model(self, contract: Contract, device: str) -> None:
        """Says which model judges."""
        self._model.info(
            {
                "name": contract.name,
                "version": contract.version,
                "precision": contract.precision,
                "device": device,
            }
        )

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format; its type is `CONTENT_TYPE`.

        To be called on the event loop's thread: whose CPU time it is, is the caller's.
        """
        spent = time.thread_time()
        self._loop_cpu.inc(spent - self._loop_cpu_seen)
        self._loop_cpu_seen = spent
        return generate_latest(self.registry)

    async def watch_loop(self) -> None:
        """Measures the event loop's lag until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_S
            await asyncio.sleep(LAG_INTERVAL_S)
            self.loop_lag_s.observe(max(loop.time() - due, 0.0))

    def _gauge(self, name: str, help: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", help, registry=self.registry)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", help, registry=self.registry, buckets=SECONDS)
