"""Voice activity, with Silero's real model."""

from itertools import pairwise

import numpy as np
import onnxruntime
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from emotion.audio import resample, to_pcm
from emotion.vad import FRAME, MEMORY_FRAMES, VoiceActivity, VoiceTrack, voice_path
from tests.speech import speech_like


@pytest.fixture(scope="module")
def voice():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return VoiceActivity(onnxruntime.InferenceSession(str(voice_path()), options))


def ratio(voice, samples):
    return voice.listen(VoiceTrack.begin(), to_pcm(samples)).speech.mean()


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_syllables_are_speech_at_every_rate(voice, rate, seed):
    assert ratio(voice, resample(speech_like(6, rate, seed), rate)) > 0.7


def test_a_recorded_voice_is_speech(voice, recordings):
    samples, rate = soundfile.read(
        min((recordings / "ravdess48k-sample").glob("*.wav")), dtype="float32", always_2d=True
    )
    assert ratio(voice, resample(samples[:, 0], rate)) > 0.2


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(48_000),
        np.random.default_rng(0).normal(0, 0.003, 48_000),
        np.random.default_rng(0).uniform(-0.5, 0.5, 48_000),
        0.3 * np.sin(np.arange(48_000) * 2 * np.pi * 440 / 16_000),
        np.full(48_000, 0.9),
    ],
    ids=["silence", "hush", "white noise", "tone", "offset"],
)
def test_what_is_no_voice_is_no_speech(voice, sound):
    assert ratio(voice, sound.astype(np.float32)) < 0.1


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 40), max_size=10))
def test_what_is_heard_does_not_depend_on_how_it_is_cut(voice, cuts):
    pcm = to_pcm(speech_like(41 * FRAME / 16_000))
    whole = voice.listen(VoiceTrack.begin(), pcm)
    track = VoiceTrack.begin()
    for position in [*sorted(cut * FRAME + cut for cut in cuts), len(pcm)]:
        track = voice.listen(track, pcm[track.position : position])
    assert track.position == whole.position
    assert np.array_equal(track.speech, whole.speech)
    assert np.array_equal(track.state, whole.state)
    assert np.array_equal(track.context, whole.context)


@pytest.mark.parametrize("length", [0, 1, FRAME - 1])
def test_less_than_a_frame_waits(voice, length):
    track = voice.listen(VoiceTrack.begin(), np.zeros(length, np.int16))
    assert track.position == 0 and len(track.speech) == 0


def test_listening_leaves_the_earlier_track_as_it_was(voice):
    pcm = to_pcm(speech_like(2))
    first = voice.listen(VoiceTrack.begin(), pcm[:16_000])
    state, context, speech = first.state.copy(), first.context.copy(), first.speech.copy()
    voice.listen(first, pcm[first.position :])
    assert np.array_equal(first.state, state)
    assert np.array_equal(first.context, context)
    assert np.array_equal(first.speech, speech)


def test_a_track_remembers_no_more_than_the_longest_window(voice):
    track = voice.listen(VoiceTrack.begin(), np.zeros(12 * 16_000, np.int16))
    assert len(track.speech) == MEMORY_FRAMES
    assert MEMORY_FRAMES * FRAME >= 10 * 16_000
    assert track.context.base is None  # a view would keep the whole waveform


def track_of(*speech):
    begun = VoiceTrack.begin()
    frames = np.array(speech, bool)
    return VoiceTrack(len(frames) * FRAME, begun.state, begun.context, frames)


def test_frames_belong_to_the_window_that_holds_their_centres():
    track = track_of(1, 0, 1, 1)
    assert track.frames(0, 4 * FRAME).tolist() == [1, 0, 1, 1]
    assert track.frames(FRAME // 2, FRAME // 2 + 1).tolist() == [1]
    assert track.frames(FRAME // 2 + 1, 3 * FRAME).tolist() == [0, 1]
    assert track.speech_ratio(0, 4 * FRAME) == 0.75
    assert track.speech_s(FRAME, 10 * FRAME) == pytest.approx(2 * 0.032)


def test_neighbouring_windows_share_no_frame_and_lose_none():
    track = track_of(*np.ones(50))
    edges = [0, 100, 5_000, 5_001, 12_345, 50 * FRAME]
    assert sum(track.speech_s(a, b) for a, b in pairwise(edges)) == (pytest.approx(50 * 0.032))


def test_what_was_not_heard_is_no_speech():
    assert track_of().speech_ratio(0, 16_000) == 0
    assert track_of(1, 1).speech_ratio(16_000, 32_000) == 0
