"""One stream: what it answers, to what, in which order."""

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion.audio import BYTES_PER_SAMPLE
from emotion.engine import Window
from emotion.errors import AudioError, MessageError
from emotion.messages import Emotion, Flushed, Silence, Summary, Warning
from emotion.session import AHEAD_TOLERANCE_S, MAX_FLUSHES, MAX_WAIT_S
from tests.fakes import (
    contract,
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
SECOND = bytes(32_000)  # of pcm_s16le at 16 kHz

hops = st.sampled_from([0.25, 0.3, 0.5, 0.7, 1.0, 1.1])
windows = st.sampled_from([1.1, 2.0, 3.0, 4.5])


def ends(items):
    return [event.end_s for event in events_of(items)]


def encoded(samples, encoding):
    """float32 [n, channels] in an encoding; the companded ones are any bytes that sound restless."""
    if encoding == "pcm_s16le":
        return int16_bytes(samples)
    if encoding == "pcm_f32le":
        return samples.astype("<f4").tobytes()
    loud = np.clip(np.abs(samples) * 127, 0, 127).astype(np.uint8)
    return ((samples < 0).astype(np.uint8) * 128 + (127 - loud)).tobytes()


def cut(data, at):
    edges = [0, *sorted(round(share * len(data)) for share in at), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


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
    adapt=st.booleans(),
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


# --- flush ---


@settings(max_examples=30)
@given(
    seed=st.integers(0, 20),
    at=st.lists(st.floats(0, 1), max_size=8),
    rate=st.sampled_from([8_000, 16_000, 44_100]),
    hop=hops,
    adapt=st.booleans(),
)
def test_a_flush_adds_windows_and_changes_no_other(seed, at, rate, hop, adapt):
    fields = {
        "sample_rate": rate,
        "hop_s": hop,
        "adapt": adapt,
        "channels": ("a", "b"),
        "analyze": ("a", "b"),
    }
    data = encoded(restless(4.6, rate, 2, seed), "pcm_s16le")
    pieces = []
    for number, piece in enumerate(cut(data, at)):
        pieces += [piece, f"flush {number}"]
    session, grid, flushed = new_session(ENGINE, may_skip=False, **fields), [], []
    for piece in [*pieces, None]:
        if piece is None:
            session.stop()
        elif isinstance(piece, str):
            session.flush(piece)
        else:
            session.feed(piece, 0.0)
        while (item := session.poll(0.0)) is not None:
            if isinstance(item, Window):
                event = session.finish(item, ENGINE.judge(item), 0.0)
                grid += [] if item.extra else [event]
            elif isinstance(item, Flushed):
                flushed.append(item.id)
            else:
                summary = item
    expected = heard(ENGINE, [data], **fields)
    without = ("id", "seq")
    assert plain(grid, *without) == plain(events_of(expected), *without)
    assert flushed == [piece for piece in pieces if isinstance(piece, str)]
    assert summary.dominant == expected[-1].dominant


def test_a_flush_answers_for_all_that_has_been_heard():
    items = heard(ENGINE, [SECOND, bytes(8_000), "x"])
    assert ends(items[:2]) == [1.0, 1.25]
    assert items[2] == Flushed(id="x")


def test_a_second_flush_at_the_same_sample_adds_no_window():
    items = heard(ENGINE, [SECOND + bytes(8_000), "a", "b", b"", "c"])
    assert ends(items) == [1.0, 1.25]
    assert [item.id for item in items if isinstance(item, Flushed)] == ["a", "b", "c"]


def test_a_flush_on_the_grid_adds_no_window():
    items = heard(ENGINE, [SECOND, "x", SECOND])
    assert ends(items) == [1, 2]


@pytest.mark.parametrize(("samples", "count"), [(0, 0), (7_999, 0), (8_000, 1), (15_999, 1)])
def test_a_flush_before_half_a_second_is_answered_without_a_window(samples, count):
    session = new_session(ENGINE)
    session.feed(bytes(2 * samples), 0.0)
    session.flush("x")
    items = list(judge_all(session, ENGINE))
    assert len(events_of(items)) == count and items[-1] == Flushed(id="x")


def test_a_flush_does_not_take_the_partial_window_of_stop_away():
    items = heard(ENGINE, [SECOND, bytes(24_000), "x"])
    assert ends(items) == [1.0, 1.75, 1.75]


def test_flushes_and_windows_are_answered_in_the_order_of_the_audio():
    session = new_session(ENGINE, may_skip=False)
    for name in "abc":
        session.feed(SECOND, 0.0)
        session.flush(name)
    session.stop()
    *answers, summary = judge_all(session, ENGINE)
    assert [item.id for item in answers] == ["s:1", "a", "s:2", "b", "s:3", "c"]
    assert isinstance(summary, Summary)


def test_a_flush_that_waited_keeps_the_arrival_of_its_own_audio():
    session = new_session(ENGINE, may_skip=False)
    session.feed(bytes(24_000), 1.0)
    session.flush("x")
    session.feed(bytes(2_000), 9.0)
    [event, _] = judge_all(session, ENGINE, 10.0)
    assert event.latency_ms == 9_000


def test_flushes_that_nobody_awaits_are_bounded():
    session = new_session(ENGINE)
    for _ in range(MAX_FLUSHES):
        session.flush("x")
    with pytest.raises(MessageError, match="unanswered") as caught:
        session.flush("x")
    assert caught.value.code == "bad_message"
    list(judge_all(session, ENGINE))
    session.flush("x")


# --- stop ---


def test_after_stop_nothing_more_is_taken():
    session = new_session(ENGINE)
    session.stop()
    assert session.stopped
    for late in (lambda: session.feed(b"", 0.0), lambda: session.flush("x"), session.stop):
        with pytest.raises(MessageError, match="after stop") as caught:
            late()
        assert caught.value.code == "bad_message"


def test_after_the_summary_nothing_more_is_handed_out():
    session = new_session(ENGINE)
    session.stop()
    assert isinstance(session.poll(0.0), Summary)
    assert session.closed and not session.ready
    assert session.poll(0.0) is None


@pytest.mark.parametrize(
    ("fields", "data", "count"),
    [
        ({}, b"\x00", 1),
        ({}, SECOND + b"\x00", 1),
        ({"encoding": "pcm_f32le"}, bytes(4 * 16_000 + 3), 3),
        ({"channels": ("a", "b"), "encoding": "mulaw"}, bytes(2 * 16_000 + 1), 1),
    ],
)
def test_bytes_that_make_no_sample_are_told_at_stop(fields, data, count):
    items = heard(ENGINE, [data], **fields)
    [warning] = [item for item in items if isinstance(item, Warning)]
    assert warning.code == "incomplete_sample" and f"{count} bytes" in warning.message
    assert isinstance(items[-1], Summary)


def test_nothing_is_lost_at_stop_with_windows_pending():
    session = new_session(ENGINE)
    session.feed(SECOND * 7 + bytes(24_000), 0.0)
    session.stop()
    items = list(judge_all(session, ENGINE, 1_000.0))
    assert ends(items) == [1, 2, 3, 4, 5, 6, 7, 7.75]
    assert items[-1].skipped == 0


def test_stop_with_a_window_out_waits_for_it():
    session = new_session(ENGINE)
    session.feed(SECOND, 0.0)
    window = session.poll(0.0)
    session.stop()
    assert session.poll(0.0) is None and not session.ready
    session.finish(window, ENGINE.judge(window), 0.0)
    assert isinstance(session.poll(0.0), Summary)


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


# --- live or fast ---


def run_live(seconds, judging_s, *, may_skip=True, hop=1.0, step=0.02):
    """20 ms frames at the pace of speech, judged by one who needs `judging_s` a window."""
    session, items = new_session(ENGINE, may_skip=may_skip, hop_s=hop), []
    data = int16_bytes(restless(seconds))
    out, free_at = None, 0.0
    for number in range(round(seconds / step)):
        now = (number + 1) * step
        size = round(step * 32_000)
        session.feed(data[number * size : (number + 1) * size], now)
        while now >= free_at:
            if out is not None:
                items.append(session.finish(out, ENGINE.judge(out), now))
                out = None
            item = session.poll(now)
            if isinstance(item, Window):
                out, free_at = item, now + judging_s
            elif item is None:
                break
            else:
                items.append(item)
    if out is not None:
        items.append(session.finish(out, ENGINE.judge(out), free_at))
    session.stop()
    return items + list(judge_all(session, ENGINE, free_at))


def test_a_live_stream_that_is_judged_in_time_loses_nothing():
    items = run_live(20, 0.9)
    assert ends(items) == list(range(1, 21))
    assert items[-1].skipped == 0
    assert all(event.latency_ms < 2_000 for event in events_of(items))


def test_a_live_stream_that_is_judged_too_slowly_skips_to_the_newest():
    items = run_live(40, 2.5)
    summary = items[-1]
    assert summary.skipped > 0
    assert summary.windows == 40 == summary.inferred + summary.silent + summary.skipped
    warnings = [item for item in items if isinstance(item, Warning)]
    assert {warning.code for warning in warnings} == {"skipped_windows"}
    assert sum(warning.count for warning in warnings) == summary.skipped
    assert all(e.latency_ms <= 1_000 * (2.5 + MAX_WAIT_S + 1.1) for e in events_of(items))


def test_who_may_not_skip_does_not():
    assert run_live(20, 2.5, may_skip=False)[-1].skipped == 0


def test_a_window_that_waited_no_longer_than_allowed_is_not_skipped():
    session = new_session(ENGINE, hop_s=0.25)
    session.feed(SECOND, 1.0)
    session.feed(bytes(32_000), 2.0)
    items = list(judge_all(session, ENGINE, 1.0 + MAX_WAIT_S))
    assert ends(items) == [1, 1.25, 1.5, 1.75, 2]


def test_the_newest_window_is_not_skipped_however_old():
    session = new_session(ENGINE)
    session.feed(SECOND, 1.0)
    assert ends(judge_all(session, ENGINE, 500.0)) == [1.0]


def test_nothing_before_a_flush_or_stop_is_skipped():
    for end in ("flush", "stop"):
        session = new_session(ENGINE)
        for second in range(5):
            session.feed(SECOND, float(second))
        if end == "flush":
            session.flush("x")
        else:
            session.stop()
        assert ends(judge_all(session, ENGINE, 100.0)) == [1, 2, 3, 4, 5]


def test_after_a_flush_is_answered_skipping_goes_on():
    session = new_session(ENGINE)
    session.feed(SECOND, 0.0)
    session.flush("x")
    for second in range(1, 4):
        session.feed(SECOND, float(second))
    assert ends(judge_all(session, ENGINE, 100.0)) == [1, 4]


def test_after_many_skipped_windows_voice_activity_hears_on_without_a_hole():
    session = new_session(ENGINE, window_s=1.0)
    session.feed(SECOND, 1.0)
    list(judge_all(session, ENGINE, 1.0))
    for second in range(2, 12):
        session.feed(SECOND, float(second))
    skipped, window = session.poll(20.0), session.poll(20.0)
    assert (skipped.count, window.end) == (9, 11 * 16_000)
    session.feed(SECOND, 20.0)  # while the window is out, its track still far behind
    session.finish(window, ENGINE.judge(window), 20.0)
    following = session.poll(20.0)
    assert following.track.position == 11 * 16_000 // 512 * 512
    assert len(following.unheard) == following.end - following.track.position


@pytest.mark.parametrize("step", [0.02, 0.5, 3.0])
@pytest.mark.parametrize("judging_s", [0.01, 0.9, 1.5, 30.0])
def test_a_file_sent_at_once_loses_nothing_however_slowly_it_is_judged(step, judging_s):
    session, items = new_session(ENGINE), []
    data, size = int16_bytes(restless(12)), round(step * 32_000)
    for first in range(0, len(data), size):
        session.feed(data[first : first + size], 0.0)
    now = 0.0
    while (item := session.poll(now)) is not None:
        now += judging_s
        if isinstance(item, Window):
            item = session.finish(item, ENGINE.judge(item), now)
        items.append(item)
    assert ends(items) == list(range(1, 13))
    assert [item.code for item in items if isinstance(item, Warning)] == ["too_fast"]


def test_a_burst_after_a_network_stall_loses_nothing_when_judged_promptly():
    session, items = new_session(ENGINE), []
    for second in range(5):
        session.feed(SECOND, float(second))
        items += judge_all(session, ENGINE, float(second))
    session.feed(SECOND * 10, 15.0)
    assert session.live(15.0)
    items += judge_all(session, ENGINE, 15.1)
    assert ends(items) == list(range(1, 16))
    assert not [item for item in items if isinstance(item, Warning)]


def test_too_fast_is_told_once():
    session = new_session(ENGINE)
    session.feed(SECOND * 20, 0.0)
    items = list(judge_all(session, ENGINE))
    session.feed(SECOND * 20, 0.0)
    items += judge_all(session, ENGINE)
    assert [item.code for item in items if isinstance(item, Warning)] == ["too_fast"]


def test_how_far_ahead_audio_is_follows_the_clock_and_stands_still_while_held():
    session = new_session(ENGINE)
    assert session.ahead_s(100.0) == 0 and session.live(100.0)
    session.feed(SECOND * 5, 100.0)
    assert session.ahead_s(100.0) == 5 and not session.live(100.0)
    assert session.ahead_s(104.0) == 1 and session.live(104.0)
    session.held(3.0)
    assert session.ahead_s(104.0) == 4
    assert session.live(103.0 + 3 - AHEAD_TOLERANCE_S + 2)
    assert session.ahead_s(120.0) == -12


def test_a_sound_card_a_little_fast_stays_live_for_a_day():
    session = new_session(ENGINE)
    fast, day = 1.0002, 24 * 3600  # 200 ppm
    session.feed(b"", 0.0)
    session._hearing._decoder.frames = (
        round(fast * day) * 16_000
    )  # a day of audio, without hearing it
    assert session.ahead_s(day) > AHEAD_TOLERANCE_S and session.live(day)


def test_what_waits_to_be_judged_can_be_asked():
    session = new_session(ENGINE)
    assert session.unjudged_s == 0 and not session.ready
    session.feed(SECOND * 2 + bytes(16_000), 0.0)
    assert session.unjudged_s == 2.5 and session.ready and session.audio_s == 2.5
    list(judge_all(session, ENGINE))
    assert session.unjudged_s == 0.5 and not session.ready


def test_latency_counts_from_the_last_sample_of_the_window():
    session = new_session(ENGINE)
    session.feed(bytes(31_998), 10.0)
    session.feed(bytes(2), 11.0)
    session.feed(bytes(2), 12.0)
    [event] = judge_all(session, ENGINE, 12.5)
    assert event.latency_ms == 1_500


def test_latency_counts_from_the_arrival_also_where_the_resampler_holds_back():
    session = new_session(ENGINE, encoding="mulaw", sample_rate=8_000)
    session.feed(bytes(8_000), 10.0)
    session.feed(bytes(2_000), 10.5)
    [event] = judge_all(session, ENGINE, 10.6)
    assert event.latency_ms == 600


# --- bounded ---


def traced(fields, feed):
    """Bytes that a session holds after half an hour, at most over the time."""
    session = new_session(ENGINE, **fields)
    feed(session, 0)  # what is made once
    tracemalloc.start()
    try:
        before, most = tracemalloc.get_traced_memory()[0], 0
        for second in range(1, 1_800):
            feed(session, second)
            most = max(most, tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    return most


@pytest.mark.parametrize("vad", [True, False])
def test_half_an_hour_of_silence_is_held_in_less_than_256_kib(vad):
    def feed(session, second):
        session.feed(bytes(8_000), float(second))
        for _ in judge_all(session, ENGINE, float(second)):
            pass

    fields = {"encoding": "mulaw", "sample_rate": 8_000, "vad": vad, "hop_s": 3.0}
    assert traced(fields, feed) < 256 * 1_024


def test_a_driver_that_judges_every_sixth_second_does_not_make_it_grow():
    def feed(session, second):
        session.feed(bytes(8_000), float(second))
        if second % 6 == 0:
            for _ in judge_all(session, ENGINE, float(second)):
                pass

    assert traced({"encoding": "mulaw", "sample_rate": 8_000, "hop_s": 3.0}, feed) < 384 * 1_024


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


def test_adapting_with_a_model_that_cannot_is_unsupported():
    with pytest.raises(MessageError, match="cannot adapt") as caught:
        new_session(fake_engine(adaptable=False), adapt=True)
    assert caught.value.code == "unsupported"


def test_a_window_longer_than_the_model_takes_is_unsupported():
    short = fake_engine(max_samples=48_000)
    new_session(short, window_s=3.0)
    with pytest.raises(MessageError, match=r"window_s is 3\.5: expected at most 3 ") as caught:
        new_session(short, window_s=3.5)
    assert caught.value.code == "unsupported"


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
    events = events_of(heard(engine, [int16_bytes(samples)]))
    pcm = np.frombuffer(int16_bytes(samples), "<i2").astype(np.float32) / 32_768
    for event in events:
        start, end = round(event.start_s * 16_000), round(event.end_s * 16_000)
        expected, _ = engine.run(pcm[start:end])
        assert list(event.probabilities.values()) == pytest.approx(expected, abs=1e-6)
        assert event.adapted_s == 0


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


# --- gaps and resumption ---


def test_a_gap_is_silence_of_its_length():
    first, rest = int16_bytes(restless(2.3, 8000)), int16_bytes(restless(3.1, 8000, seed=1))
    with_gap = new_session(ENGINE, sample_rate=8000)
    with_gap.feed(first, 0.0)
    with_gap.gap(6000, 0.0)
    with_gap.feed(rest, 0.0)
    with_gap.stop()
    silent = heard(ENGINE, [first + bytes(12_000) + rest], sample_rate=8000)
    assert plain(events_of(judge_all(with_gap, ENGINE))) == plain(events_of(silent))


def test_a_gap_forgets_half_a_sample():
    session = new_session(ENGINE)
    session.feed(b"\1", 0.0)
    session.gap(16_000, 0.0)
    session.feed(b"\0\1" * 8, 0.0)
    assert session.started().received_samples == 16_008


def test_a_gap_longer_than_a_minute_is_refused_and_changes_nothing():
    session = new_session(ENGINE, sample_rate=8000)
    with pytest.raises(MessageError, match="at most 480000"):
        session.gap(480_001, 0.0)
    assert session.audio_s == 0


def test_no_gap_comes_after_stop():
    session = new_session(ENGINE)
    session.stop()
    with pytest.raises(MessageError, match="after stop"):
        session.gap(1, 0.0)


def test_who_resumes_goes_on_with_a_whole_sample():
    data = int16_bytes(restless(4.0))
    session = new_session(ENGINE)
    session.feed(data[:40_001], 0.0)
    session.resume()
    assert session.started(resumed=True).received_samples == 20_000
    session.feed(data[40_000:], 0.0)
    session.stop()
    assert plain(events_of(judge_all(session, ENGINE))) == plain(events_of(heard(ENGINE, [data])))
