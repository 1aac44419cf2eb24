"""The log-mel of half the products: the front end's own numbers."""

import pytest
import torch

from export.clips import speech_like
from export.spectrum import HalvedLogMel
from train.frontend import MIN_SAMPLES, LogMel


@pytest.mark.parametrize(
    "samples", [MIN_SAMPLES, 4_000, 4_001, 4_159, 4_160, 16_079, 16_080, 48_000]
)
@pytest.mark.parametrize("n_mels", [80, 128])
def test_it_is_the_front_ends(samples: int, n_mels: int) -> None:
    ours = LogMel(n_mels)
    waveforms = torch.stack([torch.from_numpy(sound[:samples]) for sound in speech_like(2)])
    expected = ours(waveforms)
    found = HalvedLogMel(ours)(waveforms)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=0)


def test_what_lies_100_db_below_a_tone_is_as_exact() -> None:
    time = torch.arange(16_000) / 16_000
    noise = torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    waveform = (torch.sin(2 * torch.pi * 300 * time) + 1e-5 * noise)[None]
    ours = LogMel()
    torch.testing.assert_close(HalvedLogMel(ours)(waveform), ours(waveform), atol=1e-4, rtol=0)
