"""Frames of one or two tracks, in and out of order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion.errors import MessageError
from emotion.messages import Gap
from stream_server.dialect import Audio
from stream_server.telephony import tracks
from stream_server.telephony.tracks import ALIGN, MAX_FRAME, MAX_HELD_FRAMES, RATE, REORDER, Tracks
from tests.stream_server.telephony.calls import sound

SILENCE = 0xFF
Frame = tuple[int, int, int, bytes]  # track, number, ms, data


def frames(count: int, samples: int = 160, track: int = 0, first: int = 1) -> list[Frame]:
    """Frames of different sound, one after the other."""
    ms = samples * 1000 // RATE
    return [
        (track, first + i, i * ms, bytes([1 + (7 * i + 50 * track) % 200]) * samples)
        for i in range(count)
    ]


def together(*tracks: list[Frame]) -> list[Frame]:
    """Frames in the order of their times."""
    return sorted((frame for track in tracks for frame in track), key=lambda frame: frame[2])


def left(heard: list[Frame], count: int = 1) -> list[Any]:
    """All that leaves after these frames."""
    joined = Tracks(count, SILENCE)
    orders = [order for frame in heard for order in joined.hear(*frame)]
    return orders + joined.finish()


def plain(some: list[Frame]) -> bytes:
    """The frames' own bytes."""
    return b"".join(frame[3] for frame in some)


def test_without_frames_nothing_leaves() -> None:
    assert left([]) == []


def test_a_frame_in_order_leaves_at_once() -> None:
    joined = Tracks(1, SILENCE)
    for frame in frames(5):
        assert joined.hear(*frame) == [Audio(frame[3])]


def test_an_empty_frame_is_passed_over() -> None:
    assert left([(0, 1, 0, b""), (0, 2, 0, b"a")]) == [Audio(b"a")]


@pytest.mark.parametrize("samples", [1, 7, 80, 160, 240, 333, MAX_FRAME])
def test_frames_may_have_any_length(samples: int) -> None:
    some = frames(20, samples)
    assert sound(left(some)) == plain(some)


def test_two_frames_that_changed_places_are_put_right() -> None:
    some = frames(4)
    assert sound(left([some[0], some[2], some[1], some[3]])) == plain(some)


def test_the_very_first_frame_may_come_late() -> None:
    some = frames(4)
    assert sound(left([some[1], some[0], *some[2:]])) == plain(some)


def test_what_comes_twice_is_heard_once() -> None:
    some = frames(4)
    assert sound(left([frame for frame in some for _ in range(3)])) == plain(some)


def test_numbers_may_count_over_both_tracks() -> None:
    some = [(0, 2 * i + 2, i * 20, bytes([i]) * 160) for i in range(50)]
    joined = Tracks(1, SILENCE)
    orders = [order for frame in some for order in joined.hear(*frame)]
    assert sound(orders) == plain(some)


def test_a_lost_frame_leaves_a_gap_of_its_length() -> None:
    some = frames(40)
    assert left(some[:10] + some[13:]).count(Gap(samples=480)) == 1
    silent = plain(some[:10]) + bytes([SILENCE]) * 480 + plain(some[13:])
    assert sound(left(some[:10] + some[13:])) == silent


def test_a_lost_frame_is_waited_for_a_bounded_time() -> None:
    joined = Tracks(1, SILENCE)
    some = frames(40)
    joined.hear(*some[0])
    waited = 0
    for frame in some[2:]:
        waited += len(frame[3])
        if joined.hear(*frame):
            break
    assert REORDER < waited <= REORDER + 2 * 160


def test_a_frame_that_comes_after_its_gap_is_dropped() -> None:
    some = frames(40)
    late = [*some[:5], *some[6:30], some[5], *some[30:]]
    assert sound(left(late)) == plain(some[:5]) + bytes([SILENCE]) * 160 + plain(some[6:])


