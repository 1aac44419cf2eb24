"""Sessions of Genesys: how they open, what every message carries, and their audio."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion.errors import MessageError
from emotion.messages import Error, Gap, Start
from stream_server.dialect import Audio, Close, Reply
from stream_server.telephony.audiohook import (
    MAX_DISCARDED_S,
    MAX_MEDIA,
    NOBODY,
    AudioHook,
    duration,
    seconds,
)
from tests.stream_server.telephony.calls import received, said
from tests.stream_server.telephony.genesys import (
    CONVERSATION,
    FAILED,
    ORGANIZATION,
    PARTICIPANT,
    SESSION,
    USUAL,
    Client,
    offer,
    opened,
    refusal,
    replied,
)

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
