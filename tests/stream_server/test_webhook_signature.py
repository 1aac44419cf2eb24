"""What a webhook is sent: the payload, and its signature."""

import base64
from pathlib import Path

import pytest

from emotion.errors import ConfigurationError
from stream_server.config import Config
from stream_server.webhook import payload, signature, signing_keys
from tests.stream_server.client import until
from tests.stream_server.couriers import alert, courier, settings
from tests.stream_server.receiver import KEY, SECRET, receiving, verify

pytest.importorskip("httpx", reason="httpx is not installed (pip install '.[webhook]')")

OTHER = bytes(range(40, 80))


def test_the_signature_is_the_one_that_standard_webhooks_publishes() -> None:
    """The test vector of its libraries (standard-webhooks/standard-webhooks on GitHub)."""
    keys = signing_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == expected


@pytest.mark.parametrize(
    "secret",
    [
        "whsec_",
        "whsec_hush",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "not base64, hush",
        "ä" * 40,
        f"{SECRET}\n{SECRET}\n{SECRET}",
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ConfigurationError, match=r"webhook\.secret_file: expected whsec_") as error:
        signing_keys(secret)
    assert "hush" not in str(error.value)


async def test_an_alert_is_posted_signed_and_whole(tmp_path: Path) -> None:
    async with receiving() as receiver, courier(tmp_path, receiver.url) as sent:
        sent.send(alert(message="Zorn \u00fc 0.6"))
        await until(lambda: sent.counted() == {"delivered": 1})
    [(line, headers, body)] = receiver.requests
    assert line == "POST /hook?key=hush HTTP/1.1"
    assert headers["content-type"] == "application/json" and "." not in headers["webhook-id"]
    assert verify(headers, body) and not verify(headers, body + b" ")
    [whole] = receiver.bodies
    assert whole["type"] == "alert.raised" and whole["timestamp"].endswith("Z")
    assert whole["data"]["id"] == headers["webhook-id"] == "S:alert:1"
    assert whole["data"]["type"] == "alert" and whole["data"]["message"] == "Zorn \u00fc 0.6"


def test_the_time_of_an_alert_is_written_as_iso_8601() -> None:
    assert b'"timestamp":"2023-11-14T22:13:20.500Z"' in payload(alert(), 1_700_000_000.5)


async def test_two_secrets_both_sign_and_are_read_again(tmp_path: Path) -> None:
    async with receiving() as receiver, courier(tmp_path, receiver.url) as sent:
        new = f"whsec_{base64.b64encode(OTHER).decode()}"
        (tmp_path / "webhook-secret").write_text(f"{new}\n{SECRET}\n")
        sent.reload(Config(webhook=settings(tmp_path, receiver.url)))
        sent.send(alert())
        await until(lambda: receiver.requests)
        (tmp_path / "webhook-secret").write_text("none\n")
        with pytest.raises(ConfigurationError, match="secret_file"):
            sent.reload(Config(webhook=settings(tmp_path, receiver.url)))
        with pytest.raises(ConfigurationError, match="restart"):
            sent.reload(Config())
    _, headers, body = receiver.requests[0]
    assert verify(headers, body, KEY) and verify(headers, body, OTHER)
