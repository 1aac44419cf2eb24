"""Synthetic calls, heard by the real voice activity."""

import numpy as np
import onnxruntime
import pytest

from clients.synthetic import conversation, pauses
from emotion.audio import resample, to_pcm
from emotion.vad import MIN_SPEECH_RATIO, VoiceActivity, VoiceTrack, voice_path


@pytest.fixture(scope="module")
def voice() -> VoiceActivity:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return VoiceActivity(onnxruntime.InferenceSession(str(voice_path()), options))


def inferred(voice: VoiceActivity, samples: np.ndarray, window_s: float, hop_s: float) -> float:
    """The share of windows with enough speech, where the call goes round and round."""
    rate = 16_000
    before = round(window_s * rate)
    pcm = to_pcm(np.concatenate([samples[-before:], samples]))
    track, windows = VoiceTrack.begin(), []
    for end in range(rate, len(pcm), round(hop_s * rate)):
        track = voice.listen(track, pcm[track.position : end])
        if end > before:
            windows.append(track.speech_ratio(end - before, end) >= MIN_SPEECH_RATIO)
    return float(np.mean(windows))


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_about_the_asked_share_of_windows_holds_speech(voice: VoiceActivity, share: float) -> None:
    assert inferred(voice, conversation(60, share), 3.0, 1.0) == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize(("rate", "window_s", "hop_s"), [(8_000, 2.0, 0.5)])
def test_on_a_telephone_and_with_other_windows_too(
    voice: VoiceActivity, rate: int, window_s: float, hop_s: float
) -> None:
    samples = resample(conversation(60, 0.5, rate, window_s), rate)
    assert inferred(voice, samples, window_s, hop_s) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 3.3])
def test_a_call_is_as_long_as_asked_and_within_full_scale(seconds: float) -> None:
    for share in (0.0, 0.3, 1.0):
        samples = conversation(seconds, share)
        assert samples.shape == (round(seconds * 16_000),) and samples.dtype == np.float32
        assert np.abs(samples).max(initial=0) <= 1


def test_who_always_speaks_does_not_pause() -> None:
    assert pauses(4.0, 1.0) == 0
