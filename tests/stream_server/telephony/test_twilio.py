"""Calls as Twilio and its look-alikes send them."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion.errors import MessageError
from emotion.messages import Error, Gap, Start, Stop, Summary
from stream_server.dialect import Audio, Token
from stream_server.telephony.tracks import MAX_FRAME
from stream_server.telephony.twilio import MAX_PARAMETERS, Twilio
from tests.fakes import events_of, fake_engine, heard, plain, restless
from tests.stream_server.telephony.calls import (
    ACCOUNT,
    CALL,
    MULAW,
    STREAM,
    TWILIO_CONNECTED,
    TWILIO_STOP,
    answered,
    mulaw,
    received,
    sound,
    twilio_call,
    twilio_media,
    twilio_start,
)

BOTH = ["inbound", "outbound"]
DTMF = """{"event":"dtmf","streamSid":"MZ18ad3ab5a668481c","sequenceNumber":"5",
    "dtmf":{"track":"inbound_track","digit":"1"}}"""
MARK = """{"event":"mark","sequenceNumber":"4","streamSid":"MZ18ad3ab5a668481c",
    "mark":{"name":"greeting"}}"""


def refusal(dialect: Twilio, message: str | bytes) -> MessageError:
    with pytest.raises(MessageError) as caught:
        dialect.receive(message)
    return caught.value


def started(*analyzable: str, **changes: Any) -> Start:
    """The order to start."""
    dialect = Twilio(analyzable or ("customer", "mono"))
    (order,) = received(dialect, [TWILIO_CONNECTED, twilio_start(**changes)])
    assert isinstance(order, Start)
    return order


# --- start ---


def test_a_call_becomes_a_stream_named_after_it() -> None:
    start = started()
    assert (start.stream_id, start.encoding, start.sample_rate) == (CALL, "mulaw", 8000)
    assert (start.channels, start.analyze) == (("customer",), ("customer",))
    assert start.metadata == {"accountSid": ACCOUNT, "streamSid": STREAM}


@pytest.mark.parametrize(
    ("analyzable", "tracks", "channels"),
    [
        (("customer",), ["inbound"], ("customer",)),
        (("customer",), BOTH, ("customer",)),
        (("customer", "agent"), BOTH, ("customer", "agent")),
        (("agent", "customer"), BOTH[::-1], ("customer", "agent")),
        (("customer", "agent"), ["outbound"], ("agent",)),
        (("agent",), BOTH, ("agent",)),
        (("customer",), None, ("customer",)),
        (("customer", "agent"), None, ("customer", "agent")),
    ],
)
def test_only_tracks_that_are_there_and_may_be_analysed_become_channels(
    analyzable: tuple[str, ...], tracks: list[str] | None, channels: tuple[str, ...]
) -> None:
    start = started(*analyzable, tracks=tracks)
    assert (start.channels, start.analyze) == (channels, channels)


@pytest.mark.parametrize("tracks", [["outbound"], [], ["elsewhere"]])
def test_a_call_of_which_nothing_may_be_analysed_is_refused(tracks: list[str]) -> None:
    error = refusal(Twilio(["customer"]), twilio_start(tracks=tracks))
    assert error.code == "unsupported"
    assert "tracks" in error.message and "operator" in error.message


@pytest.mark.parametrize(
    "changes",
    [{"encoding": "audio/opus"}, {"sampleRate": 16000}, {"channels": 2}, {"encoding": "x" * 5000}],
)
def test_another_format_is_unsupported_and_named(changes: dict[str, Any]) -> None:
    error = refusal(Twilio(["customer"]), twilio_start(mediaFormat=MULAW | changes))
    assert error.code == "unsupported"
    assert "mediaFormat" in error.message and "expected audio/x-mulaw at 8000 Hz" in error.message
    assert len(error.message) < 200


def test_the_token_comes_first_and_is_not_kept() -> None:
    parameters = {"token": "very-secret", "queue": "claims"}
    token, start = Twilio(["customer"]).receive(twilio_start(customParameters=parameters))
    assert token == Token("very-secret")
    assert isinstance(start, Start)
    assert start.metadata["customParameters"] == {"queue": "claims"}
    assert "very-secret" not in repr(start)


def test_a_token_that_is_no_text_is_refused_without_being_repeated() -> None:
    error = refusal(Twilio(["customer"]), twilio_start(customParameters={"token": 123456}))
    assert "customParameters" in error.message and "123456" not in error.message


@pytest.mark.parametrize(
    "parameters",
    [
        {f"p{i}": "x" for i in range(MAX_PARAMETERS + 1)},
        {"p": "x" * 4000},
        {"p": "\U0001f600" * 1000},
        {"p": "\x01" * 600},
    ],
)
def test_custom_parameters_are_bounded(parameters: dict[str, str]) -> None:
    error = refusal(Twilio(["customer"]), twilio_start(customParameters=parameters))
    assert "customParameters" in error.message


def test_the_most_custom_parameters_still_fit() -> None:
    parameters = {f"p{i:02}": "x" * 80 for i in range(MAX_PARAMETERS)}
    assert started(customParameters=parameters).metadata["customParameters"] == parameters


def test_a_start_without_a_call_is_refused() -> None:
    assert "callSid" in refusal(Twilio(["customer"]), twilio_start(callSid=None)).message


def test_a_second_start_is_refused() -> None:
    dialect = Twilio(["customer"])
    dialect.receive(twilio_start())
    assert "twice" in refusal(dialect, twilio_start()).message


# --- media ---


def test_audio_is_handed_on_in_order_and_other_events_are_passed_over() -> None:
    data = bytes(range(200)) * 20
    media = twilio_call(data)
    media[3], media[5] = media[5], media[3]
    orders = received(
        Twilio(["customer"]),
        [
            TWILIO_CONNECTED,
            twilio_start(),
            *media[:9],
            DTMF,
            MARK,
            media[2],
            *media[9:],
            TWILIO_STOP,
        ],
    )
    assert sound(orders[1:]) == data
    assert orders[-1] == Stop()


def test_a_track_that_may_not_be_analysed_is_not_even_decoded() -> None:
    dialect = Twilio(["customer"])
    dialect.receive(twilio_start(tracks=BOTH))
    agent = twilio_media(1, 0, b"agent", "outbound").replace(
        base64.b64encode(b"agent").decode(), "not base64!"
    )
    assert dialect.receive(agent) == ()
    assert dialect.receive(twilio_media(1, 0, b"customer")) == [Audio(b"customer")]


def test_two_tracks_are_interleaved() -> None:
    dialect = Twilio(["customer", "agent"])
    one, other = bytes(range(200)) * 8, bytes(range(50, 250)) * 8
    media = [
        m
        for pair in zip(twilio_call(one), twilio_call(other, track="outbound"), strict=True)
        for m in pair
    ]
    orders = received(dialect, [twilio_start(tracks=BOTH), *media, TWILIO_STOP])
    data = sound(orders[1:])
    assert (data[0::2], data[1::2]) == (one, other)


def test_a_lost_frame_is_a_gap() -> None:
    media = twilio_call(b"a" * 1600)
    orders = received(Twilio(["customer"]), [twilio_start(), *media[:4], *media[5:], TWILIO_STOP])
    assert Gap(samples=160) in orders


def test_what_still_waits_when_the_call_ends_is_heard() -> None:
    media = twilio_call(b"abcd" * 400)
    orders = received(Twilio(["customer"]), [twilio_start(), *media[:5], *media[6:], TWILIO_STOP])
    assert len(sound(orders[1:])) == 1600


def test_a_connection_that_breaks_ends_the_call() -> None:
    dialect = Twilio(["customer"])
    assert dialect.closed() == ()
    received(dialect, [twilio_start(), *twilio_call(b"a" * 160)])
    assert dialect.closed() == (Stop(),)
    assert dialect.closed() == ()


def test_the_longest_payload_is_taken_and_a_longer_one_refused() -> None:
    dialect = Twilio(["customer"])
    dialect.receive(twilio_start())
    assert dialect.receive(twilio_media(1, 0, b"a" * MAX_FRAME)) == [Audio(b"a" * MAX_FRAME)]
    error = refusal(dialect, twilio_media(2, 2000, b"a" * (MAX_FRAME + 3)))
    assert "media.payload" in error.message and "expected at most" in error.message


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("payload", "%%%", "media.payload: expected base64"),
        ("payload", "YQ", "media.payload: expected base64"),
        ("payload", "ä", "media.payload: expected base64"),
        ("payload", 5, "media.payload: expected str, found int"),
        ("payload", None, "media.payload: expected str, found null"),
        ("chunk", "one", "media.chunk: expected int, found str"),
        ("chunk", "-1", "media.chunk: expected int >= 0"),
        ("chunk", "1.5", "media.chunk: expected int, found str"),
        ("timestamp", "9" * 40, "media.timestamp: expected int <="),
        ("timestamp", [], "media.timestamp: expected int, found array"),
        ("track", "both", "media.track"),
    ],
)
def test_a_malformed_frame_is_refused_by_its_field(field: str, value: object, words: str) -> None:
    dialect = Twilio(["customer"])
    dialect.receive(twilio_start())
    message = json.loads(twilio_media(1, 0, b"a"))
    message["media"][field] = value
    assert words in refusal(dialect, json.dumps(message)).message
    assert dialect.receive(twilio_media(1, 0, b"a")) == [Audio(b"a")]


@pytest.mark.parametrize("name", ["track", "chunk", "timestamp", "payload"])
def test_a_frame_without_a_field_is_refused_by_its_name(name: str) -> None:
    dialect = Twilio(["customer"])
    dialect.receive(twilio_start())
    message = json.loads(twilio_media(1, 0, b"a"))
    del message["media"][name]
    assert f"required field {name}" in refusal(dialect, json.dumps(message)).message


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([b"\xff" * 160], "binary"),
        (["hello"], "not JSON"),
        (["[]"], "list"),
        (["{}"], "event"),
        (['{"event":5}'], "event: expected a text, found int"),
        (['{"event":"resume"}'], "expected connected, start, media"),
        (['{"event":"start"}'], "start: expected an object, found nothing"),
        (['{"event":"media","media":"x"}'], "media: expected an object, found str"),
        ([twilio_media(1, 0, b"a")], "media before start"),
        ([TWILIO_STOP], "stop before start"),
        ([twilio_start(), TWILIO_STOP, TWILIO_STOP], "stop came twice"),
        ([twilio_start(), TWILIO_STOP, twilio_media(1, 0, b"a")], "media after stop"),
        (["{" + " " * 70_000 + "}"], "at most"),
        (["[" * 5000], "not JSON"),
    ],
)
def test_what_does_not_fit_is_refused(messages: list[str | bytes], words: str) -> None:
    dialect = Twilio(["customer"])
    received(dialect, messages[:-1])
    assert words in refusal(dialect, messages[-1]).message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ["media", "start", "chunk", "timestamp", "track", "payload", "mediaFormat", "tracks"]


@given(
    event=st.sampled_from(["connected", "start", "media", "stop", "mark"]) | JSON,
    body=st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON,
    begun=st.booleans(),
)
def test_garbage_raises_nothing_but_a_message_error(event: Any, body: Any, begun: bool) -> None:
    dialect = Twilio(["customer", "agent"])
    if begun:
        dialect.receive(twilio_start(tracks=BOTH))
    said = {"event": event, "start": body, "media": body}
    for message in (json.dumps(said), json.dumps(body), str(body)):
        try:
            dialect.receive(message)
        except MessageError as error:
            assert len(error.message) < 400


@given(st.text() | st.binary())
def test_noise_raises_nothing_but_a_message_error(message: str | bytes) -> None:
    with pytest.raises(MessageError):
        Twilio(["customer"]).receive(message)


# --- results ---


def test_nothing_is_written_to_twilio() -> None:
    dialect = Twilio(["customer"])
    dialect.receive(twilio_start())
    assert dialect.write(Error(code="internal", message="x", fatal=True)) == ()


@pytest.mark.parametrize("size", [160, 333])
def test_a_call_gives_the_events_that_the_same_bytes_give_natively(size: int) -> None:
    engine = fake_engine()
    data = mulaw(restless(12.3, 8000))
    media = twilio_call(data, size)
    media[7], media[9] = media[9], media[7]
    items, _ = answered(
        engine, Twilio(["customer"]), [twilio_start(), *media, media[3], TWILIO_STOP]
    )
    native = heard(engine, [data], encoding="mulaw", sample_rate=8000, channels=["customer"])
    assert len(events_of(items)) > 10
    assert plain(items, "stream_id") == plain(native, "stream_id")


def test_a_call_on_two_tracks_gives_the_events_that_the_same_bytes_give_natively() -> None:
    engine = fake_engine()
    one, other = (mulaw(restless(9.1, 8000, seed=seed)) for seed in (1, 2))
    media = [
        m
        for pair in zip(twilio_call(one), twilio_call(other, track="outbound"), strict=True)
        for m in pair
    ]
    items, _ = answered(
        engine, Twilio(["customer", "agent"]), [twilio_start(tracks=BOTH), *media, TWILIO_STOP]
    )
    data = np.stack([np.frombuffer(side, np.uint8) for side in (one, other)], 1).tobytes()
    names = ["customer", "agent"]
    native = heard(
        engine, [data], encoding="mulaw", sample_rate=8000, channels=names, analyze=names
    )
    assert plain(items, "stream_id") == plain(native, "stream_id")


def test_times_stay_true_where_frames_were_lost() -> None:
    engine = fake_engine()
    media = twilio_call(mulaw(restless(10.0, 8000)))
    messages = [twilio_start(), *media[:100], *media[200:], TWILIO_STOP]
    items, _ = answered(engine, Twilio(["customer"]), messages)
    assert isinstance(items[-1], Summary) and items[-1].audio_s == 10.0
