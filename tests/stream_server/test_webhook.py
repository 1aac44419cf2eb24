"""Alerts to a webhook: signed, retried, bounded; against a receiver that fails in every way."""

import asyncio
import logging
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

import stream_server.webhook
from emotion.errors import ConfigurationError
from stream_server.metrics import Metrics
from stream_server.tables import Webhook
from stream_server.webhook import Courier, asked_to_wait
from tests.stream_server.client import until
from tests.stream_server.couriers import alert, courier, settings
from tests.stream_server.receiver import SECRET, Receiver, receiving, verify
from tests.stream_server.test_metrics import samples
from tests.stream_server.test_tls import write_certificate

pytest.importorskip("httpx", reason="httpx is not installed (pip install '.[webhook]')")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for a doubling time."""
    monkeypatch.setattr(stream_server.webhook, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(stream_server.webhook, "LONGEST_PAUSE_S", 0.02)


# --- failures ---


@pytest.mark.parametrize(
    "failure", [500, 503, 404, 429, "hang up", "nonsense", (503, {"Retry-After": "x"})]
)
async def test_what_passes_is_tried_again_under_the_same_id(tmp_path: Path, failure: Any) -> None:
    async with (
        receiving(failure, failure, 200) as receiver,
        courier(tmp_path, receiver.url) as sent,
    ):
        sent.send(alert())
        await until(lambda: sent.counted() == {"delivered": 1})
    assert receiver.ids == ["S:alert:1"] * 3
    assert len({body for _, _, body in receiver.requests}) == 1
    assert all(verify(headers, body) for _, headers, body in receiver.requests)


@pytest.mark.parametrize("failure", ["stall", "drip"])
async def test_no_attempt_takes_longer_than_it_may(tmp_path: Path, failure: str) -> None:
    async with (
        receiving(failure, 200) as receiver,
        courier(tmp_path, receiver.url, timeout_s=0.5) as sent,
    ):
        sent.send(alert())
        await until(lambda: sent.counted() == {"delivered": 1})
    assert len(receiver.requests) >= 2


async def test_a_huge_answer_is_not_read(tmp_path: Path) -> None:
    async with receiving("huge") as receiver, courier(tmp_path, receiver.url) as sent:
        sent.send(alert())
        await until(lambda: sent.counted() == {"delivered": 1})


@pytest.mark.parametrize("status", [400, 401, 410, 302, 308])
async def test_what_does_not_pass_is_not_tried_again_and_redirects_are_not_followed(
    tmp_path: Path, status: int
) -> None:
    async with receiving() as elsewhere:
        part = (status, {"Location": elsewhere.url})
        async with receiving(part, 200) as receiver, courier(tmp_path, receiver.url) as sent:
            sent.send(alert(1))
            sent.send(alert(2))
            await until(lambda: sent.counted() == {"refused": 1, "delivered": 1})
        assert receiver.ids == ["S:alert:1", "S:alert:2"]
        assert elsewhere.requests == []


async def test_a_receiver_that_restarts_gets_what_came_meanwhile_in_order(tmp_path: Path) -> None:
    receiver = Receiver()
    await receiver.start()
    async with courier(tmp_path, receiver.url, max_attempts=100) as sent:
        sent.send(alert(1))
        await until(lambda: sent.counted() == {"delivered": 1})
        await receiver.stop()
        for number in (2, 3, 4):
            sent.send(alert(number))
        await asyncio.sleep(0.05)
        assert sent.queued() == 3
        await receiver.start()
        await until(lambda: sent.counted() == {"delivered": 4})
        await receiver.stop()
    assert receiver.ids == [f"S:alert:{number}" for number in (1, 2, 3, 4)]


async def test_attempts_are_bounded_and_the_next_alert_has_its_own(tmp_path: Path) -> None:
    parts = (500, 500, 500, 200)
    async with (
        receiving(*parts) as receiver,
        courier(tmp_path, receiver.url, max_attempts=3) as sent,
    ):
        sent.send(alert(1))
        sent.send(alert(2))
        await until(lambda: sent.counted() == {"given_up": 1, "delivered": 1})
    assert receiver.ids == ["S:alert:1"] * 3 + ["S:alert:2"]


async def test_what_has_become_too_old_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_server.webhook, "LONGEST_PAUSE_S", 60.0)
    monkeypatch.setattr(stream_server.webhook, "FIRST_PAUSE_S", 60.0)
    async with receiving(500) as receiver, courier(tmp_path, receiver.url, max_age_s=5) as sent:
        sent.send(alert())  # the next attempt would come in 30 s at the earliest
        await until(lambda: sent.counted() == {"given_up": 1})
    assert len(receiver.requests) == 1


async def test_retry_after_holds_all_alerts_back(tmp_path: Path) -> None:
    busy = (429, {"Retry-After": "1"})
    async with receiving(busy, 200) as receiver, courier(tmp_path, receiver.url) as sent:
        sent.send(alert(call="A"))
        await until(lambda: receiver.requests)
        began = asyncio.get_running_loop().time()
        sent.send(alert(call="B"))
        await until(lambda: sent.counted() == {"delivered": 2})
        assert asyncio.get_running_loop().time() - began > 0.8
    assert receiver.ids[0] == "A:alert:1" and len(receiver.ids) == 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("7", 7),
        ("99999999999999999999", 600),
        ("-5", 0),
        ("soon", 0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("Tue, 14 Nov 2023 22:13:50 -0000", 30),
        ("Tue, 14 Nov 2000 22:13:50 GMT", 0),
        ("Tue, 99 Nov 2023 22:13:50 GMT", 0),
        ("1" * 5000, 600),
        ("\u00b2", 0),
    ],
)
def test_a_wish_to_wait_is_seconds_or_a_date_and_bounded(text: str | None, seconds: int) -> None:
    assert asked_to_wait(text, 1_700_000_000.0) == seconds


# --- order, bounds, ends ---


async def test_alerts_of_a_call_keep_their_order_while_calls_go_side_by_side(
    tmp_path: Path,
) -> None:
    failures = [500, 200, 503, 200, "hang up", 200, 200, 500]
    async with (
        receiving(*failures * 4, 200) as receiver,
        courier(tmp_path, receiver.url, max_attempts=100) as sent,
    ):
        for number in range(1, 7):
            for call in "ABCDEFGH":
                sent.send(alert(number, call))
        await until(lambda: sent.counted() == {"delivered": 48})
    for call in "ABCDEFGH":
        numbers = [int(name.split(":")[2]) for name in receiver.ids if name.startswith(call)]
        assert numbers == sorted(numbers) and set(numbers) == set(range(1, 7))
    assert 1 < receiver.most_at_once <= stream_server.webhook.AT_ONCE


async def test_a_call_whose_alert_fails_does_not_hold_the_others(tmp_path: Path) -> None:
    async with receiving("stall", 200) as receiver, courier(tmp_path, receiver.url) as sent:
        sent.send(alert(1, "A"))
        await until(lambda: receiver.requests)
        sent.send(alert(2, "A"))
        sent.send(alert(1, "B"))
        await until(lambda: sent.counted() == {"delivered": 1})
        assert receiver.ids == ["A:alert:1", "B:alert:1"]


async def test_what_waits_is_bounded_and_the_oldest_goes_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        receiving("stall", 200) as receiver,
        courier(tmp_path, receiver.url, max_queued=3, timeout_s=1) as sent,
    ):
        sent.send(alert(1))
        await until(lambda: receiver.requests)  # it is under way, and not dropped
        for number in range(2, 10):
            sent.send(alert(number))
            assert sent.queued() <= 3
        assert sent.counted() == {"dropped": 6}
        await until(lambda: sent.counted() == {"dropped": 6, "delivered": 3})
    assert receiver.ids == ["S:alert:1", "S:alert:1", "S:alert:8", "S:alert:9"]
    dropped = [text for text in caplog.messages if "too many alerts wait" in text]
    assert len(dropped) == 3  # the first, second and fourth


async def test_where_nothing_can_be_dropped_the_newest_is(tmp_path: Path) -> None:
    async with (
        receiving("stall", 200) as receiver,
        courier(tmp_path, receiver.url, max_queued=1, timeout_s=1) as sent,
    ):
        sent.send(alert(1))
        await until(lambda: receiver.requests)
        sent.send(alert(2))
        await until(lambda: sent.counted() == {"dropped": 1, "delivered": 1})


async def test_a_call_that_is_done_with_leaves_nothing_behind(tmp_path: Path) -> None:
    async with receiving() as receiver, courier(tmp_path, receiver.url, max_queued=2) as sent:
        for number in range(50):
            sent.send(alert(1, str(number)))
        await until(lambda: sum(sent.counted().values()) == 50)
        await until(lambda: not sent._lines)
        assert not sent._timers and sent._ready.empty()


async def test_the_end_tries_once_more_at_once_and_then_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_server.webhook, "FIRST_PAUSE_S", 60.0)
    monkeypatch.setattr(stream_server.webhook, "LONGEST_PAUSE_S", 60.0)
    parts = (500, (503, {"Retry-After": "60"}), 200, 500)
    async with receiving(*parts) as receiver, courier(tmp_path, receiver.url) as sent:
        for call in "AB":
            sent.send(alert(1, call))
        await until(lambda: len(receiver.requests) == 2 and not receiver.at_once)
        await until(lambda: len(sent._timers) == 2)
        await sent.drain()
        assert sent.counted() == {"delivered": 1, "given_up": 1} and sent.queued() == 0


async def test_without_anything_to_deliver_the_end_does_not_wait(tmp_path: Path) -> None:
    async with courier(tmp_path, "http://127.0.0.1:9/") as sent:
        await sent.drain()


async def test_what_a_stalled_receiver_did_not_get_is_said_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiving("stall") as receiver, courier(tmp_path, receiver.url) as sent:
        sent.send(alert())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await sent.drain()
    assert "http://127.0.0.1: 1 alerts were not delivered: the server ends" in caplog.messages


async def test_the_log_says_when_a_receiver_fails_and_answers_again_without_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stream_server.webhook")
    async with receiving(500, 500, 200, 410) as receiver, courier(tmp_path, receiver.url) as sent:
        sent.send(alert(1))
        sent.send(alert(2))
        await until(lambda: sent.counted() == {"delivered": 1, "refused": 1})
    said = [record.message for record in caplog.records if record.name == "stream_server.webhook"]
    assert said == [
        "http://127.0.0.1: HTTP 500; alerts wait",
        "http://127.0.0.1: answers again",
        "http://127.0.0.1: refused an alert with HTTP 410; it is not sent again; 1 lost so far",
    ]
    assert "hush" not in " ".join(said) and SECRET not in caplog.text


async def test_what_became_of_alerts_is_counted_for_prometheus(tmp_path: Path) -> None:
    async with receiving(200, 410) as receiver, courier(tmp_path, receiver.url) as sent:
        for number in (1, 2, 3):
            sent.send(alert(number))
        assert sent.queued() == 3
        await until(lambda: sum(sent.counted().values()) == 3)
        found = samples(sent.metrics.exposition())
    assert found["emotion_monitor_webhook_deliveries_total[delivered]"] == 1
    assert found["emotion_monitor_webhook_deliveries_total[refused]"] == 2
    assert found["emotion_monitor_webhook_deliveries_total[given_up]"] == 0
    assert found["emotion_monitor_webhook_queued"] == 0


async def test_over_tls_only_a_receiver_that_is_who_it_says_gets_alerts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key = write_certificate(tmp_path, "one")
    receiver = Receiver()
    receiver.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    receiver.tls.load_cert_chain(chain, key)
    await receiver.start()
    async with courier(tmp_path, receiver.url, max_attempts=2) as sent:
        sent.send(alert())
        await until(lambda: sent.counted() == {"given_up": 1})
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    async with courier(tmp_path, receiver.url) as sent:
        sent.send(alert())
        await until(lambda: sent.counted() == {"delivered": 1})
    await receiver.stop()
    assert len(receiver.requests) == 1


async def test_no_proxy_is_on_the_way_to_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with receiving() as receiver, courier(tmp_path, receiver.url, max_attempts=1) as sent:
        sent.send(alert())
        await until(lambda: sent.counted() == {"delivered": 1})


async def test_connections_are_used_again(tmp_path: Path) -> None:
    async with receiving(200) as receiver, courier(tmp_path, receiver.url) as sent:
        for number in range(1, 11):
            sent.send(alert(number))
        await until(lambda: sent.counted() == {"delivered": 10})
    assert receiver.connections == 1


@pytest.mark.parametrize("host", ["xn--", "-\u2603..example"])
def test_an_address_that_httpx_cannot_call_is_refused_before_the_first_alert(
    tmp_path: Path, host: str
) -> None:
    """Else each attempt would be a traceback in the log."""
    (tmp_path / "secret").write_text(SECRET)
    settings = Webhook(url=f"https://{host}/hidden", secret_file=tmp_path / "secret")
    with pytest.raises(ConfigurationError, match=r"webhook\.url: no address") as refused:
        Courier(settings, Metrics())
    assert "hidden" not in str(refused.value)


async def test_without_httpx_a_webhook_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(
        ConfigurationError, match=r"webhook: it needs httpx: pip install .*\[webhook\]"
    ):
        Courier(settings(tmp_path, "https://a"), Metrics())
