"""The log-mel front end against Whisper's own."""

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from train.frontend import HOP, MIN_SAMPLES, LogMel

THIRTY_SECONDS = 480_000

# In the last 12.5 ms before exactly 30 s the oracle's own padding no longer hides its reflection on
# the right, where this front end hears zeros: the frames whose windows reach beyond the end differ.
REFLECTED_BY_ORACLE = 2


@pytest.mark.parametrize(
    "samples",
    [201, 319, 320, 399, 400, 401, 1600, 15_999, 16_000, 16_001, 48_123, 479_799, 479_900, 480_000],
)
def test_agrees_with_whispers_feature_extractor(samples: int) -> None:
    waveform = _speechlike(samples)
    oracle = WhisperFeatureExtractor()(waveform, sampling_rate=16_000, return_tensors="np")
    frames = samples // HOP
    found = LogMel()(torch.from_numpy(waveform)[None])[0].numpy()
    assert found.shape == (80, frames)
    if samples > THIRTY_SECONDS - 200:
        frames -= REFLECTED_BY_ORACLE
    np.testing.assert_allclose(
        found[:, :frames], oracle["input_features"][0][:, :frames], rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("level", [0.0, 1e-6, 1.0])
def test_silence_whispers_and_full_scale_agree_too(level: float) -> None:
    waveform = (level * np.sign(_speechlike(8_000))).astype(np.float32)
    oracle = WhisperFeatureExtractor()(waveform, sampling_rate=16_000, return_tensors="np")
    found = LogMel()(torch.from_numpy(waveform)[None])[0].numpy()
    np.testing.assert_allclose(found, oracle["input_features"][0][:, :50], rtol=0, atol=1e-4)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    quiet, loud = 1e-3 * _speechlike(16_000), _speechlike(16_000)[::-1].copy()
    together = LogMel()(torch.from_numpy(np.stack([quiet, loud])))[0]
    alone = LogMel()(torch.from_numpy(quiet)[None])[0]
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_the_shortest_waveform_gives_one_frame() -> None:
    assert LogMel()(torch.zeros(1, MIN_SAMPLES)).shape == (1, 80, 1)


def _speechlike(samples: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    random = np.random.default_rng(samples)
    time = np.arange(samples) / 16_000
    tone = np.sin(2 * np.pi * 180 * time) * (1 + np.sin(2 * np.pi * 3 * time))
    return (0.2 * tone + 0.01 * random.standard_normal(samples)).astype(np.float32)
