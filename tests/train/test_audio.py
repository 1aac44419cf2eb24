"""Files to 16 kHz mono."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import soxr
import torch

from emotion.errors import AudioError
from train.audio import read_mono, usable_backend


def test_a_file_that_is_no_audio_is_named(tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    path.write_bytes(b"RIFF but not really")
    with pytest.raises(AudioError, match=r"noise\.wav: cannot be decoded"):
        read_mono(path)


@pytest.mark.parametrize("samples", [0, 1, 319])
def test_less_than_one_encoder_frame_is_refused(samples: int, tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, np.zeros(samples, np.float32), 16_000)
    with pytest.raises(AudioError, match="expected at least 320"):
        read_mono(path)


def test_samples_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.full(400, np.nan, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="not finite"):
        read_mono(path)


def test_stereo_becomes_the_mean_of_its_channels_at_16_khz(tmp_path: Path) -> None:
    path = tmp_path / "stereo.flac"
    stereo = np.random.default_rng(0).uniform(-0.5, 0.5, (48_000, 2)).astype(np.float32)
    soundfile.write(path, stereo, 48_000, subtype="PCM_24")
    expected = soxr.resample(stereo.mean(axis=1), 48_000, 16_000, quality="HQ")
    np.testing.assert_allclose(read_mono(path), expected, rtol=0, atol=1e-5)


def test_16_khz_passes_untouched(tmp_path: Path) -> None:
    path = tmp_path / "plain.wav"
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 1_000, dtype=np.int16)
    soundfile.write(path, samples, 16_000)
    assert np.array_equal(read_mono(path), samples / np.float32(2**15))


@pytest.mark.parametrize("failure", [ImportError("none"), OSError("libcudart.so.13: not found")])
def test_torchaudio_that_cannot_load_gives_way_with_a_warning(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "torchaudio":
                raise failure

    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert usable_backend("torchaudio") == "soundfile"
    assert "torchaudio cannot be imported" in caplog.text


def test_torchaudio_resamples_where_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def every_third(waveform: torch.Tensor, old: int, new: int) -> torch.Tensor:
        return waveform[:: old // new]

    stub = SimpleNamespace(functional=SimpleNamespace(resample=every_third))
    monkeypatch.setitem(sys.modules, "torchaudio", stub)
    path = tmp_path / "fast.wav"
    soundfile.write(path, np.linspace(-0.5, 0.5, 1_200, dtype=np.float32), 48_000, "FLOAT")
    assert usable_backend("torchaudio") == "torchaudio"
    np.testing.assert_array_equal(
        read_mono(path, "torchaudio"), np.linspace(-0.5, 0.5, 1_200, dtype=np.float32)[::3]
    )
