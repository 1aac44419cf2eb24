"""Sessions of Genesys: what is said to them, and how they end."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion.errors import MessageError
from emotion.messages import Emotion, Error, Gap, Start, Stop, Summary, Warning
from stream_server.dialect import Audio, Reply
from stream_server.telephony.audiohook import MAX_HELD_EVENTS, MAX_UNHEEDED, AudioHook
from tests.fakes import events_of, fake_engine, heard, plain, restless, silence
from tests.stream_server.telephony.calls import answered, mulaw, received, said
from tests.stream_server.telephony.genesys import FAILED, SUMMARY, Client, emotion, opened, replied

# --- results ---


def test_an_emotion_is_an_event_of_its_own_type() -> None:
    dialect, _ = opened()
    (message,) = said(dialect.write(emotion()))
    assert (message["type"], message["seq"], message["clientseq"]) == ("event", 2, 1)
    (entity,) = message["parameters"]["entities"]
    assert entity["type"] == "emotion"
    assert entity["data"]["label"] == "angry"
    assert entity["data"]["probabilities"] == emotion().probabilities
    assert (entity["data"]["position"], entity["data"]["duration"]) == ("PT1S", "PT3S")


def test_silences_and_warnings_are_not_written() -> None:
    dialect, _ = opened()
    assert dialect.write(silence(1)) == ()
    assert dialect.write(Warning(code="too_fast", message="")) == ()


def test_while_paused_nothing_but_pongs_is_sent_and_events_come_after() -> None:
    dialect, client = opened()
    dialect.receive(client.say("paused"))
    assert [dialect.write(emotion(i)) for i in (1, 2)] == [(), ()]
    assert [m["type"] for m in replied(dialect.receive(client.say("ping")))] == ["pong"]
    reply, gap = dialect.receive(client.say("resumed", {"start": "PT0S", "discarded": "PT1S"}))
    assert isinstance(reply, Reply) and gap == Gap(samples=8000)
    message = json.loads(reply.text)
    assert message["seq"] == 3
    assert [e["data"]["seq"] for e in message["parameters"]["entities"]] == [1, 2]


def test_only_so_many_events_wait_for_the_end_of_a_pause() -> None:
    dialect, client = opened()
    dialect.receive(client.say("paused"))
    for i in range(MAX_HELD_EVENTS + 10):
        dialect.write(emotion(i))
    (reply,) = dialect.receive(client.say("resumed", {"start": "PT0S", "discarded": "PT0S"}))
    assert isinstance(reply, Reply)
    entities = json.loads(reply.text)["parameters"]["entities"]
    assert [e["data"]["seq"] for e in entities] == list(range(10, MAX_HELD_EVENTS + 10))


# --- the end ---


def test_close_is_answered_once_all_results_are_written() -> None:
    dialect, client = opened()
    assert dialect.receive(client.say("close", {"reason": "end"})) == (Stop(),)
    assert dialect.receive(client.say("close", {"reason": "end"})) == ()
    assert [m["type"] for m in said(dialect.write(emotion()))] == ["event"]
    (closed,) = said(dialect.write(SUMMARY))
    assert (closed["type"], closed["seq"], closed["clientseq"]) == ("closed", 3, 3)
    assert closed["parameters"] == {}
    assert dialect.write(FAILED) == () and dialect.closed() == ()


def test_close_is_answered_even_where_the_results_failed() -> None:
    dialect, client = opened()
    dialect.receive(client.say("close", {"reason": "end"}))
    assert dialect.write(FAILED) == ()
    failed = Error(code="internal", message="x", fatal=True)
    assert [m["type"] for m in said(dialect.write(failed))] == ["closed"]
    assert dialect.write(SUMMARY) == ()


def test_close_in_a_pause_delivers_what_waited() -> None:
    dialect, client = opened()
    dialect.receive(client.say("paused"))
    dialect.write(emotion())
    assert dialect.receive(client.say("close", {"reason": "end"})) == (Stop(),)
    assert [m["type"] for m in said(dialect.write(SUMMARY))] == ["event", "closed"]


def test_where_the_server_ends_the_client_is_asked_to_go() -> None:
    dialect, _ = opened()
    (message,) = said(dialect.write(SUMMARY))
    assert (message["type"], message["parameters"]) == ("disconnect", {"reason": "completed"})


def test_an_error_ends_the_session_by_the_book() -> None:
    dialect, client = opened()
    (message,) = said(dialect.write(FAILED))
    assert message["type"] == "disconnect"
    assert message["parameters"] == {"reason": "error", "info": FAILED.message}
    assert dialect.write(FAILED) == () and dialect.write(emotion()) == ()
    assert dialect.receive(b"ab") == () and dialect.receive("{}") == ()
    assert dialect.receive(client.say("paused")) == ()
    assert [m["seq"] for m in replied(dialect.receive(client.say("ping")))] == [3]
    assert dialect.receive(client.say("close", {"reason": "disconnect"})) == (Stop(),)
    assert [m["type"] for m in said(dialect.write(SUMMARY))] == ["closed"]


def test_a_client_that_does_not_close_is_hung_up_on() -> None:
    dialect, _ = opened()
    dialect.write(FAILED)
    orders = received(dialect, [b"ab"] * (MAX_UNHEEDED + 1))
    assert orders == [Stop()]
    assert dialect.receive(b"ab") == () and dialect.write(SUMMARY) == ()


def test_a_connection_that_breaks_ends_the_session() -> None:
    dialect, _ = opened()
    assert dialect.closed() == (Stop(),)
    assert dialect.closed() == () and dialect.write(SUMMARY) == ()


def test_a_clients_error_is_heard_and_left_alone() -> None:
    dialect, client = opened()
    told = client.say("error", {"code": 429, "message": "slower", "retryAfter": "PT5S"})
    assert dialect.receive(told) == ()
    assert dialect.receive(b"ab") == (Audio(b"ab"),)


# --- in general ---


def test_a_session_gives_the_events_that_the_same_bytes_give_natively() -> None:
    engine = fake_engine()
    sides = [mulaw(restless(9.3, 8000, seed=seed)) for seed in (1, 2)]
    data = np.stack([np.frombuffer(side, np.uint8) for side in sides], 1).tobytes()
    client = Client()
    chunks: list[str | bytes] = [data[i : i + 1600] for i in range(0, len(data), 1600)]
    messages = [client.open(), *chunks, client.say("close", {"reason": "end"})]
    items, texts = answered(engine, AudioHook(["customer", "agent"]), messages)
    names = ["customer", "agent"]
    native = heard(
        engine, [data], encoding="mulaw", sample_rate=8000, channels=names, analyze=names
    )
    assert plain(items, "stream_id") == plain(native, "stream_id")
    written = said(texts)
    assert [message["seq"] for message in written] == list(range(1, len(written) + 1))
    emotions = [event.id for event in events_of(items) if isinstance(event, Emotion)]
    ids = [message["parameters"]["entities"][0]["data"]["id"] for message in written[1:-1]]
    assert ids == emotions and len(ids) > 5
    assert (written[0]["type"], written[-1]["type"]) == ("opened", "closed")


KINDS = ["open", "close", "ping", "paused", "resumed", "discarded", "update", "error", "other"]
VALUES = st.none() | st.integers() | st.text(max_size=9) | st.sampled_from(["PT1S", "PT0.5S"])
PARAMETERS = st.dictionaries(st.sampled_from(["start", "discarded", "reason", "media"]), VALUES)
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), PARAMETERS)
    | st.binary(max_size=6)
    | st.text(max_size=6)
    | st.sampled_from([emotion(), SUMMARY, FAILED]),
    max_size=30,
)


@given(STEPS, st.booleans())
def test_whatever_comes_what_is_sent_stays_numbered_and_errors_are_message_errors(
    steps: list[Any], begun: bool
) -> None:
    dialect, client = AudioHook(["customer", "agent"]), Client()
    texts: list[str] = []
    orders: list[Any] = []
    for step in [client.open()] * begun + steps:
        if isinstance(step, Emotion | Summary | Error):
            texts += dialect.write(step)
            continue
        try:
            new = dialect.receive(client.say(*step) if isinstance(step, tuple) else step)
        except MessageError as error:
            assert len(error.message) < 400
            client.seq = dialect._client_seq
            continue
        texts += [order.text for order in new if isinstance(order, Reply)]
        orders += new
    messages = said(texts)
    assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
    assert sum(isinstance(order, Start) for order in orders) <= 1
    assert sum(isinstance(order, Stop) for order in orders) <= 1


@given(st.text() | st.binary())
def test_noise_raises_nothing_but_a_message_error(message: str | bytes) -> None:
    with pytest.raises(MessageError):
        AudioHook(["customer"]).receive(message)