def test_times_that_jitter_by_a_rounding_leave_no_holes() -> None:
    some = [(0, i + 1, i * 25 // 2, bytes([i]) * 100) for i in range(100)]
    assert sound(left(some)) == plain(some)


def test_a_pause_without_frames_is_a_gap_even_where_the_numbers_go_on() -> None:
    some = [(0, 1, 0, b"a" * 160), (0, 2, 1020, b"b" * 160)]
    assert left(some) == [Audio(b"a" * 160), Gap(samples=8000), Audio(b"b" * 160)]


def test_after_a_pause_the_next_number_is_not_waited_for() -> None:
    joined = Tracks(1, SILENCE)
    joined.hear(0, 1, 0, b"a" * 160)
    assert joined.hear(0, 2, 1020, b"b" * 160) == [Gap(samples=8000), Audio(b"b" * 160)]


def test_a_long_pause_comes_in_gaps_that_a_session_takes() -> None:
    some = [(0, 1, 0, b"a" * 160), (0, 2, 150_020, b"b" * 160)]
    assert [order.samples for order in left(some) if isinstance(order, Gap)] == [
        480_000,
        480_000,
        240_000,
    ]


def test_a_stream_that_starts_late_is_silent_before() -> None:
    assert left([(0, 1, 1000, b"a")])[0] == Gap(samples=8000)


def test_times_that_count_from_something_else_start_with_the_first_frame() -> None:
    assert left([(0, 1, 1_700_000_000_000, b"a")]) == [Audio(b"a")]


def test_a_time_far_ahead_is_refused_and_the_stream_goes_on() -> None:
    joined = Tracks(1, SILENCE)
    assert joined.hear(0, 1, 0, b"a")
    with pytest.raises(MessageError, match="timestamp"):
        joined.hear(0, 2, 3_700_000, b"b")
    assert joined.hear(0, 2, 0, b"c") == [Audio(b"c")]


def test_an_overlong_frame_is_refused() -> None:
    with pytest.raises(MessageError, match="payload"):
        Tracks(1, SILENCE).hear(0, 1, 0, b"a" * (MAX_FRAME + 1))


# --- two tracks ---


def beside(a: bytes, b: bytes) -> bytes:
    """Interleaved; the shorter one is silent at its end."""
    longest = max(len(a), len(b))
    columns = [side.ljust(longest, bytes([SILENCE])) for side in (a, b)]
    return bytes(byte for pair in zip(*columns, strict=True) for byte in pair)


def test_two_tracks_leave_side_by_side() -> None:
    a, b = frames(30), frames(30, track=1)
    assert sound(left(together(a, b), 2)) == beside(plain(a), plain(b))


def test_two_tracks_may_come_in_bursts_and_frames_of_other_lengths() -> None:
    a, b = frames(24), frames(16, 240, track=1)
    bursts = a[:10] + b[:6] + a[10:] + b[6:]
    assert sound(left(bursts, 2)) == beside(plain(a), plain(b))


def test_a_track_that_never_comes_is_silent_and_delays_by_a_bounded_time() -> None:
    joined = Tracks(2, SILENCE)
    some = frames(100)
    orders = [order for frame in some for order in joined.hear(*frame)]
    assert len(sound(orders, 2)) == 2 * (100 * 160 - ALIGN - 160)
    assert sound(orders + joined.finish(), 2) == beside(plain(some), b"")


def test_a_track_that_joins_later_is_where_its_times_say() -> None:
    a, b = frames(100), frames(100, track=1)[60:]
    late = [(1, i + 1, ms, data) for i, (_, _, ms, data) in enumerate(b)]
    expected = beside(plain(a), bytes([SILENCE]) * 60 * 160 + plain(b))
    assert sound(left(together(a, late), 2)) == expected


def test_a_hole_in_one_track_is_silence_beside_the_other() -> None:
    a, b = frames(60), frames(60, track=1)
    there = b[:20] + b[25:]
    expected = plain(b[:20]) + bytes([SILENCE]) * 800 + plain(b[25:])
    orders = left(together(a, there), 2)
    assert sound(orders) == beside(plain(a), expected)
    assert not any(isinstance(order, Gap) for order in orders)


def test_a_hole_in_both_tracks_is_a_gap() -> None:
    a, b = frames(60), frames(60, track=1)
    orders = left(together(a[:20] + a[25:], b[:20] + b[25:]), 2)
    assert [order for order in orders if isinstance(order, Gap)] == [Gap(samples=800)]
    assert sum(len(order.data) for order in orders if isinstance(order, Audio)) == 2 * 55 * 160


def test_a_track_too_far_behind_is_dropped_up_to_where_the_stream_is() -> None:
    a, b = frames(100), frames(100, track=1)
    heard = sound(left(a + b, 2), 2)
    assert heard[0::2] == plain(a)
    silent = 100 * 160 - ALIGN - 160
    assert heard[1::2] == bytes([SILENCE]) * silent + plain(b)[silent:]


# --- in general ---

NEAR = REORDER // 160 - 1  # places that a frame of 20 ms may be off


@st.composite
def shuffled(draw: st.DrawFn, count: int = 60) -> list[int]:
    """Places of frames, each a few off, some of them several times."""
    off = draw(st.lists(st.integers(0, NEAR), min_size=count, max_size=count))
    places = sorted(range(count), key=lambda i: (i + off[i], i))
    again = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count)), max_size=20))
    for place, where in again:
        if places.index(place) < where:  # a copy comes after, however late
            places.insert(where, place)
    return places


