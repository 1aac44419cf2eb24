"""Sessions as Genesys sends them."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion.errors import MessageError
from emotion.messages import Emotion, Error, Gap, Start, Stop, Summary, Warning
from stream_server.dialect import Audio, Close, Reply
from stream_server.telephony.audiohook import (
    MAX_DISCARDED_S,
    MAX_HELD_EVENTS,
    MAX_MEDIA,
    MAX_UNHEEDED,
    NOBODY,
    AudioHook,
    duration,
    seconds,
)
from tests import fakes
from tests.fakes import events_of, fake_engine, heard, plain, restless, silence, summary_of
from tests.stream_server.telephony.calls import answered, mulaw, received, said

SESSION = "e160e428-53e2-487c-977d-96989bf5c99d"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
CONVERSATION = "090eaa2f-72fa-480a-83e0-8667ff89c0ec"
PARTICIPANT = "883efee8-3d6c-4537-b500-6d7ca4b92fa0"


def offer(*channels: str, **changes: Any) -> dict[str, Any]:
    return {"type": "audio", "format": "PCMU", "channels": list(channels), "rate": 8000} | changes


USUAL = [offer("external", "internal"), offer("external"), offer("internal")]


class Client:
    """Numbers messages as Genesys does."""

    def __init__(self) -> None:
        self.seq = 0
        self.serverseq = 0

    def say(self, kind: str, parameters: dict[str, Any] | None = None, **changes: Any) -> str:
        self.seq += 1
        message = {
            "version": "2",
            "id": SESSION,
            "type": kind,
            "seq": self.seq,
            "serverseq": self.serverseq,
            "position": "PT0S",
            "parameters": parameters or {},
        }
        return json.dumps(message | changes)

    def open(self, **changes: Any) -> str:
        parameters = {
            "organizationId": ORGANIZATION,
            "conversationId": CONVERSATION,
            "participant": {
                "id": PARTICIPANT,
                "ani": "+1-555-555-1234",
                "aniName": "John Doe",
                "dnis": "+1-800-555-6789",
            },
            "media": USUAL,
            "language": "en-US",
        }
        return self.say("open", parameters | changes)


def opened(*analyzable: str, **changes: Any) -> tuple[AudioHook, Client]:
    """A session that is open."""
    dialect, client = AudioHook(analyzable or ("customer", "agent")), Client()
    received(dialect, [client.open(**changes)])
    return dialect, client


def refusal(dialect: AudioHook, message: str | bytes) -> MessageError:
    with pytest.raises(MessageError) as caught:
        dialect.receive(message)
    return caught.value


def replied(orders: Any) -> list[dict[str, Any]]:
    """What is replied, without the envelope's constants."""
    return said([order.text for order in orders if isinstance(order, Reply)])


def emotion(seq: int = 1) -> Emotion:
    times = {"start_s": float(seq), "end_s": seq + 3.0}
    return fakes.emotion("angry", 0.8, seq=seq, channel="customer", **times)


SUMMARY = summary_of(stream_id=CONVERSATION, audio_s=1.0)
FAILED = Error(code="bad_message", message="seq: expected 2, found 5", fatal=False)

# --- open ---


def test_open_is_answered_first_and_then_starts_the_stream() -> None:
    reply, start = AudioHook(["customer", "agent"]).receive(Client().open())
    assert isinstance(reply, Reply) and isinstance(start, Start)
    assert json.loads(reply.text) == {
        "version": "2",
        "id": SESSION,
        "type": "opened",
        "seq": 1,
        "clientseq": 1,
        "parameters": {"startPaused": False, "media": [offer("external", "internal")]},
    }
    assert (start.encoding, start.sample_rate, start.stream_id) == ("mulaw", 8000, CONVERSATION)
    assert start.channels == start.analyze == ("customer", "agent")


def test_who_is_calling_is_not_kept() -> None:
    _, start = AudioHook(["customer"]).receive(Client().open())
    assert isinstance(start, Start)
    assert start.metadata == {
        "organizationId": ORGANIZATION,
        "conversationId": CONVERSATION,
        "participantId": PARTICIPANT,
    }


