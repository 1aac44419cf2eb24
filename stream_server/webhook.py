"""Alerts to another program over HTTP, signed as Standard Webhooks 1.0 has it (standardwebhooks.com).

    send -> the call's line -> a worker: POST -> delivered, refused, given up, or again later

Alerts of one call go out one after the other, in their order, each once the one before is done with;
calls do not wait for each other. At least once: what was answered too late comes again, under the same
`webhook-id`. What waits is in memory only, bounded, and tried once more when the server ends.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from emotion.errors import ConfigurationError
from emotion.messages import Alert
from emotion.package import install_line
from stream_server.config import Config
from stream_server.metrics import DeliveryResult, Metrics
from stream_server.tables import Webhook

if TYPE_CHECKING:
    import httpx

AT_ONCE: Final = 4  # deliveries
FIRST_PAUSE_S: Final = 1.0  # before the first repetition; doubled from one to the next
LONGEST_PAUSE_S: Final = 300.0
LONGEST_WISH_S: Final = 600.0  # that a receiver's Retry-After is obeyed for
MAX_ANSWER_BYTES: Final = 1 << 16  # read, so that the connection can be used again; never looked at
MIN_KEY_BYTES: Final = 24  # this and the next: Standard Webhooks, "signature scheme"
MAX_KEY_BYTES: Final = 64
MAX_KEYS: Final = 2
PASSING: Final = (404, 408, 425, 429)
"""Statuses below 500 that pass: a receiver that is being replaced, is slow, or has too much to do."""
HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "emotion-monitor"}

log = logging.getLogger(__name__)


def signing_keys(secrets: str) -> list[bytes]:
    """The keys of a secrets' file: one `whsec_...` a line.

    Raises:
        ConfigurationError: one is none, or there are too many.
    """
    lines = secrets.split()
    try:
        keys = [base64.b64decode(line.removeprefix("whsec_"), validate=True) for line in lines]
    except (binascii.Error, ValueError):
        keys = []
    if not 1 <= len(keys) <= MAX_KEYS or any(
        not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES for key in keys
    ):
        raise ConfigurationError(
            f"webhook.secret_file: expected whsec_ and {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes in "
            f'base64, at most {MAX_KEYS} lines of it: echo "whsec_$(openssl rand -base64 32)"'
        )
    return keys


def signature(keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature`: one HMAC-SHA256 a key over `id.timestamp.body`."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def payload(alert: Alert, at: float) -> bytes:
    """What is posted: {`type`, `timestamp`, `data`}; `at` is in Unix seconds."""
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    whole = {
        "type": f"alert.{alert.state}",
        "timestamp": stamp.replace("+00:00", "Z"),
        "data": alert,
    }
    return msgspec.json.encode(whole)


def asked_to_wait(text: str | None, now: float) -> float:
    """The seconds that a `Retry-After` asks for, within reason; 0 where it cannot be understood."""
    if not text:
        return 0.0
    try:
        seconds = float(text) if text.strip().isdigit() else _until(text) - now
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WISH_S)


def _until(date: str) -> float:
    parsed = parsedate_to_datetime(date)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


@dataclass(eq=False)
class _Delivery:
    alert_id: str
    session_id: str
    body: bytes
    made_at: float  # of the event loop's clock
    attempts: int = 0
    under_way: bool = False


class _AgainError(Exception):
    """An attempt failed in a way that passes; asks for at least so many seconds' pause."""

    def __init__(self, why: str, wish_s: float = 0.0) -> None:
        super().__init__(why)
        self.wish_s = wish_s


