"""Whether a call comes from Twilio: its signature over the address that it called."""

import base64
import hashlib
import hmac

import pytest

from emotion.errors import MessageError
from stream_server.telephony.twilio import verify_twilio

URL = "wss://calls.example.com/telephony/twilio"
AUTH = "12345"


def test_twilios_own_example_verifies() -> None:
    """The example of Twilio's documentation and of its libraries' tests."""
    verify_twilio(
        "https://mycompany.com/myapp.php?foo=1&bar=2",
        "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        AUTH,
        {
            "CallSid": "CA1234567890ABCDE",
            "Digits": "1234",
            "From": "+14158675309",
            "To": "+18005551212",
            "Caller": "+14158675309",
        },
    )


def signature(url: str, token: str = AUTH) -> str:
    return base64.b64encode(hmac.new(token.encode(), url.encode(), hashlib.sha1).digest()).decode()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (URL, URL),
        (URL, URL + "/"),
        (URL + "/", URL),
        (URL, URL.replace("wss", "https")),
        (URL, URL.replace(".com", ".com:443")),
        (URL.replace(".com", ".com:443"), URL),
        (URL.replace(".com", ".com:8443"), URL),
        (URL.replace(".com", ".com:8443"), URL.replace(".com", ".com:8443")),
        (URL + "?a=1&b=2", URL + "?a=1&b=2"),
        ("wss://[2001:db8::1]:8443/x", "wss://[2001:db8::1]/x"),
        ("wss://example.com", "wss://example.com/"),
    ],
)
def test_the_address_may_be_written_as_twilio_does(ours: str, theirs: str) -> None:
    verify_twilio(ours, signature(theirs), AUTH)


@pytest.mark.parametrize(
    "found",
    [
        None,
        "",
        "ä",
        "\udc80",
        signature(URL, "another"),
        signature(URL + "x"),
        signature(URL.replace("wss", "ws")),
        signature(URL.replace("calls", "other")),
        signature(URL + "?a=1"),
        signature(URL)[:-1],
    ],
)
def test_another_signature_is_unauthorized(found: str | None) -> None:
    with pytest.raises(MessageError) as caught:
        verify_twilio(URL, found, AUTH)
    assert caught.value.code == "unauthorized"
    assert AUTH not in caught.value.message