@pytest.mark.parametrize(
    ("analyzable", "offered", "chosen", "analyze"),
    [
        (["customer"], USUAL, ["external"], ("customer",)),
        (["customer"], USUAL[:1], ["external", "internal"], ("customer",)),
        (["agent"], USUAL, ["internal"], ("agent",)),
        (["agent"], USUAL[:1], ["external", "internal"], ("agent",)),
        (["customer", "agent"], USUAL[::-1], ["external", "internal"], ("customer", "agent")),
        (["customer", "agent"], USUAL[1:], ["external"], ("customer",)),
        (
            ["customer", "agent"],
            [offer("internal", "external")],
            ["internal", "external"],
            ("agent", "customer"),
        ),
        (["customer"], [offer("external", format="L16"), *USUAL], ["external"], ("customer",)),
    ],
)
def test_what_may_be_analysed_is_chosen_and_as_little_else_as_possible(
    analyzable: list[str], offered: list[Any], chosen: list[str], analyze: tuple[str, ...]
) -> None:
    reply, start = AudioHook(analyzable).receive(Client().open(media=offered))
    assert isinstance(reply, Reply) and isinstance(start, Start)
    assert json.loads(reply.text)["parameters"]["media"] == [offer(*chosen)]
    assert start.analyze == analyze
    assert len(start.channels) == len(chosen)


@pytest.mark.parametrize(
    ("analyzable", "offered"),
    [
        (["customer"], []),
        (["customer"], [offer("internal")]),
        (["customer"], [offer("external", format="L16")]),
        (["customer"], [offer("external", rate=16000)]),
        (["customer"], [offer("external", "external")]),
        (["customer"], [offer("external", "bot")]),
        (["customer"], [offer()]),
        (["mono"], USUAL),
    ],
)
def test_an_offer_without_anything_to_analyse_is_unsupported(
    analyzable: list[str], offered: list[Any]
) -> None:
    error = refusal(AudioHook(analyzable), Client().open(media=offered))
    assert error.code == "unsupported" and "open.parameters.media" in error.message


def test_a_probe_is_answered_and_starts_no_stream() -> None:
    nobody = {"id": NOBODY, "ani": "", "aniName": "", "dnis": ""}
    client, dialect = Client(), AudioHook(["customer"])
    (reply,) = dialect.receive(client.open(conversationId=NOBODY, participant=nobody))
    assert isinstance(reply, Reply) and '"opened"' in reply.text
    assert [m["type"] for m in replied(dialect.receive(client.say("ping")))] == ["pong"]
    assert "audio while probe" in refusal(dialect, b"a").message
    orders = dialect.receive(client.say("close", {"reason": "end"}))
    assert [(m["type"], m["seq"]) for m in replied(orders)] == [("closed", 3)]
    assert orders[-1] == Close()
    assert dialect.closed() == () and dialect.write(FAILED) == ()


def test_close_before_open_closes() -> None:
    orders = AudioHook(["customer"]).receive(Client().say("close", {"reason": "error"}))
    assert [m["type"] for m in replied(orders)] == ["closed"] and orders[-1] == Close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"organizationId": "x"}, "open.parameters.organizationId"),
        ({"conversationId": None}, "open.parameters.conversationId"),
        ({"participant": {}}, "open.parameters.participant: object missing required field id"),
        ({"media": "PCMU"}, "open.parameters.media: expected array, found str"),
        ({"media": [offer("external")] * (MAX_MEDIA + 1)}, "length <= 32"),
        ({"media": [{"type": "audio"}]}, "open.parameters.media[0]"),
    ],
)
def test_a_malformed_open_is_refused_by_its_field(changes: dict[str, Any], words: str) -> None:
    error = refusal(AudioHook(["customer"]), Client().open(**changes))
    assert words in error.message


@pytest.mark.parametrize("kind", ["ping", "paused", "discarded", "update"])
def test_nothing_comes_before_open(kind: str) -> None:
    assert "before open" in refusal(AudioHook(["customer"]), Client().say(kind)).message


def test_audio_before_open_is_refused() -> None:
    assert "audio while new" in refusal(AudioHook(["customer"]), b"a").message


def test_a_second_open_is_refused() -> None:
    dialect, client = opened()
    assert "twice" in refusal(dialect, client.open()).message


def test_the_handshakes_session_and_organization_have_to_be_named() -> None:
    known: dict[str, Any] = {"session_id": SESSION.upper(), "organization_id": ORGANIZATION}
    assert len(AudioHook(["customer"], **known).receive(Client().open())) == 2
    other = AudioHook(["customer"], **known | {"organization_id": SESSION})
    assert refusal(other, Client().open()).code == "unauthorized"
    other = AudioHook(["customer"], **known | {"session_id": PARTICIPANT})
    assert refusal(other, Client().open()).message.startswith("id:")


def test_an_error_before_open_can_be_told_where_the_session_is_known() -> None:
    unauthorized = Error(code="unauthorized", message="secrets", fatal=True)
    assert AudioHook(["customer"]).write(unauthorized) == ()
    (message,) = said(AudioHook(["customer"], session_id=SESSION).write(unauthorized))
    assert message["type"] == "disconnect"
    assert message["parameters"] == {"reason": "unauthorized"}


