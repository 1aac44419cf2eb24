"""One stream: what its events say, and what it refuses."""

import numpy as np
import pytest

from emotion.engine import Engine
from emotion.errors import AudioError, MessageError
from emotion.messages import Emotion
from tests.fakes import (
    SECOND,
    FakeMonitor,
    FakeVoice,
    contract,
    ends,
    events_of,
    fake_engine,
    heard,
    int16_bytes,
    judge_all,
    new_session,
    restless,
)
from tests.speech import speech_like

ENGINE = fake_engine()

# --- events ---


def test_events_are_numbered_from_1():
    events = events_of(heard(ENGINE, [int16_bytes(restless(8)), "x"]))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.id for event in events] == [f"s:{event.seq}" for event in events]


def test_a_stream_without_a_name_is_called_by_the_sessions_id():
    assert {e.stream_id for e in events_of(heard(ENGINE, [SECOND]))} == {"s"}
    assert {e.stream_id for e in events_of(heard(ENGINE, [SECOND], stream_id="c"))} == {"c"}


def test_probabilities_are_named_and_the_label_is_the_largest():
    for event in events_of(heard(ENGINE, [int16_bytes(restless(4))], vad=False)):
        assert list(event.probabilities) == list(contract().labels)
        assert sum(event.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert event.confidence == event.probabilities[event.label]
        assert event.confidence == max(event.probabilities.values())
        assert event.speech_ratio is None


def test_smoothing_halves_the_past_every_two_seconds():
    samples = np.concatenate([restless(1, seed=3), np.full((2 * 16_000, 1), 0.5, np.float32)])
    events = events_of(heard(ENGINE, [int16_bytes(samples)], vad=False, window_s=1.0, hop_s=1.0))
    first, second, _ = events
    kept = 0.5**0.5
    for label, value in second.smoothed.probabilities.items():
        mixed = kept * first.probabilities[label] + (1 - kept) * second.probabilities[label]
        assert value == pytest.approx(mixed, abs=2e-6)


def test_a_pause_fades_what_was_smoothed_before_it():
    loud = restless(1, seed=3) * 0 + 0.3 * np.sign(restless(1, seed=3))
    samples = np.concatenate([loud, np.zeros((12 * 16_000, 1), np.float32), loud * 2])
    events = events_of(heard(ENGINE, [int16_bytes(samples)], window_s=1.0))
    emotions = [event for event in events if isinstance(event, Emotion)]
    assert len(emotions) == 2 and len(events) == 14
    assert emotions[1].smoothed.probabilities == pytest.approx(emotions[1].probabilities, abs=0.02)


def test_without_adaptation_the_probabilities_are_the_models(engine):
    samples = speech_like(4)
    events = events_of(heard(engine, [int16_bytes(samples)], adapt=False))
    pcm = np.frombuffer(int16_bytes(samples), "<i2").astype(np.float32) / 32_768
    for event in events:
        start, end = round(event.start_s * 16_000), round(event.end_s * 16_000)
        expected, _ = engine.run(pcm[start:end])
        assert list(event.probabilities.values()) == pytest.approx(expected, abs=1e-6)
        assert event.adapted_s == 0


def unable(why):
    """An engine that cannot adapt, for one reason or the other."""
    if why == "the model":
        return fake_engine(adaptable=False)
    return Engine(contract(), "cpu", FakeMonitor(), None, FakeVoice())


@pytest.mark.parametrize(
    ("engine", "asked", "adapts"),
    [
        (ENGINE, {}, True),
        (ENGINE, {"adapt": None}, True),
        (ENGINE, {"adapt": True}, True),
        (ENGINE, {"adapt": False}, False),
        *((unable(why), {}, False) for why in ("the model", "no classifier")),
        *((unable(why), {"adapt": False}, False) for why in ("the model", "no classifier")),
    ],
)
def test_a_stream_that_says_nothing_adapts_where_the_model_can(engine, asked, adapts):
    assert new_session(engine, **asked).started().adapt is adapts
    events = events_of(heard(engine, [int16_bytes(restless(4))], vad=False, **asked))
    assert [event.adapted_s for event in events] == ([1, 2, 3, 4] if adapts else [0] * 4)


def test_adaptation_counts_each_second_of_speech_once():
    loud = 0.3 * np.sign(restless(30.3, seed=3))
    for hop in (0.25, 0.7, 1.0, 3.0):
        items = heard(ENGINE, [int16_bytes(loud)], adapt=True, hop_s=hop)
        last = events_of(items)[-1]
        assert last.adapted_s == pytest.approx(last.end_s, abs=0.032)


def test_adaptation_grows_by_new_speech_only():
    loud = 0.3 * np.sign(restless(4, seed=3))
    samples = np.concatenate([loud, np.zeros((4 * 16_000, 1), np.float32), loud])
    adapted = [
        event.adapted_s
        for event in events_of(heard(ENGINE, [int16_bytes(samples)], adapt=True))
        if isinstance(event, Emotion)
    ]
    assert adapted == sorted(adapted)
    assert adapted[3] == pytest.approx(4.0, abs=0.04)
    assert adapted[-1] == pytest.approx(8.0, abs=0.1)
    assert adapted.count(adapted[3]) >= 2  # the windows after it hear nothing new


def test_started_says_the_configuration_in_effect():
    session = new_session(ENGINE, channels=("customer", "agent"), hop_s=0.5, metadata={"a": 1})
    started = session.started()
    assert (started.session_id, started.stream_id) == ("s", "s")
    assert started.analyze == ("customer",)
    assert (started.window_s, started.hop_s) == (3.0, 0.5)
    assert started.model.labels == contract().labels
    assert started.metadata == {"a": 1}
    assert started.protocol == "emotion.v1"


def test_dominant_is_the_label_with_the_largest_mean():
    items = heard(ENGINE, [int16_bytes(restless(8))], vad=False)
    means = {
        label: np.mean([event.probabilities[label] for event in events_of(items)])
        for label in contract().labels
    }
    assert items[-1].dominant == {"mono": max(means, key=means.get)}


# --- what is refused ---


def test_nan_mid_stream_is_an_audio_error_and_what_came_before_is_answered():
    session = new_session(ENGINE, encoding="pcm_f32le")
    session.feed(bytes(4 * 16_000), 0.0)
    with pytest.raises(AudioError, match="sample 16003 is nan"):
        session.feed(np.array([0, 0, 0, np.nan], "<f4").tobytes(), 0.0)
    session.stop()
    items = list(judge_all(session, ENGINE))
    assert ends(items) == [1.0] and items[-1].audio_s == 1.0


def test_nan_in_a_channel_that_is_not_analysed_is_refused_too():
    session = new_session(ENGINE, encoding="pcm_f32le", channels=("mono", "other"))
    with pytest.raises(AudioError, match="sample 0 is nan"):
        session.feed(np.array([0, np.nan], "<f4").tobytes(), 0.0)


@pytest.mark.parametrize("why", ["the model", "no classifier"])
def test_asking_a_model_to_adapt_that_cannot_is_unsupported(why):
    with pytest.raises(MessageError, match="cannot adapt") as caught:
        new_session(unable(why), adapt=True)
    assert caught.value.code == "unsupported"


def test_a_window_longer_than_the_model_takes_is_unsupported():
    short = fake_engine(max_samples=48_000)
    new_session(short, window_s=3.0)
    with pytest.raises(MessageError, match=r"window_s is 3\.5: expected at most 3 ") as caught:
        new_session(short, window_s=3.5)
    assert caught.value.code == "unsupported"
