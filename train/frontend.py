"""Waveform to log-mel, as a torch module, so that it can be exported into the ONNX graph.

There is no second front end: training, evaluation and the deployed graph run this one. Its oracle
is `transformers.WhisperFeatureExtractor` on the signal padded with zeros to 30 s, with which the
first floor(N / 160) frames agree within 1e-4.

The DFT is a convolution with fixed weights (the Hann window folded in) and the mel filters are a
matrix product: both export to plain ONNX operators and run wherever a convolution does.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank

SAMPLE_RATE: Final = 16_000
N_FFT: Final = 400  # 25 ms
HOP: Final = 160  # 10 ms
N_MELS: Final = 80
MIN_SAMPLES: Final = N_FFT // 2 + 1  # reflection needs one sample more than it reflects
FLOOR: Final = 1e-10  # of the mel power, before the logarithm
DYNAMIC_RANGE: Final = 8.0  # in log10 units below the loudest mel bin of the same row


class MelPower(nn.Module):
    """Power of every whole frame in each mel filter.

    Args:
        n_mels: number of mel filters.
    """

    dft: Tensor
    mel: Tensor

    def __init__(self, n_mels: int = N_MELS) -> None:
        super().__init__()
        rows = np.concatenate([np.cos(angles()), -np.sin(angles())]) * hann()
        self.register_buffer("dft", torch.from_numpy(rows).float().unsqueeze(1), persistent=False)
        filters = mel_filter_bank(
            num_frequency_bins=N_FFT // 2 + 1,
            num_mel_filters=n_mels,
            min_frequency=0.0,
            max_frequency=SAMPLE_RATE / 2,
            sampling_rate=SAMPLE_RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("mel", torch.from_numpy(filters.T).float(), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        """float32 [B, n] -> [B, n_mels, (n - 400) // 160 + 1]."""
        spectrum = F.conv1d(signal.unsqueeze(1), self.dft, stride=HOP)
        real, imaginary = spectrum.chunk(2, dim=1)
        return torch.matmul(self.mel, real.square() + imaginary.square())


class LogMel(nn.Module):
    """Whisper's log-mel spectrogram.

    Args:
        n_mels: number of mel filters.
    """

    def __init__(self, n_mels: int = N_MELS) -> None:
        super().__init__()
        self.mel_power: nn.Module = MelPower(n_mels)

    def forward(self, waveform: Tensor) -> Tensor:
        """Log-mel of a batch whose rows all have the same length.

        Args:
            waveform: float32 [B, N], 16 kHz, -1 to 1, N at least 201.

        Returns:
            float32 [B, n_mels, floor(N / 160)].
        """
        left = waveform[:, 1 : N_FFT // 2 + 1].flip(1)
        signal = F.pad(torch.cat([left, waveform], dim=1), (0, N_FFT))
        log_mel: Tensor = self.mel_power(signal).clamp(min=FLOOR).log10()
        # The frames past the last whole one still hear the end of the signal, so they count for
        # the loudest bin, as they do in the padded signal. Per row: neighbours must not matter.
        loudest = log_mel.amax(dim=(1, 2), keepdim=True)
        log_mel = torch.maximum(log_mel, loudest - DYNAMIC_RANGE)
        return (log_mel[:, :, : waveform.shape[1] // HOP] + 4.0) / 4.0


def hann() -> npt.NDArray[np.float64]:
    """The periodic Hann window: float64 [400]."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)


def angles() -> npt.NDArray[np.float64]:
    """Of every frequency of a frame at every sample, in radians: float64 [201, 400]."""
    return 2 * np.pi * np.outer(np.arange(N_FFT // 2 + 1), np.arange(N_FFT)) / N_FFT
