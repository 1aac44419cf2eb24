"""Calls as Telnyx sends them: Twilio's messages under other names."""

import base64
import json

from emotion.messages import Start, Stop
from stream_server.dialect import Audio, Token
from stream_server.telephony.twilio import Twilio
from tests.stream_server.telephony.calls import TWILIO_STOP, received, sound, twilio_call

TELNYX = [
    '{"event":"connected","version":"1.0.0"}',
    json.dumps(
        {
            "event": "start",
            "sequence_number": "1",
            "stream_id": "32DE0DEA-53CB-4B21-89A4-9E1819C043BC",
            "start": {
                "user_id": "3E6F995F-85F7-4705-9741-53B116D28237",
                "call_control_id": "v2:T02llQxIyaRkhfRKxgAP8nY511EhFLizdvdUKJiSw8d6A9BborherQ",
                "from": "+13122010094",
                "to": "+13122123456",
                "custom_parameters": {"customer_id": "customer_123", "token": "secret"},
                "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
            },
        }
    ),
    json.dumps(
        {
            "event": "media",
            "sequence_number": "4",
            "stream_id": "32DE0DEA-53CB-4B21-89A4-9E1819C043BC",
            "media": {
                "track": "inbound",
                "chunk": "1",
                "timestamp": "5",
                "payload": base64.b64encode(b"a" * 160).decode(),
            },
        }
    ),
    '{"event":"stop","sequence_number":"5","stop":{"call_control_id":"v2:T02"}}',
]


def test_telnyx_is_understood_and_who_is_calling_is_not_kept() -> None:
    token, start, *rest = received(Twilio(["customer"]), TELNYX)
    assert token == Token("secret")
    assert isinstance(start, Start)
    assert (start.stream_id or "").startswith("v2:T02") and start.encoding == "mulaw"
    assert start.metadata == {
        "streamSid": "32DE0DEA-53CB-4B21-89A4-9E1819C043BC",
        "customParameters": {"customer_id": "customer_123"},
    }
    assert rest == [Audio(b"a" * 160), Stop()]


def test_a_law_is_silent_in_its_own_way() -> None:
    pcma = TELNYX[1].replace("PCMU", "PCMA")
    dialect = Twilio(["customer", "agent"])
    orders = received(dialect, [pcma, *twilio_call(b"a" * 8000), TWILIO_STOP])
    assert sound(orders[2:], 2) == bytes([ord("a"), 0xD5]) * 8000
