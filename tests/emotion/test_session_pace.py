"""One stream: live or faster than the clock, judged in time or not, and held in bounded memory."""

import tracemalloc

import pytest

from emotion.engine import Window
from emotion.messages import Warning
from emotion.session import AHEAD_TOLERANCE_S, MAX_WAIT_S
from tests.fakes import (
    SECOND,
    ends,
    events_of,
    fake_engine,
    int16_bytes,
    judge_all,
    new_session,
    restless,
)

ENGINE = fake_engine()

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
    seconds = round(fast * day)  # of audio, without hearing it
    session._hearing._decoder.frames = seconds * 16_000
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
