"""Vonage, jambonz and Asterisk: a text frame, then audio."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion.errors import MessageError
from emotion.messages import Error, Start, Stop
from stream_server.dialect import Audio, Token
from stream_server.telephony.raw import Asterisk, Jambonz, Raw, Vonage
from tests.fakes import events_of, fake_engine, heard, int16_bytes, plain, restless
from tests.stream_server.telephony.calls import answered, received

VONAGE = '{"event":"websocket:connected","content-type":"audio/l16;rate=16000","token":"secret"}'
JAMBONZ = json.dumps(
    {
        "callSid": "7d2c2d8a-5d8d-4f5c-9d2b-0b3f8b1d2c3e",
        "direction": "inbound",
        "from": "15083084809",
        "to": "15083728299",
        "callStatus": "in-progress",
        "sampleRate": 8000,
        "mixType": "stereo",
        "metadata": {"token": "secret"},
    }
)
ASTERISK = (
    "MEDIA_START connection_id:media_connection1 channel:WebSocket/media_connection1/0x7f00b8 "
    "format:ulaw optimal_frame_size:160 ptime:20"
)
ASTERISK_JSON = json.dumps(
    {
        "event": "MEDIA_START",
        "connection_id": "media_connection1",
        "channel": "WebSocket/media_connection1/0x5140001a0040",
        "channel_id": "1761245643.1",
        "format": "slin16",
        "optimal_frame_size": 640,
        "ptime": 20,
        "channel_variables": {"DIALEDPEERNUMBER": "media_connection1/c(ulaw)"},
    }
)
FIRST = {Vonage: VONAGE, Jambonz: JAMBONZ, Asterisk: ASTERISK}
EVERY = pytest.mark.parametrize("speaks", FIRST)


def refusal(dialect: Raw, message: str | bytes) -> MessageError:
    with pytest.raises(MessageError) as caught:
        dialect.receive(message)
    return caught.value


def start_of(dialect: Raw, message: str) -> Start:
    start = dialect.receive(message)[-1]
    assert isinstance(start, Start)
    return start


def changed(message: str, **changes: Any) -> str:
    return json.dumps(json.loads(message) | changes)


@EVERY
def test_audio_follows_the_first_frame_and_events_are_passed_over(speaks: type[Raw]) -> None:
    dialect = speaks(["customer"])
    messages = [
        FIRST[speaks],
        b"abcd",
        '{"event":"websocket:dtmf","digit":"5"}',
        "DTMF_END digit:1",
    ]
    orders = received(dialect, [*messages, b"e"])
    assert [order for order in orders if not isinstance(order, Start | Token)] == [
        Audio(b"abcd"),
        Audio(b"e"),
    ]


@EVERY
def test_the_end_of_the_connection_is_the_end_of_the_call(speaks: type[Raw]) -> None:
    dialect = speaks(["customer"])
    assert dialect.closed() == ()
    dialect = speaks(["customer"])
    dialect.receive(FIRST[speaks])
    assert dialect.closed() == (Stop(),)
    assert dialect.closed() == () and dialect.receive(b"ab") == ()


@EVERY
def test_nothing_is_written(speaks: type[Raw]) -> None:
    assert speaks(["customer"]).write(Error(code="internal", message="x", fatal=True)) == ()


@EVERY
def test_what_may_not_be_analysed_is_unsupported(speaks: type[Raw]) -> None:
    assert refusal(speaks(["left"]), FIRST[speaks]).code == "unsupported"


@EVERY
@pytest.mark.parametrize("message", [b"ab", "", "hello", "[]", "{}", '{"event":"x"}', "{" * 9000])
def test_another_first_frame_is_refused(speaks: type[Raw], message: str | bytes) -> None:
    refusal(speaks(["customer"]), message)


@EVERY
def test_an_overlong_first_frame_is_refused(speaks: type[Raw]) -> None:
    assert refusal(speaks(["customer"]), FIRST[speaks] + " " * 70_000).code == "too_large"


@EVERY
@given(st.text() | st.binary() | st.text().map(lambda text: f"MEDIA_START {text}"))
def test_noise_raises_nothing_but_a_message_error(
    speaks: Callable[[list[str]], Raw], message: str | bytes
) -> None:
    with pytest.raises(MessageError):
        speaks(["customer"]).receive(message)


# --- each of them ---


def test_vonage_says_the_rate_and_may_say_the_token_the_stream_and_the_channel() -> None:
    token, start = Vonage(["customer"]).receive(VONAGE)
    assert token == Token("secret") and isinstance(start, Start)
    assert (start.encoding, start.sample_rate, start.stream_id) == ("pcm_s16le", 16_000, None)
    assert start.channels == ("customer",) and start.metadata == {}
    named = start_of(Vonage(["mono"]), changed(VONAGE, stream_id="call-7", channel="mono"))
    assert (named.stream_id, named.channels) == ("call-7", ("mono",))


@pytest.mark.parametrize(
    "content", ["audio/l16", "audio/l16;rate=", "audio/opus;rate=16000", "audio/l16;rate=x", ""]
)
def test_vonage_with_another_content_type_is_unsupported(content: str) -> None:
    error = refusal(Vonage(["customer"]), changed(VONAGE, **{"content-type": content}))
    assert error.code == "unsupported" and "content-type" in error.message


def test_vonage_with_a_rate_out_of_range_is_refused_by_its_name() -> None:
    message = changed(VONAGE, **{"content-type": "audio/l16;rate=4000"})
    assert "sample_rate" in refusal(Vonage(["customer"]), message).message


@pytest.mark.parametrize(
    ("mix", "allowed", "channels", "analyze"),
    [
        ("mono", ["customer", "agent"], ("customer",), ("customer",)),
        ("stereo", ["customer"], ("customer", "agent"), ("customer",)),
        ("stereo", ["customer", "agent"], ("customer", "agent"), ("customer", "agent")),
        ("mixed", ["customer", "mono"], ("mono",), ("mono",)),
    ],
)
def test_jambonz_says_how_the_call_is_mixed(
    mix: str, allowed: list[str], channels: tuple[str, ...], analyze: tuple[str, ...]
) -> None:
    token, start = Jambonz(allowed).receive(changed(JAMBONZ, mixType=mix))
    assert token == Token("secret") and isinstance(start, Start)
    assert (start.channels, start.analyze) == (channels, analyze)
    assert (start.encoding, start.sample_rate) == ("pcm_s16le", 8000)
    assert start.stream_id == "7d2c2d8a-5d8d-4f5c-9d2b-0b3f8b1d2c3e" and start.metadata == {}


@pytest.mark.parametrize("field", ["callSid", "sampleRate"])
def test_jambonz_without_a_field_is_refused_by_its_name(field: str) -> None:
    message = {k: v for k, v in json.loads(JAMBONZ).items() if k != field}
    assert field in refusal(Jambonz(["customer"]), json.dumps(message)).message


def test_asterisk_speaks_in_lines_or_in_json() -> None:
    start = start_of(Asterisk(["customer"]), ASTERISK)
    assert (start.encoding, start.sample_rate) == ("mulaw", 8000)
    assert start.stream_id == "WebSocket/media_connection1/0x7f00b8"
    start = start_of(Asterisk(["customer"]), ASTERISK_JSON)
    assert (start.encoding, start.sample_rate) == ("pcm_s16le", 16_000)
    assert (start.stream_id, start.channels) == ("1761245643.1", ("customer",))


def test_asterisk_with_another_format_is_unsupported_and_told_which_are_known() -> None:
    error = refusal(Asterisk(["customer"]), ASTERISK.replace("ulaw", "opus"))
    assert error.code == "unsupported" and "ulaw, alaw, slin" in error.message


def test_a_call_gives_the_events_that_the_same_bytes_give_natively() -> None:
    engine = fake_engine()
    data = int16_bytes(restless(6.2, 8000, columns=2))
    chunks: list[str | bytes] = [data[i : i + 641] for i in range(0, len(data), 641)]
    items, texts = answered(engine, Jambonz(["customer"]), [JAMBONZ, *chunks])
    names = ["customer", "agent"]
    native = heard(engine, [data], sample_rate=8000, channels=names)
    found = plain(events_of(items), "stream_id")
    assert texts == [] and len(found) >= 6
    assert found == plain(events_of(native), "stream_id")[: len(found)]
