"""The log-mel of half the DFT's products: the front end's own numbers."""

import numpy as np
import pytest
import torch
from torch import Tensor

from export.clips import speech_like
from export.spectrum import HalvedMelPower
from train.frontend import MIN_SAMPLES, LogMel, MelPower


def halved(n_mels: int = 80) -> LogMel:
    log_mel = LogMel(n_mels)
    log_mel.mel_power = HalvedMelPower(n_mels)
    return log_mel


@pytest.mark.parametrize(
    "samples", [MIN_SAMPLES, 4_000, 4_001, 4_159, 4_160, 16_079, 16_080, 48_000]
)
@pytest.mark.parametrize("n_mels", [80, 128])
def test_it_is_the_front_ends(samples: int, n_mels: int) -> None:
    waveforms = torch.stack([torch.from_numpy(sound[:samples]) for sound in speech_like(2)])
    expected, found = LogMel(n_mels)(waveforms), halved(n_mels)(waveforms)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=0)


@pytest.mark.parametrize("hertz", [300, 1_100, 3_800, 7_990])
def test_noise_100_db_below_a_tone_of_full_scale_is_heard_as_exactly(hertz: int) -> None:
    """The oracle is numpy's FFT in float64."""
    time = np.arange(16_000) / 16_000
    noise = np.random.default_rng(0).standard_normal(16_000)
    waveform = (np.sin(2 * np.pi * hertz * time) + 1e-5 * noise).astype(np.float32)
    found = halved()(torch.from_numpy(waveform)[None])
    torch.testing.assert_close(found, _exact(waveform.astype(np.float64)), atol=2e-4, rtol=0)


def _exact(waveform: np.ndarray) -> Tensor:
    signal = np.concatenate([waveform[200:0:-1], waveform, np.zeros(400)])
    frames = np.lib.stride_tricks.sliding_window_view(signal, 400)[::160]
    power = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1])) ** 2
    log_mel = np.log10(np.maximum(MelPower().mel.double().numpy() @ power.T, 1e-10))
    log_mel = np.maximum(log_mel, log_mel.max() - 8)[:, : len(waveform) // 160]
    return torch.from_numpy((log_mel + 4) / 4).float()[None]
