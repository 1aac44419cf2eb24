"""What a client says in wire protocol v1, checked."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emotion.errors import MessageError
from emotion.messages import (
    MAX_CONTROL_BYTES,
    MAX_NESTING,
    Error,
    Flush,
    Keepalive,
    Start,
    Stop,
    encode,
)
from emotion.parsing import parse, start_from


def start(**fields: Any) -> str:
    return json.dumps({"type": "start", **fields})


def refused(text: str) -> MessageError:
    with pytest.raises(MessageError) as caught:
        parse(text)
    assert "\n" not in caught.value.message
    encode(Error(code=caught.value.code, message=caught.value.message, fatal=True))
    return caught.value


# --- what is accepted ---


def test_start_has_a_default_for_every_field():
    assert parse('{"type":"start"}') == Start(
        stream_id=None,
        encoding="pcm_s16le",
        sample_rate=16_000,
        channels=("mono",),
        analyze=None,
        window_s=3.0,
        hop_s=1.0,
        vad=True,
        adapt=None,
        metadata={},
    )


def test_start_as_the_protocol_shows_it():
    text = (
        '{"type":"start","stream_id":"call-7","encoding":"pcm_s16le","sample_rate":16000,'
        '"channels":["customer","agent"],"analyze":["customer"],"window_s":3.0,"hop_s":1.0,'
        '"vad":true,"adapt":null,"metadata":{}}'
    )
    assert parse(text) == Start(
        stream_id="call-7", channels=("customer", "agent"), analyze=("customer",)
    )


@pytest.mark.parametrize("adapt", [True, False, None])
def test_adapt_is_asked_for_refused_or_left_to_the_model(adapt):
    assert parse(start(adapt=adapt)) == Start(adapt=adapt)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"flush"}', Flush()),
        ('{"type":"flush","id":"x"}', Flush(id="x")),
        ('{"type":"keepalive"}', Keepalive()),
        ('{"id":"last","type":"stop"}', None),
        (' {"type" : "stop"} ', Stop()),
    ],
)
def test_the_other_messages(text, message):
    if message is None:
        refused(text)
    else:
        assert parse(text) == message


@pytest.mark.parametrize(
    ("channels", "analyze", "analyzed"),
    [
        (["mono"], None, ("mono",)),
        (["left", "right"], None, ("left",)),
        (["agent", "customer"], None, ("customer",)),
        (["agent", "customer"], ["agent"], ("agent",)),
        (["a", "b", "c"], ["c", "a"], ("c", "a")),
    ],
)
def test_customer_is_analysed_by_default_else_the_first_channel(channels, analyze, analyzed):
    assert start_from(channels=channels, analyze=analyze).analyzed == analyzed


@pytest.mark.parametrize(
    "fields",
    [
        {"sample_rate": 8_000},
        {"sample_rate": 48_000},
        {"window_s": 1, "hop_s": 1},
        {"window_s": 10, "hop_s": 10},
        {"hop_s": 0.25},
        {"channels": list("abcdefgh")},
        {"channels": ["x" * 64]},
        {"stream_id": "x" * 256},
        {"metadata": {"a": {"b": [1, None, True, "é"]}}},
    ],
)
def test_values_at_their_bounds_are_accepted(fields):
    assert isinstance(parse(start(**fields)), Start)


# --- what is refused ---


@pytest.mark.parametrize("text", ["", " ", "{", "}", "nope", "'x'", '{"type":"stop"}}', "\x00"])
def test_text_that_is_not_json_is_refused(text):
    error = refused(text)
    assert error.code == "bad_message" and "not JSON" in error.message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5_000])
def test_numbers_that_json_or_a_double_do_not_have_are_refused(number):
    assert refused('{"type":"start","window_s":?}'.replace("?", number)).code == "bad_message"


@pytest.mark.parametrize("text", ["null", "7", "[]", '"start"', '["start"]', "true"])
def test_json_that_is_no_object_is_refused(text):
    assert "expected an object with a 'type'" in refused(text).message


@pytest.mark.parametrize("kind", [None, 7, [], {}, True, 10**30])
def test_a_type_that_is_no_text_is_refused(kind):
    assert (
        "expected a text, one of start, flush, keepalive, gap, stop"
        in refused(json.dumps({"type": kind})).message
    )


def test_a_missing_type_is_refused():
    assert refused('{"sample_rate":16000}').message.startswith("no type")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("strat", "did you mean 'start'?"),
        ("Start", "did you mean 'start'?"),
        ("xyz", "known are start, flush, keepalive, gap, stop"),
        ("", "known are"),
        ("emotion", "known are"),
    ],
)
def test_an_unknown_type_is_refused_with_the_nearest(kind, said):
    message = refused(json.dumps({"type": kind})).message
    assert message.startswith(f"unknown type '{kind}'") and said in message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hopp_s", "did you mean 'hop_s'?"),
        ("sampleRate", "did you mean 'sample_rate'?"),
        ("analyse", "did you mean 'analyze'?"),
        ("qqq", "known are stream_id, encoding"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest(name, said):
    message = refused(start(**{name: 1})).message
    assert message.startswith(f"start: unknown field '{name}'") and said in message


def test_a_field_of_another_message_is_unknown():
    assert "stop: unknown field 'id'" in refused('{"type":"stop","id":"x"}').message


def test_a_field_name_with_line_breaks_stays_on_one_line():
    refused(start(**{"a\nb\x1b[31m": 1}))
    refused(start(channels=["a\nb"], analyze=["c\nd"]))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("sample_rate", 7_999, ">= 8000"),
        ("sample_rate", 48_001, "<= 48000"),
        ("sample_rate", 0, ">= 8000"),
        ("sample_rate", -16_000, ">= 8000"),
        ("sample_rate", 16_000.5, "`int`"),
        ("sample_rate", "16000", "`int`"),
        ("sample_rate", True, "`int`"),
        ("sample_rate", None, "`int`"),
        ("sample_rate", [[[]]], "`int`"),
        ("window_s", 0.99, ">= 1"),
        ("window_s", 10.01, "<= 10"),
        ("window_s", -3, ">= 1"),
        ("window_s", True, "`float`"),
        ("window_s", "3", "`float`"),
        ("hop_s", 0.249, ">= 0.25"),
        ("hop_s", 0, ">= 0.25"),
        ("hop_s", 3.001, "0.25 to window_s"),
        ("vad", 1, "`bool`"),
        ("vad", "true", "`bool`"),
        ("adapt", 1, "`bool | null`"),
        ("adapt", "true", "`bool | null`"),
        ("stream_id", "", "length >= 1"),
        ("stream_id", "x" * 257, "length <= 256"),
        ("stream_id", 7, "`str"),
        ("channels", [], "length >= 1"),
        ("channels", list("abcdefghi"), "length <= 8"),
        ("channels", "mono", "`array`"),
        ("channels", ["mono", 2], "`str`"),
        ("channels", [""], "length >= 1"),
        ("channels", ["x" * 65], "length <= 64"),
        ("channels", ["a", "b", "a"], "distinct"),
        ("channels", {}, "`array`"),
        ("analyze", [], "length >= 1"),
        ("analyze", ["agent"], "some of channels"),
        ("analyze", ["mono", "mono"], "distinct"),
        ("metadata", [], "`object`"),
        ("metadata", None, "`object`"),
        ("metadata", {"a": "x" * 4_096}, "at most 4096"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_field_expected_and_found(field, value, expected):
    error = refused(start(**{field: value}))
    assert error.code == "bad_message"
    assert error.message.startswith("start: ") and field in error.message
    assert expected in error.message
    if field not in ("metadata", "channels", "analyze"):
        assert str(json.dumps(value))[:60] in error.message


@pytest.mark.parametrize("encoding", ["mp3", "", "PCM_S16LE", 7, None, ["mulaw"]])
def test_an_unknown_encoding_is_unsupported_and_the_known_ones_are_named(encoding):
    error = refused(start(encoding=encoding))
    assert error.code == "unsupported"
    assert "pcm_s16le, pcm_f32le, mulaw, alaw" in error.message
    assert json.dumps(encoding) in error.message


@pytest.mark.parametrize("value", [7, None, ["x"], "x" * 257])
def test_a_flush_id_that_does_not_fit_is_refused(value):
    assert "flush: id: " in refused(json.dumps({"type": "flush", "id": value})).message


def test_a_text_frame_over_the_limit_is_too_large():
    error = refused(start(metadata={"a": "x" * MAX_CONTROL_BYTES}))
    assert error.code == "too_large" and "binary frames" in error.message


@pytest.mark.parametrize("depth", [MAX_NESTING, 900, 990, 1_000, 10_000, 30_000])
@pytest.mark.parametrize(
    "template",
    [
        '{"type":?}',
        '{"type":"start","metadata":{"a":?}}',
        '{"type":"start","sample_rate":?}',
        '{"type":"start","bogus":?}',
        "?",
    ],
)
def test_deep_nesting_is_refused(template, depth):
    assert refused(template.replace("?", "[" * depth + "]" * depth)).code == "bad_message"
    refused(template.replace("?", '{"a":' * (depth // 5) + "1"))


def test_metadata_may_be_nested_a_little():
    parse(start(metadata={"a": {"b": {"c": [[[1]]]}}}))


@pytest.mark.parametrize(
    "text",
    ['{"type":"\\ud800"}', '{"type":"start","stream_id":"\\udfff"}', '{"\\ud800":1}', "\ud800"],
)
def test_lone_surrogates_are_refused(text):
    assert refused(text).code == "bad_message"


def test_integers_beyond_64_bits_in_metadata_can_be_sent_back():
    message = parse(start(metadata={"a": 10**40}))
    json.loads(encode(message))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from([*Start.__struct_fields__, "type", "id", "resume", ""])


@given(text=st.text() | json_values.map(json.dumps))
@example(text="\ud800")
def test_no_text_raises_anything_but_a_message_error(text):
    try:
        parse(text)
    except MessageError as error:
        encode(Error(code=error.code, message=error.message, fatal=False))


@settings(max_examples=300)
@given(
    kind=st.sampled_from(["start", "flush", "keepalive", "stop"]),
    fields=st.dictionaries(names, json_values, max_size=5),
)
def test_no_fields_of_a_known_type_raise_anything_but_a_message_error(kind, fields):
    try:
        message = parse(json.dumps({**fields, "type": kind}))
    except MessageError as error:
        assert "\n" not in error.message
        encode(Error(code=error.code, message=error.message, fatal=False))
    else:
        assert parse(encode(message)) == message


# --- from Python ---


@pytest.mark.parametrize(
    "fields",
    [
        {"window_s": math.nan},
        {"hop_s": math.nan},
        {"window_s": math.inf},
        {"sample_rate": np.int64(16_000)},
        {"channels": ("a", object())},
        {"metadata": {"a": object()}},
        {"metadata": {1: 2}},
        {"stream_id": "\ud800"},
        {"encoding": b"mulaw"},
        {"bogus": 1},
    ],
)
def test_values_that_json_does_not_have_are_message_errors_too(fields):
    with pytest.raises(MessageError, match=r"^start: "):
        start_from(**fields)


def test_sequences_of_python_become_tuples():
    assert start_from(channels=["a", "b"], analyze=["b"]).analyzed == ("b",)
