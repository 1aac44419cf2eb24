"""Short frames are heard together, and no window waits for that."""

import numpy as np
import pytest

from emotion import hearing
from emotion.errors import AudioError
from emotion.hearing import Hearing
from emotion.parsing import start_from
from tests.fakes import fake_engine, int16_bytes, new_session, restless

ENGINE = fake_engine()
FRAME_S = 0.02
RATES = [8_000, 16_000, 44_100]


def frames_of(seconds: float, rate: int) -> list[bytes]:
    data, size = int16_bytes(restless(seconds, rate)), 2 * round(FRAME_S * rate)
    return [data[first : first + size] for first in range(0, len(data), size)]


def ready_at(rate: int) -> list[int]:
    """The frames after which each window of a session may be judged."""
    session = new_session(ENGINE, sample_rate=rate, hop_s=0.25)
    numbers = []
    for number, frame in enumerate(frames_of(4.0, rate)):
        session.feed(frame, FRAME_S * number)
        while session.ready:
            window = session.poll(FRAME_S * number)
            numbers.append((number, round(FRAME_S * number - window.received_at, 6)))
            session.finish(window, ENGINE.judge(window), FRAME_S * number)
    return numbers


@pytest.mark.parametrize("rate", RATES)
def test_windows_are_ready_with_the_same_frame_as_if_nothing_were_kept(rate, monkeypatch):
    kept_together = ready_at(rate)
    assert len(kept_together) >= 12
    monkeypatch.setattr(hearing, "PORTION_S", 0.0)
    assert kept_together == ready_at(rate)


def test_frames_of_20_ms_are_decoded_five_at_a_time():
    ear = Hearing(start_from())
    assert [ear.keep(bytes(640)) for _ in range(5)] == [False] * 4 + [True]
    assert (ear.frames, ear.available) == (1_600, 0)
    assert ear.take().shape == (1_600, 1)
    assert (ear.frames, ear.available) == (1_600, 1_600)
    assert not ear.keep(bytes(640))


def test_what_is_kept_counts_as_received():
    session = new_session(ENGINE)
    session.feed(bytes(640), 0.0)
    assert session.audio_s == 0.02
    assert session.started().received_samples == 320


def test_a_gap_comes_behind_what_was_kept():
    ear = Hearing(start_from())
    ear.keep(np.full(10, 77, "<i2").tobytes() + b"\1")
    pcm = ear.gap(5)[:, 0]
    assert pcm.tolist() == [77] * 10 + [0] * 5
    assert (ear.frames, ear.rest) == (15, 0)


def test_float_samples_are_refused_with_the_frame_that_brings_them():
    session = new_session(ENGINE, encoding="pcm_f32le")
    session.feed(np.zeros(10, "<f4").tobytes(), 0.0)
    with pytest.raises(AudioError, match="sample 10 is nan"):
        session.feed(np.full(1, np.nan, "<f4").tobytes(), 0.0)
    assert session.audio_s == 10 / 16_000
