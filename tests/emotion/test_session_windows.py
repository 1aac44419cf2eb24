"""One stream: its windows, whatever the encoding, the channels and the cuts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion.audio import BYTES_PER_SAMPLE
from emotion.messages import Emotion, Silence, Summary, Warning
from tests.fakes import (
    SECOND,
    cut,
    ends,
    events_of,
    fake_engine,
    heard,
    int16_bytes,
    judge_all,
    new_session,
    plain,
    restless,
    summary_of,
)
from tests.speech import speech_like

ENGINE = fake_engine()

hops = st.sampled_from([0.25, 0.3, 0.5, 0.7, 1.0, 1.1])
windows = st.sampled_from([1.1, 2.0, 3.0, 4.5])


def encoded(samples, encoding):
    """float32 [n, channels] in an encoding; the companded ones are any bytes that sound restless."""
    if encoding == "pcm_s16le":
        return int16_bytes(samples)
    if encoding == "pcm_f32le":
        return samples.astype("<f4").tobytes()
    loud = np.clip(np.abs(samples) * 127, 0, 127).astype(np.uint8)
    return ((samples < 0).astype(np.uint8) * 128 + (127 - loud)).tobytes()


# --- the grid ---


@pytest.mark.parametrize(
    ("fields", "seconds", "expected"),
    [
        ({}, 0.4, []),
        ({}, 0.5, [(0, 0.5)]),
        ({}, 0.99, [(0, 0.99)]),
        ({}, 1.0, [(0, 1)]),
        ({}, 4.2, [(0, 1), (0, 2), (0, 3), (1, 4)]),
        ({}, 4.5, [(0, 1), (0, 2), (0, 3), (1, 4), (1.5, 4.5)]),
        ({"hop_s": 0.7}, 3.0, [(0, 1.4), (0, 2.1), (0, 2.8)]),
        ({"hop_s": 0.3, "window_s": 1.0}, 1.9, [(0.2, 1.2), (0.5, 1.5), (0.8, 1.8)]),
        ({"hop_s": 2.0, "window_s": 2.0}, 3.5, [(0, 2), (1.5, 3.5)]),
    ],
)
def test_windows_end_at_hops_from_1_s_and_a_partial_one_needs_half_a_second_of_news(
    fields, seconds, expected
):
    items = heard(ENGINE, [bytes(round(seconds * 16_000) * 2)], **fields)
    assert [(e.start_s, e.end_s) for e in events_of(items)] == expected
    assert items[-1].windows == len(expected)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_the_grid_is_the_same_at_every_rate(rate):
    items = heard(ENGINE, [bytes(5 * rate * 2)], sample_rate=rate)
    assert ends(items) == [1, 2, 3, 4, 5]
    assert items[-1].audio_s == 5.0


def test_the_resamplers_tail_belongs_to_the_last_window():
    session = new_session(ENGINE, encoding="mulaw", sample_rate=8_000)
    session.feed(bytes(8_000), 0.0)
    assert not session.ready  # the last samples are still inside the filter
    session.stop()
    assert ends(judge_all(session, ENGINE)) == [1.0]


def test_a_stop_where_the_resampler_rounds_up_onto_the_grid_is_answered():
    for rate in (44_100, 47_999, 48_000):
        frames = rate - 1  # 22050 Hz and above: 15999.3 samples or more, of which soxr makes 16000
        session = new_session(ENGINE, sample_rate=rate)
        session.feed(bytes(2 * frames), 5.0)
        session.stop()
        *events, summary = judge_all(session, ENGINE, 6.0)
        assert summary.windows == len(events) == 1
        assert events[0].latency_ms == 1_000


@settings(max_examples=60)
@given(
    seed=st.integers(0, 20),
    encoding=st.sampled_from(sorted(BYTES_PER_SAMPLE)),
    rate=st.sampled_from([8_000, 11_025, 16_000, 44_100]),
    channels=st.integers(1, 3),
    hop=hops,
    window=windows,
    vad=st.booleans(),
    adapt=st.sampled_from([None, True, False]),
    seconds=st.floats(0, 5),
    at=st.lists(st.floats(0, 1), max_size=40),
    lazy=st.lists(st.booleans(), min_size=45, max_size=45),
)
def test_the_same_audio_gives_the_same_events_however_cut_and_whenever_judged(
    seed, encoding, rate, channels, hop, window, vad, adapt, seconds, at, lazy
):
    names = ("customer", "agent", "third")[:channels]
    fields = {
        "encoding": encoding,
        "sample_rate": rate,
        "channels": names,
        "analyze": names[-2:],
        "hop_s": min(hop, window),
        "window_s": window,
        "vad": vad,
        "adapt": adapt,
    }
    data = encoded(restless(seconds, rate, channels, seed), encoding)
    expected = heard(ENGINE, [data], **fields)
    session, found = new_session(ENGINE, may_skip=False, **fields), []
    for now, (piece, wait) in enumerate(zip(cut(data, at), lazy, strict=False)):
        session.feed(piece, float(now))
        if not wait:
            found += judge_all(session, ENGINE, now + 0.5)
    session.stop()
    found += judge_all(session, ENGINE)
    assert plain(found) == plain(expected)


def two_voices(seconds):
    """A loud voice, and from the middle on a soft one; each second is somewhat louder or softer."""
    random = np.random.default_rng(5)
    loudness = np.repeat([0.8, 0.2], seconds // 2) * random.uniform(0.9, 1.1, seconds)
    return np.repeat(loudness, 16_000)[:, np.newaxis] * random.uniform(-1, 1, (seconds * 16_000, 1))


@settings(max_examples=10)
@given(at=st.lists(st.floats(0, 1), max_size=40))
def test_another_voice_is_noticed_at_the_same_window_however_it_is_cut(at):
    data = int16_bytes(two_voices(60))
    expected = heard(ENGINE, [data], vad=False)
    adapted = [event.adapted_s for event in events_of(expected)]
    assert adapted[:30] == list(range(1, 31))
    assert min(adapted[30:]) < 10  # it started afresh
    assert plain(heard(ENGINE, cut(data, at), vad=False)) == plain(expected)


def test_three_bytes_at_a_time_give_the_same_events():
    data = int16_bytes(restless(1.3, 8_000))
    fields = {"sample_rate": 8_000, "hop_s": 0.25}
    tiny = [data[i : i + 3] for i in range(0, len(data), 3)]
    assert plain(heard(ENGINE, tiny, **fields)) == plain(heard(ENGINE, [data], **fields))


def test_the_real_engine_gives_the_same_events_however_cut(engine):
    data = int16_bytes(np.concatenate([speech_like(4, 8_000), restless(3, 8_000)[:, 0]]))
    fields = {"sample_rate": 8_000, "hop_s": 0.7, "adapt": True}
    whole = heard(engine, [data], **fields)
    pieces = [data[i : i + 321] for i in range(0, len(data), 321)]
    assert plain(heard(engine, pieces, **fields)) == plain(whole)
    assert {type(item) for item in whole} == {Emotion, Silence, Summary}


def test_no_audio_gives_an_empty_summary():
    for pieces in ([], [b""], [b"", b""]):
        assert heard(ENGINE, pieces) == [summary_of(audio_s=0)]


# --- one window at a time ---


def test_while_a_window_is_out_no_other_is():
    session = new_session(ENGINE)
    session.feed(SECOND * 3, 0.0)
    window = session.poll(0.0)
    assert isinstance(window, Warning) and window.code == "too_fast"
    window = session.poll(0.0)
    assert session.poll(0.0) is None and not session.ready
    session.finish(window, ENGINE.judge(window), 0.0)
    assert session.ready


def test_a_window_that_is_not_out_cannot_be_finished():
    session = new_session(ENGINE)
    session.feed(SECOND, 0.0)
    window = session.poll(0.0)
    judgement = ENGINE.judge(window)
    with pytest.raises(ValueError, match="not out"):
        session.finish(replace(window), judgement, 0.0)
    session.finish(window, judgement, 0.0)
    with pytest.raises(ValueError, match="not out"):
        session.finish(window, judgement, 0.0)


def test_a_window_does_not_change_with_what_is_heard_later():
    session = new_session(ENGINE)
    session.feed(int16_bytes(restless(1)), 0.0)
    window = session.poll(0.0)
    before = window.pcm.copy(), window.unheard.copy()
    session.feed(int16_bytes(restless(30, seed=1)), 0.0)
    assert np.array_equal(window.pcm, before[0]) and np.array_equal(window.unheard, before[1])
    assert not window.pcm.flags.writeable


# --- several channels ---


def test_two_channels_are_analysed_as_if_each_were_alone():
    samples = restless(6.6, columns=2)
    fields = {"adapt": True, "hop_s": 0.7}
    both = heard(ENGINE, [int16_bytes(samples)], channels=("a", "b"), analyze=("b", "a"), **fields)
    for column, name in enumerate("ab"):
        alone = heard(ENGINE, [int16_bytes(samples[:, [column]])], channels=(name,), **fields)
        mine = [event for event in events_of(both) if event.channel == name]
        assert plain(mine, "id", "seq") == plain(events_of(alone), "id", "seq")
        assert both[-1].dominant[name] == alone[-1].dominant[name]


def test_a_channel_that_is_not_analysed_gives_no_events():
    items = heard(ENGINE, [SECOND * 4], channels=("agent", "customer"))
    assert {event.channel for event in events_of(items)} == {"customer"}
    assert items[-1].dominant == {"customer": None}
    assert items[-1].audio_s == 2.0
