"""The windows of a recording are those that the server would have cut."""

import numpy as np
import pytest

from emotion.audio import from_pcm, to_pcm
from emotion.engine import load_voice
from emotion.vad import VoiceActivity
from tests.speech import speech_like
from train.windows import speech_s, windows

RATE = 16_000


@pytest.fixture(scope="module")
def voice() -> VoiceActivity:
    return load_voice()


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """A second of silence, two of speech, 1.7 of silence."""
    quiet = np.zeros(RATE, np.float32)
    return np.concatenate([quiet, speech_like(2.0), quiet, quiet[: round(0.7 * RATE)]])


def test_windows_end_every_second_and_once_more_where_half_a_second_is_left(
    voice: VoiceActivity, clip: np.ndarray
) -> None:
    cut = [(w.start / RATE, w.end / RATE) for w in windows(clip, voice)]
    assert cut == [(0, 1), (0, 2), (0, 3), (1, 4), (pytest.approx(1.7), pytest.approx(4.7))]
    without_rest = [w.end / RATE for w in windows(clip[: round(4.4 * RATE)], voice)]
    assert without_rest == [1, 2, 3, 4]


def test_a_window_holds_the_samples_that_a_call_would_carry(
    voice: VoiceActivity, clip: np.ndarray
) -> None:
    carried = from_pcm(to_pcm(clip))
    for window in windows(clip, voice):
        assert np.array_equal(window.waveform, carried[window.start : window.end])


def test_the_share_of_speech_is_that_of_the_window(voice: VoiceActivity, clip: np.ndarray) -> None:
    ratios = [window.speech_ratio for window in windows(clip, voice)]
    assert ratios[0] == 0  # silence, which no model judges
    assert 0.5 < ratios[2] < 0.75 and 0.5 < ratios[3] < 0.8
    assert ratios[4] < ratios[3]


def test_a_recordings_speech_is_counted_in_seconds(voice: VoiceActivity, clip: np.ndarray) -> None:
    assert speech_s(clip, voice) == pytest.approx(2.0, abs=0.25)
    assert speech_s(np.zeros(RATE, np.float32), voice) == 0


def test_no_speech_is_forgotten_of_a_long_recording(voice: VoiceActivity, clip: np.ndarray) -> None:
    assert speech_s(np.tile(clip, 6), voice) == pytest.approx(6 * speech_s(clip, voice), rel=0.1)


def test_what_is_shorter_than_the_shortest_window_has_none(voice: VoiceActivity) -> None:
    assert windows(speech_like(0.4), voice) == []
