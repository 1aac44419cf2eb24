"""One stream: what it answers to a flush, to stop and to a gap."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion.engine import Window
from emotion.errors import MessageError
from emotion.messages import Flushed, Summary, Warning
from emotion.session import MAX_FLUSHES
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
)

ENGINE = fake_engine()

hops = st.sampled_from([0.25, 0.3, 0.5, 0.7, 1.0, 1.1])

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
    data = int16_bytes(restless(4.6, rate, 2, seed))
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
