"""What a server says in wire protocol v1, and what its clients make of it."""

import json

import msgspec
import pytest

from emotion.errors import MessageError
from emotion.messages import Error, Flush, Flushed, Warning, decode_server, encode
from tests.fakes import emotion, silence, started, summary_of

SERVER_MESSAGES = [
    started(
        stream_id="call-7",
        encoding="mulaw",
        sample_rate=8_000,
        channels=("customer", "agent"),
        analyze=("customer",),
        hop_s=0.5,
        metadata={"k": [1, "é"]},
    ),
    emotion("neutral", 0.125, stream_id="call-7", speech_ratio=None, latency_ms=12.3),
    silence(2, 2.0, stream_id="call-7", speech_ratio=0.1),
    Flushed(id="x"),
    summary_of(audio_s=2.5, windows=2, inferred=1, silent=1, dominant={"customer": None}),
    Warning(code="skipped_windows", message="m", count=3),
    Warning(code="too_fast", message="m"),
    Error(code="bad_audio", message="m", fatal=True),
]


@pytest.mark.parametrize("message", SERVER_MESSAGES, ids=lambda m: type(m).__name__)
def test_a_server_message_survives_json(message):
    text = encode(message)
    assert json.loads(text)["type"] == type(message).__name__.lower()
    assert decode_server(text) == message
    assert decode_server(text.encode()) == message


@pytest.mark.parametrize("message", SERVER_MESSAGES, ids=lambda m: type(m).__name__)
def test_a_client_ignores_fields_that_newer_servers_add(message):
    fields = msgspec.to_builtins(message) | {"new_field": {"a": 1}}
    assert decode_server(json.dumps(fields)) == message


@pytest.mark.parametrize(
    "text",
    ["", "1", "{}", '{"type":"flush"}', '{"type":"flushed"}', b"\xff", "\ud800", "[" * 60_000],
)
def test_what_no_server_says_is_a_message_error(text):
    with pytest.raises(MessageError, match=r"not a message of emotion\.v1"):
        decode_server(text)


def test_messages_cannot_be_changed():
    with pytest.raises(AttributeError):
        Flush().id = "y"