# --- the envelope ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "1"}, "version: expected '2', found '1'"),
        ({"version": 2}, "message.version: expected str, found int"),
        ({"id": PARTICIPANT}, "id:"),
        ({"id": "x"}, "message.id"),
        ({"seq": 3}, "seq: expected 2, found 3"),
        ({"seq": 1}, "seq: expected 2, found 1"),
        ({"seq": -1}, "message.seq"),
        ({"serverseq": 2}, "serverseq: expected at most 1, found 2"),
        ({"position": "1.5"}, "position: expected a duration like PT1.5S"),
        ({"type": "shout"}, "type: expected one of open, close, ping"),
    ],
)
def test_a_message_that_does_not_fit_the_session_is_refused(
    changes: dict[str, Any], words: str
) -> None:
    dialect, client = opened()
    assert words in refusal(dialect, client.say("ping", **changes)).message


def test_parameters_are_an_object() -> None:
    dialect, client = opened()
    message = json.loads(client.say("ping")) | {"parameters": []}
    assert "message.parameters: expected object" in refusal(dialect, json.dumps(message)).message


def test_replies_are_numbered_and_say_what_they_answer() -> None:
    dialect, client = opened()
    orders = received(dialect, [client.say("ping", {"rtt": "PT0.12S"}) for _ in range(3)])
    orders += dialect.receive(client.say("update", {"language": "de-DE"}))
    assert [(m["type"], m["seq"], m["clientseq"]) for m in replied(orders)] == [
        ("pong", 2, 2),
        ("pong", 3, 3),
        ("pong", 4, 4),
        ("updated", 5, 5),
    ]


# --- audio ---


def test_audio_is_handed_on_and_its_position_kept() -> None:
    dialect, _ = opened()
    assert dialect.receive(b"ab" * 800) == (Audio(b"ab" * 800),)
    assert dialect.receive(b"") == ()
    assert dialect.position_s == 0.1


def test_half_a_stereo_sample_is_refused_for_the_channels_would_change_places() -> None:
    dialect, _ = opened()
    assert "whole samples of 2 channels" in refusal(dialect, b"abc").message


def test_what_was_discarded_is_silence() -> None:
    dialect, client = opened()
    told = client.say("discarded", {"start": "PT0S", "discarded": "PT1.5S"})
    assert dialect.receive(told) == (Gap(samples=12_000),)
    assert dialect.position_s == 1.5


@pytest.mark.parametrize(
    ("length", "samples"),
    [
        ("PT0S", []),
        ("PT0.0001S", [1]),
        ("PT60S", [480_000]),
        ("PT130.5S", [480_000, 480_000, 84_000]),
        (f"PT{MAX_DISCARDED_S:.0f}S", [480_000] * 240),
    ],
)
def test_a_long_silence_comes_in_gaps_that_a_session_takes(length: str, samples: list[int]) -> None:
    dialect, client = opened()
    orders = dialect.receive(client.say("discarded", {"start": "PT0S", "discarded": length}))
    assert [order.samples for order in orders if isinstance(order, Gap)] == samples


@pytest.mark.parametrize(
    "length", [f"PT{MAX_DISCARDED_S + 1:.0f}S", "PT999999999S", "PT1M", "1", ""]
)
def test_an_impossible_silence_is_refused(length: str) -> None:
    dialect, client = opened()
    told = client.say("discarded", {"start": "PT0S", "discarded": length})
    assert "discarded" in refusal(dialect, told).message


def test_a_pause_is_silence_and_no_audio_comes_in_it() -> None:
    dialect, client = opened()
    assert dialect.receive(client.say("paused")) == ()
    assert "audio while paused" in refusal(dialect, b"ab").message
    resumed = client.say("resumed", {"start": "PT0S", "discarded": "PT2S"})
    assert dialect.receive(resumed) == (Gap(samples=16_000),)
    assert dialect.receive(b"ab") == (Audio(b"ab"),)


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


# --- durations ---


@pytest.mark.parametrize(
    ("text", "length"),
    [("PT0S", 0), ("PT1.5S", 1.5), ("PT.5S", 0.5), ("PT0.000000001S", 1e-9), ("PT3600S", 3600)],
)
def test_durations_are_read(text: str, length: float) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize(
    "text",
    ["", "PT", "PTS", "P1D", "PT1M", "PT-1S", "PT1.S", "pt1s", "PT1S ", "PT\u0661S", "PT1e9S"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(MessageError, match="duration"):
        seconds(text)


@given(st.integers(0, 10**11))
def test_a_duration_that_is_written_is_read_as_it_was(microseconds: int) -> None:
    assert seconds(duration(microseconds / 1e6)) == microseconds / 1e6


def test_whole_seconds_are_written_as_such() -> None:
    assert [duration(x) for x in (0, 10, 1.25)] == ["PT0S", "PT10S", "PT1.25S"]


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
