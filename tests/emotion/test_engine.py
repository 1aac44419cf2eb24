"""The engine over real ONNX files."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from emotion.adapt import Statistics
from emotion.contract import pack
from emotion.engine import Window, load_engine
from emotion.errors import (
    AudioError,
    ContractError,
    DeviceError,
    EmotionError,
    ModelError,
    ModelNotFoundError,
)
from emotion.vad import VoiceTrack
from tests.fakes import MEAN, STD, FakeMonitor, fake_engine, restless, write_model
from tests.speech import speech_like

onnx = pytest.importorskip("onnx", reason="onnx builds the small models")


def window_of(samples, start=0, **changes):
    pcm = np.rint(samples * 32_767).astype(np.int16)
    window = Window(
        channel="mono",
        start=start,
        end=start + len(pcm),
        pcm=pcm,
        extra=False,
        received_at=0.0,
        track=None,
        unheard=pcm[:0],
        baseline=None,
        counted=0,
    )
    return replace(window, **changes)


# --- loading ---


@pytest.mark.parametrize("make", [lambda p: p / "nothing", lambda p: p])
def test_a_missing_folder_or_file_is_named_with_the_way_out(tmp_path, make):
    with pytest.raises(ModelNotFoundError, match=r"monitor\.onnx: no such file; expected a folder"):
        load_engine(make(tmp_path))


def test_a_file_in_place_of_a_folder_is_refused(model_folder):
    with pytest.raises(ModelNotFoundError, match="expected a folder"):
        load_engine(model_folder / "monitor.onnx")


@pytest.mark.parametrize("name", ["monitor.onnx", "classifier.onnx"])
@pytest.mark.parametrize("kept", [0, 1, 100, -20])
def test_a_truncated_file_is_named(tmp_path, name, kept):
    folder = write_model(tmp_path)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:kept])
    with pytest.raises(ModelError, match=name) as caught:
        load_engine(folder)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_contract_is_refused(tmp_path):
    folder = write_model(tmp_path)
    model = onnx.load(folder / "monitor.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "monitor.onnx")
    with pytest.raises(ContractError, match=r"monitor\.onnx: contract field 'contract_version'"):
        load_engine(folder)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"monitor": {"emotion.graph": '"encoder"'}}, "graph"),
        ({"monitor": {"emotion.labels": '["a"]'}}, "labels"),
        ({"monitor": {"emotion.prior_s": None}}, "prior_s"),
        ({"classifier": {"emotion.graph": '"monitor"'}}, "graph"),
        ({"classifier": {"emotion.version": '"2"'}}, "version"),
        ({"classifier": {"emotion.name": '"other"'}}, "name"),
        ({"classifier": {"emotion.embedding_mean": f'"{pack(MEAN + 1)}"'}}, "embedding_mean"),
        ({"classifier": {"emotion.embedding_std": f'"{pack(STD * 2)}"'}}, "embedding_std"),
    ],
)
def test_a_contract_that_does_not_fit_names_file_and_field(tmp_path, metadata, field):
    folder = write_model(tmp_path, metadata=metadata)
    with pytest.raises(ContractError, match=f"{next(iter(metadata))}.onnx") as caught:
        load_engine(folder)
    assert caught.value.field == field


def test_a_graph_of_another_kind_under_the_right_name_is_refused(tmp_path):
    folder = write_model(tmp_path, metadata={"classifier": {"emotion.graph": '"monitor"'}})
    (folder / "classifier.onnx").rename(folder / "monitor.onnx")
    with pytest.raises(ContractError, match=r"expected monitor with .*waveform"):
        load_engine(folder)


def test_an_embedding_of_another_width_than_the_contract_says_is_refused(tmp_path):
    wide = pack(np.ones(5, np.float32))
    folder = write_model(tmp_path, embedding_dim=5, embedding_mean=wide, embedding_std=wide)
    with pytest.raises(ContractError, match="embedding of width 5"):
        load_engine(folder)


@pytest.mark.parametrize("width", [0, 3])
def test_a_classifier_whose_traits_are_not_the_contracts_is_refused(tmp_path, width):
    traits = pack(np.ones((8, width), np.float32))
    variance = pack(np.ones(width, np.float32))
    with pytest.raises(ContractError, match=r"classifier\.onnx"):
        load_engine(write_model(tmp_path, emotion_traits=traits, voice_variance=variance))


def test_a_model_without_a_classifier_does_not_adapt(tmp_path):
    engine = load_engine(write_model(tmp_path, classifier=False))
    assert not engine.adaptable
    with pytest.raises(ModelError, match=r"no classifier\.onnx"):
        engine.classify(MEAN, Statistics(MEAN, MEAN, 1.0))


def test_a_model_that_says_so_does_not_adapt(tmp_path):
    assert not load_engine(write_model(tmp_path, adaptable=False)).adaptable


# --- devices ---


def test_cuda_where_it_is_missing_is_an_error_with_the_way_out(model_folder, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"'\.\[cuda\]'.*--device cpu"):
        load_engine(model_folder, "cuda")


def test_int8_on_cuda_is_an_error_with_the_way_out(tmp_path, monkeypatch):
    folder = write_model(tmp_path, precision="int8")
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    with pytest.raises(DeviceError, match=r"int8.*--precision fp16, or use --device cpu"):
        load_engine(folder, "cuda")


@pytest.mark.parametrize(
    ("precision", "providers", "why"),
    [
        ("fp32", ["CPUExecutionProvider"], "no CUDA here"),
        ("int8", ["CUDAExecutionProvider", "CPUExecutionProvider"], "the model is int8"),
    ],
)
def test_auto_says_in_the_log_what_it_took_and_why(
    tmp_path, monkeypatch, caplog, precision, providers, why
):
    folder = write_model(tmp_path, precision=precision)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    with caplog.at_level(logging.INFO, "emotion.engine"):
        assert load_engine(folder, "auto").device == "cpu"
    assert f"device auto: cpu ({why})" in caplog.text


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is here"
)
def test_a_provider_that_cannot_start_is_an_error(model_folder, monkeypatch):
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(DeviceError, match="could not be started"),
    ):
        load_engine(model_folder, "cuda")


# --- running ---


@pytest.mark.parametrize("length", [0, 1, 3_999, 480_001])
def test_a_window_outside_the_contracts_bounds_is_refused(engine, length):
    with pytest.raises(AudioError, match=f"a window of {length} samples: expected 4000 to 480000"):
        engine.run(np.zeros(length, np.float32))


@pytest.mark.parametrize("length", [4_000, 4_001, 48_000, 480_000])
def test_a_window_within_the_bounds_gives_probabilities_and_an_embedding(engine, length):
    probabilities, embedding = engine.run(restless(30)[:length, 0])
    assert probabilities.shape == (8,) and probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert embedding.shape == (4,)


def test_the_classifier_with_the_prior_gives_what_the_monitor_gives(engine):
    probabilities, embedding = engine.run(restless(3)[:, 0])
    found, _ = engine.classify(embedding, engine.prior().channel)
    assert found == pytest.approx(probabilities, abs=1e-5)


def test_without_adaptation_the_probabilities_are_the_monitors(engine):
    samples = restless(3)[:, 0]
    window = window_of(samples)
    judgement = engine.judge(window)
    expected, _ = engine.run(window.pcm.astype(np.float32) / 32_768)
    assert np.array_equal(judgement.probabilities, expected)
    assert judgement.baseline is None and judgement.speech_ratio is None


def test_silence_is_not_run_through_the_model():
    engine = fake_engine()
    samples = np.zeros(48_000, np.float32)
    window = window_of(samples, track=VoiceTrack.begin(), unheard=window_of(samples).pcm)
    judgement = engine.judge(window)
    assert judgement.probabilities is None and judgement.speech_ratio == 0
    assert judgement.track.position == 48_000 // 512 * 512
    monitor = engine._monitor
    assert isinstance(monitor, FakeMonitor) and monitor.runs == 0


def test_silence_leaves_the_statistics_as_they_are(engine):
    samples = np.zeros(48_000, np.float32)
    window = window_of(
        samples,
        track=VoiceTrack.begin(),
        unheard=window_of(samples).pcm,
        baseline=engine.prior(),
    )
    assert engine.judge(window).baseline is window.baseline


def test_adaptation_includes_the_window_that_is_judged(engine):
    window = window_of(speech_like(3), baseline=engine.prior())
    judgement = engine.judge(window)
    _, embedding = engine.run(window.pcm.astype(np.float32) / 32_768)
    expected = engine.prior().including(embedding, 3.0)
    assert np.array_equal(judgement.baseline.channel.mean, expected.channel.mean)
    assert np.array_equal(judgement.probabilities, engine.classify(embedding, expected.channel)[0])


def test_a_window_that_may_be_a_strangers_is_judged_as_both(engine):
    prior = engine.prior()
    elsewhere = replace(prior.channel, mean=prior.channel.mean + 3, weight_s=60.0)
    known = replace(prior, channel=elsewhere, since=prior.corpus, doubt_s=1.5, prototypes=None)
    window = window_of(speech_like(1), baseline=known)
    judgement = engine.judge(window)
    _, embedding = engine.run(window.pcm.astype(np.float32) / 32_768)
    voices = judgement.baseline.channel, judgement.baseline.since
    own, strangers = (engine.classify(embedding, voice)[0] for voice in voices)
    assert np.abs(own - strangers).max() > 0.01
    share = judgement.baseline.suspicion
    assert 0 < share < 1
    assert judgement.probabilities == pytest.approx((1 - share) * own + share * strangers)


def test_a_window_is_judged_by_prototypes_of_those_that_ended_before_it(engine):
    sounds = [speech_like(3), restless(3)[:, 0]]
    known = engine.prior()
    for place in range(4):
        window = window_of(sounds[place % 2], start=place * 48_000, baseline=known)
        known = engine.judge(window).baseline
    assert known.prototypes.counts.sum() == pytest.approx(3 * 3.0 / 2.0)
    later, overlapping = (
        engine.judge(window_of(sounds[0], start=start, baseline=known, counted=start + 48_000))
        for start in (4 * 48_000, 3 * 48_000)
    )
    assert not np.array_equal(later.probabilities, overlapping.probabilities)


def test_an_embedding_that_is_not_finite_leaves_the_channels_statistics_alone(engine, monkeypatch):
    broken = np.full(len(MEAN), np.nan, np.float32)
    monkeypatch.setattr(engine, "run", lambda _: (np.full(8, 1 / 8, np.float32), broken))
    window = window_of(speech_like(3), baseline=engine.prior())
    assert engine.judge(window).baseline is window.baseline


def test_without_voice_activity_adaptation_counts_each_second_once(engine):
    window = window_of(speech_like(3), start=16_000, counted=32_000, baseline=engine.prior())
    assert engine.judge(window).baseline.adapted_s == pytest.approx(2.0)


def test_with_voice_activity_adaptation_counts_new_speech_only(engine):
    samples = speech_like(3)
    window = window_of(
        samples,
        track=VoiceTrack.begin(),
        unheard=window_of(samples).pcm,
        baseline=engine.prior(),
        counted=16_000,
    )
    judgement = engine.judge(window)
    assert judgement.speech_ratio > 0.5
    new = judgement.track.speech_s(16_000, 48_000)
    assert 0 < new < 2.01
    assert judgement.baseline.adapted_s == pytest.approx(new)


def test_judging_the_same_window_twice_gives_the_same(engine):
    samples = speech_like(3)
    window = window_of(
        samples, track=VoiceTrack.begin(), unheard=window_of(samples).pcm, baseline=engine.prior()
    )
    first, second = engine.judge(window), engine.judge(window)
    assert np.array_equal(first.probabilities, second.probabilities)
    assert np.array_equal(first.track.state, second.track.state)


def test_the_embedded_model_where_it_is_there_can_be_loaded():
    from emotion.engine import default_model

    if not (default_model() / "monitor.onnx").is_file():
        pytest.skip("no embedded model yet")
    engine = load_engine()
    for length in (8_000, 48_000, 160_000):  # half a second to the longest window
        probabilities, embedding = engine.run(speech_like(length / 16_000))
        assert probabilities.sum() == pytest.approx(1, abs=1e-3)
        found, _ = engine.classify(embedding, engine.prior().channel)
        assert np.abs(found - probabilities).max() < 0.02


def test_every_error_of_loading_is_an_emotion_error():
    assert issubclass(ModelError, EmotionError)
    assert issubclass(ContractError, ModelError) and issubclass(DeviceError, ModelError)
    json.dumps(str(ModelNotFoundError(str(Path("x")))))


LENGTHS_SEEN = """
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from emotion.engine import load_engine

def resident_kib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024

engine = load_engine()
low = engine.contract.min_samples
with ThreadPoolExecutor(2) as pool:
    def run(lengths):
        list(pool.map(lambda length: engine.run(np.full(length, 0.1, np.float32)) and None, lengths))
    run(range(low + 400, low + 440))
    before = resident_kib()
    run(range(low, low + 400))
    print(resident_kib() - before)
"""
"""Windows of 400 lengths on two threads, and by how many KiB the process grew."""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_memory_does_not_grow_with_each_new_length_of_a_window():
    run = subprocess.run(
        [sys.executable, "-c", LENGTHS_SEEN], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 2048