@given(places=shuffled())
def test_any_order_within_the_window_and_any_copies_give_the_same_audio(places: list[int]) -> None:
    some = frames(60)
    assert sound(left([some[i] for i in places])) == plain(some)


@given(a=shuffled(), b=shuffled(), lost=st.sets(st.integers(0, 59), max_size=3))
def test_so_they_do_on_two_tracks_and_a_lost_frame_is_silent(
    a: list[int], b: list[int], lost: set[int]
) -> None:
    one, other = frames(60), frames(60, track=1)
    heard = [one[i] for i in a]
    for place, i in enumerate(b):
        if i not in lost:
            heard.insert(min(2 * place, len(heard)), other[i])
    silent = b"".join(bytes([SILENCE]) * 160 if i in lost else other[i][3] for i in range(60))
    assert sound(left(heard, 2), 2) == beside(plain(one), silent.rstrip(bytes([SILENCE])))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(0, 300) | st.integers(0, 10**15),
            st.integers(0, 10_000) | st.integers(0, 10**15),
            st.binary(max_size=400),
        ),
        max_size=80,
    )
)
def test_whatever_comes_memory_is_bounded_and_nothing_but_a_message_error_is_raised(
    heard: list[Frame],
) -> None:
    joined = Tracks(2, SILENCE)
    for frame in heard:
        try:
            joined.hear(*frame)
        except MessageError:
            pass
        assert joined.held <= 2 * (REORDER + ALIGN + 3 * 400)
    joined.finish()
    assert joined.held == 0


@pytest.mark.parametrize("step", [-1, 2, 10**6], ids=["backwards", "holes", "leaps"])
@pytest.mark.parametrize("samples", [1, 160, 4000])
def test_a_hostile_sender_does_not_fill_the_memory(step: int, samples: int) -> None:
    joined = Tracks(2, SILENCE)
    data = bytes(samples)
    number, most = 10**14, 0
    for i in range(20_000):
        number += step
        joined.hear(i & 1, number, (i * 37) % 9000, data)
        if i % 100 == 0:
            most = max(most, joined.held)
    assert most <= 2 * (REORDER + ALIGN + 3 * samples)
    for track in joined._tracks:
        assert len(track._waiting) == len(track._numbers) <= MAX_HELD_FRAMES + 1
        assert len(track._spans) <= ALIGN // tracks.SLIP + 2
