"""Couriers for tests, what they counted, and alerts for them to carry."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from emotion.messages import Alert
from stream_server.metrics import DeliveryResult, Metrics
from stream_server.tables import Webhook
from stream_server.webhook import Courier
from tests.stream_server.receiver import SECRET


def alert(number: int = 1, call: str = "S", **fields: Any) -> Alert:
    whole: dict[str, Any] = {
        "id": f"{call}:alert:{number}",
        "stream_id": "call-1",
        "session_id": call,
        "channel": "mono",
        "rule": "angry",
        "state": "raised",
        "at_s": 10.0,
        "since_s": 0.0,
        "message": "angry above 0.6 for 10 s",
    }
    return Alert(**whole | fields)


class Counting(Metrics):
    """Metrics that can be asked often."""

    def __init__(self) -> None:
        super().__init__()
        self.results: Counter[str] = Counter()

    def delivery(self, result: DeliveryResult) -> None:
        super().delivery(result)
        self.results[result] += 1


class Sent(Courier):
    """A courier and what it counted."""

    metrics: Counting

    def counted(self) -> dict[str, int]:
        return dict(self.metrics.results)

    def queued(self) -> float | None:
        return self.metrics.registry.get_sample_value("emotion_monitor_webhook_queued")


def settings(folder: Path, url: str, **fields: Any) -> Webhook:
    path = folder / "webhook-secret"
    if not path.exists():
        path.write_text(SECRET + "\n")
        path.chmod(0o600)
    return Webhook(url=url, secret_file=path, **fields)


@asynccontextmanager
async def courier(folder: Path, url: str, **fields: Any) -> AsyncIterator[Sent]:
    metrics = Counting()
    sent = Sent(settings(folder, url, **fields), metrics)
    sent.metrics = metrics
    running = asyncio.create_task(sent.run())
    try:
        async with asyncio.timeout(30):
            yield sent
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
