"""What is sent next, whatever came before: gaps, repetitions, a session that was forgotten."""

import msgspec
import pytest

from clients.backlog import Backlog
from clients.backoff import FIRST_S, LONGEST_S, Backoff
from clients.course import BACKLOG_S, FRAME_S, MAX_UNJUDGED_S, Course
from emotion.messages import Error, Gap, Start, Started, Stop
from tests.fakes import silence, started, summary_of

RATE = 8_000
SECOND = RATE * 2


def course(live: bool = True, **fields: object) -> Course:
    return Course(msgspec.structs.replace(Start(sample_rate=RATE), **fields), live=live)


def sent(course: Course) -> list[bytes | Gap | Stop]:
    """All that goes out by itself."""
    items = []
    while (item := course.next()) is not None:
        items.append(item)
        course.sent(item)
    return items


def forgotten(course: Course) -> str | None:
    """What is said where the server does not have the session any more."""
    course.forget()
    assert course.greeting().resume is None
    return course.begin(started())


def resumed(samples: int) -> Started:
    return started(resumed=True, received_samples=samples)


def test_a_backlog_keeps_the_newest_whole_samples() -> None:
    backlog = Backlog(capacity=10, frame=4, step=4)
    for _ in range(7):
        backlog.append(b"abc")
    assert (backlog.first, backlog.end) == (12, 21)
    assert backlog.read(12, 5) == b"abcab"
    backlog.forget(19)
    assert backlog.first == 16
    backlog.forget(1000)
    assert (backlog.first, backlog.read(20, 9)) == (20, b"c")


def test_what_falls_out_of_a_backlog_falls_in_steps() -> None:
    backlog = Backlog(capacity=100, frame=2, step=20)
    backlog.append(bytes(102))
    assert backlog.first == 20


def test_waits_double_up_to_the_longest_and_begin_again() -> None:
    backoff = Backoff(chance=lambda: 1.0)
    waits = [backoff.wait_s() for _ in range(8)]
    assert waits == [FIRST_S * 2**n for n in range(6)] + [LONGEST_S] * 2
    backoff.reset()
    assert backoff.wait_s() == FIRST_S


def test_a_wait_is_any_part_of_the_longest_one() -> None:
    assert all(0 <= Backoff().wait_s() <= FIRST_S for _ in range(100))


def test_audio_goes_out_once_in_bounded_frames_and_then_stop() -> None:
    stream = course()
    stream.record(bytes(3 * SECOND - 2))
    frame = round(FRAME_S * SECOND)
    assert [len(item) for item in sent(stream) if isinstance(item, bytes)] == [
        frame,
        frame,
        frame - 2,
    ]
    stream.record(b"ab")
    stream.stopped = True
    assert sent(stream) == [b"ab", Stop()]


def test_a_resumed_session_gets_what_it_has_not_heard() -> None:
    stream = course()
    stream.begin(started())
    stream.record(bytes(SECOND) + b"abcd")
    sent(stream)
    said = stream.begin(resumed(RATE))
    assert said is not None and "nothing is lost" in said
    assert sent(stream) == [b"abcd"]


def test_a_sample_that_was_split_by_the_break_is_sent_whole() -> None:
    stream = course()
    stream.begin(started())
    stream.record(b"abc")
    sent(stream)
    stream.record(b"d")
    stream.begin(resumed(1))
    assert sent(stream) == [b"cd"]


def test_what_fell_out_of_the_backlog_is_declared() -> None:
    stream = course()
    stream.begin(started())
    stream.record(bytes(3))
    sent(stream)
    stream.record(b"x")
    for _ in range(200):
        stream.record(bytes(SECOND))
    said = stream.begin(resumed(1))
    assert said is not None and "140.0 s of audio are lost" not in said and "lost" in said
    items = sent(stream)
    gaps = [item.samples for item in items if isinstance(item, Gap)]
    audio = sum(len(item) for item in items if isinstance(item, bytes))
    assert max(gaps) == 60 * RATE and len(gaps) == 3
    assert 1 + sum(gaps) + audio // 2 == 2 + 200 * RATE
    assert BACKLOG_S - 1 <= audio / SECOND <= BACKLOG_S


def test_what_is_judged_is_not_kept() -> None:
    stream = course()
    stream.begin(started())
    stream.record(bytes(10 * SECOND))
    sent(stream)
    stream.hear(silence(1, 7.0))
    assert forgotten(stream) == "a new session: its times count from 7.0 s"
    assert sum(len(item) for item in sent(stream) if isinstance(item, bytes)) == 3 * SECOND


def test_a_forgotten_session_is_not_asked_for_again_and_times_add_up() -> None:
    stream = course()
    stream.begin(started())
    stream.record(bytes(10 * SECOND))
    sent(stream)
    stream.hear(silence(3, 4.0))
    resume = stream.greeting().resume
    assert resume is not None and (resume.session_id, resume.last_seq) == ("s", 3)
    assert forgotten(stream) == "a new session: its times count from 4.0 s"
    assert stream.greeting().resume is not None
    sent(stream)
    stream.hear(silence(1, 2.0))
    assert forgotten(stream) == "a new session: its times count from 6.0 s"


def test_a_server_that_cannot_resume_has_begun_another_session() -> None:
    stream = course()
    stream.begin(started())
    stream.record(bytes(4 * SECOND))
    sent(stream)
    stream.hear(silence(1, 1.0))
    said = stream.begin(started(session_id="other"))
    assert said is not None and "count from 1.0 s" in said
    assert sum(len(item) for item in sent(stream) if isinstance(item, bytes)) == 3 * SECOND


def test_a_session_that_never_began_loses_nothing() -> None:
    stream = course()
    stream.greeting()
    stream.record(b"abcd")
    stream.stopped = True
    assert sent(stream) == [b"abcd", Stop()]
    assert stream.greeting() == Start(sample_rate=RATE)
    assert stream.begin(started()) is None
    assert sent(stream) == [b"abcd", Stop()]


def test_an_event_that_comes_again_is_no_news() -> None:
    stream = course()
    assert [stream.hear(silence(seq, 1.0)) for seq in (1, 2, 1, 2, 3)] == [
        True,
        True,
        False,
        False,
        True,
    ]


def test_stop_is_said_again_and_the_answer_that_it_came_twice_is_no_news() -> None:
    stream = course()
    error = Error(code="bad_message", message="a message after stop", fatal=False)
    assert stream.hear(error)
    stream.begin(started())
    stream.stopped = True
    assert sent(stream) == [Stop()]
    stream.begin(resumed(0))
    assert sent(stream) == [Stop()]
    assert not stream.hear(error)


def test_a_stream_that_can_wait_never_sends_more_than_it_keeps() -> None:
    stream = course(live=False)
    for n in range(100):
        stream.record(bytes(SECOND))
        sent(stream)
        if n >= MAX_UNJUDGED_S:
            break
    assert stream.sent_s == MAX_UNJUDGED_S
    stream.hear(silence(1, 10.0))
    sent(stream)
    assert stream.sent_s == MAX_UNJUDGED_S + 1


@pytest.mark.parametrize("samples", [2, 10**12])
def test_a_server_that_claims_to_have_heard_more_than_was_said_is_not_believed(
    samples: int,
) -> None:
    stream = course()
    stream.begin(started())
    stream.record(b"ab")
    sent(stream)
    stream.begin(resumed(samples))
    stream.hear(summary_of(audio_s=1e6))
    stream.record(b"cd")
    assert sent(stream) == [b"cd"]