class Courier:
    """Delivers alerts to the webhook; `run` is its task.

    Args:
        settings: whose secret is read now.
        metrics: counts what became of the alerts.
        clock: seconds since 1970.

    Raises:
        ConfigurationError: httpx is not installed, or the secret cannot be used.
    """

    def __init__(
        self, settings: Webhook, metrics: Metrics, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._keys = signing_keys(settings.secrets())
        self._client, self._errors = _client(settings)
        self._metrics = metrics
        metrics.webhook_queued.set_function(lambda: len(self._waiting))
        self._clock = clock
        self._waiting: dict[_Delivery, None] = {}  # oldest first, those under way too
        # A call's line is in `_ready`, in `_timers`, or in a worker's hands, never in two of them.
        self._lines: dict[str, deque[_Delivery]] = {}
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._not_before = 0.0  # what the receiver asked for
        self._ending = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._answers = True
        self._lost = 0

    def send(self, alert: Alert) -> None:
        """Takes an alert; returns at once."""
        now = asyncio.get_running_loop().time()
        body = payload(alert, self._clock())
        delivery = _Delivery(alert.id, alert.session_id, body, now)
        if len(self._waiting) >= self._settings.max_queued and not self._make_room():
            self._lose("dropped")
            return
        self._waiting[delivery] = None
        self._idle.clear()
        if alert.session_id not in self._lines:
            self._lines[alert.session_id] = deque()
            self._ready.put_nowait(alert.session_id)
        self._lines[alert.session_id].append(delivery)

    def reload(self, config: Config) -> None:
        """Reads the secret again, for the attempts to come.

        Raises:
            ConfigurationError: it cannot be used, or there is no webhook any more; the old one stays.
        """
        if config.webhook is None:
            raise ConfigurationError("webhook was removed: whether there is one takes a restart")
        self._keys = signing_keys(config.webhook.secrets())

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(self._work())
        finally:
            for timer in self._timers.values():
                timer.cancel()
            if self._waiting:
                where, count = self._settings.where, len(self._waiting)
                log.warning("%s: %d alerts were not delivered: the server ends", where, count)
            await self._client.aclose()

    async def drain(self) -> None:
        """Tries once more what waits, and waits until nothing does."""
        self._ending = True
        for timer in self._timers.values():
            timer.cancel()
        for session_id in self._timers:
            self._ready.put_nowait(session_id)
        self._timers.clear()
        await self._idle.wait()

    # --- lines ---

    def _make_room(self) -> bool:
        """Drops the oldest that is not under way; whether there was one."""
        oldest = next((item for item in self._waiting if not item.under_way), None)
        if oldest is None:
            return False
        self._lines[oldest.session_id].remove(oldest)
        del self._waiting[oldest]
        self._lose("dropped")
        return True

    def _later(self, session_id: str, pause: float) -> None:
        def due() -> None:
            del self._timers[session_id]
            self._ready.put_nowait(session_id)

        self._timers[session_id] = asyncio.get_running_loop().call_later(pause, due)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            session_id = await self._ready.get()
            line = self._lines[session_id]
            wait_s = self._not_before - loop.time()
            if not line:  # all of it was dropped
                del self._lines[session_id]
            elif wait_s > 0 and not self._ending:
                self._later(session_id, wait_s)
            elif (pause := await self._settle(line[0])) is not None:
                self._later(session_id, pause)
            else:
                del self._waiting[line.popleft()]
                self._ready.put_nowait(session_id)
            if not self._waiting:
                self._idle.set()

    async def _settle(self, delivery: _Delivery) -> float | None:
        """Tries once; the pause until the next time, None where it is done with."""
        delivery.under_way = True
        try:
            if self._age_s(delivery) <= self._settings.max_age_s:
                result = await self._attempt(delivery)
                self._heard_from("answers again", True)
                self._metrics.delivery(result)
                return None
        except _AgainError as failure:
            pause = self._pause_s(delivery, failure.wish_s)
            self._heard_from(f"{failure}; alerts wait", False)
            if pause is not None:
                return pause
        finally:
            delivery.under_way = False
        self._lose("given_up")
        return None

    def _age_s(self, delivery: _Delivery) -> float:
        return asyncio.get_running_loop().time() - delivery.made_at

    def _pause_s(self, delivery: _Delivery, wish_s: float) -> float | None:
        """Before the next attempt; None where there is to be none."""
        if wish_s:
            self._not_before = asyncio.get_running_loop().time() + wish_s
        doubled = FIRST_PAUSE_S * 2.0 ** (delivery.attempts - 1)
        pause = max(wish_s, min(doubled, LONGEST_PAUSE_S) * random.uniform(0.5, 1.0))
        too_old = self._age_s(delivery) + pause > self._settings.max_age_s
        if self._ending or too_old or delivery.attempts >= self._settings.max_attempts:
            return None
        return pause

    # --- one attempt ---

    async def _attempt(self, delivery: _Delivery) -> DeliveryResult:
        """
        Raises:
            _AgainError: it failed, and may be tried again.
        """
        delivery.attempts += 1
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                status, wish = await self._post(delivery)
        except self._errors as error:
            raise _AgainError(type(error).__name__) from error
        except Exception as error:  # whatever it is, no worker must die of it
            log.warning("%s: a defect", self._settings.where, exc_info=True)
            raise _AgainError(type(error).__name__) from error
        if 200 <= status < 300:
            return "delivered"
        if status in PASSING or status >= 500:
            raise _AgainError(f"HTTP {status}", asked_to_wait(wish, self._clock()))
        self._lost += 1
        self._tell(f"refused an alert with HTTP {status}; it is not sent again")
        return "refused"

    async def _post(self, delivery: _Delivery) -> tuple[int, str | None]:
        """The answer's status and its `Retry-After`."""
        now = int(self._clock())
        headers = HEADERS | {
            "webhook-id": delivery.alert_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._keys, delivery.alert_id, now, delivery.body),
        }
        async with self._client.stream(
            "POST", self._settings.url, content=delivery.body, headers=headers
        ) as answer:
            length = answer.headers.get("content-length", "")
            if length.isdigit() and int(length) <= MAX_ANSWER_BYTES:
                async for _ in answer.aiter_raw():
                    pass
            return answer.status_code, answer.headers.get("retry-after")

    # --- what the log hears ---

    def _heard_from(self, said: str, answers: bool) -> None:
        if answers != self._answers:
            log.log(
                logging.INFO if answers else logging.WARNING, "%s: %s", self._settings.where, said
            )
        self._answers = answers

    def _lose(self, result: DeliveryResult) -> None:
        self._metrics.delivery(result)
        self._lost += 1
        self._tell("too many alerts wait" if result == "dropped" else "gave an alert up")

    def _tell(self, what: str) -> None:
        if self._lost.bit_count() == 1:  # at 1, 2, 4, 8...: it must not fill the log
            log.warning("%s: %s; %d lost so far", self._settings.where, what, self._lost)


def _client(settings: Webhook) -> tuple["httpx.AsyncClient", tuple[type[BaseException], ...]]:
    """A client that follows nobody elsewhere, and its errors."""
    try:
        import httpx
    except ImportError:
        raise ConfigurationError(
            f"webhook: it needs httpx: {install_line('webhook')}, or take the table out"
        ) from None
    try:
        httpx.Request("POST", settings.url)
    except (httpx.InvalidURL, ValueError):  # ValueError: of a host that is none beyond ASCII
        raise ConfigurationError(
            "webhook.url: no address that can be called; expected one such as "
            "https://example.com/alerts"
        ) from None
    options: dict[str, Any] = {
        "timeout": settings.timeout_s,
        "follow_redirects": False,
        "limits": httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE),
    }
    if settings.local:  # no proxy is on the way to this machine, whatever the environment says
        options["mounts"] = dict.fromkeys(("all://", "http://", "https://"))
    errors = (httpx.HTTPError, httpx.StreamError, OSError, TimeoutError)
    return httpx.AsyncClient(**options), errors
