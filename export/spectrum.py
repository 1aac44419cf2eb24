"""The log-mel's DFT by half its products: the first step of a fast Fourier transform.

Of a frame x of 400 windowed samples, x[n] + x[n + 200] has the even frequencies and x[n] - x[n + 200]
the odd ones (decimation in frequency: Gentleman and Sande 1966, doi 10.1145/1464291.1464352). A second
step would halve the even ones once more, and costs in copies what it saves in products.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.frontend import HOP, N_FFT, N_MELS, MelPower, angles, hann

HALF: Final = N_FFT // 2


class HalvedMelPower(nn.Module):
    """`MelPower` in other products: the same but for rounding, which is up to twice as large.

    Args:
        n_mels: number of mel filters.
    """

    hann: Tensor
    even: Tensor
    odd: Tensor
    mel_even: Tensor
    mel_odd: Tensor

    def __init__(self, n_mels: int = N_MELS) -> None:
        super().__init__()
        mel = MelPower(n_mels).mel
        self.register_buffer("hann", torch.from_numpy(hann()).float(), persistent=False)
        # 0 Hz and the highest frequency have no imaginary part.
        for name, real, imaginary in (
            ("even", np.arange(0, HALF + 1, 2), np.arange(2, HALF, 2)),
            ("odd", np.arange(1, HALF, 2), np.arange(1, HALF, 2)),
        ):
            # [n, frequencies twice]; the filters add the squares of real and imaginary parts.
            parts = np.cos(angles()[real, :HALF]), np.sin(angles()[imaginary, :HALF])
            waves = torch.from_numpy(np.concatenate(parts).T.copy()).float()
            self.register_buffer(name, waves, persistent=False)
            filters = mel.T[np.concatenate([real, imaginary])]
            self.register_buffer(f"mel_{name}", filters, persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        """float32 [B, n] -> [B, n_mels, (n - 400) // 160 + 1]."""
        padded = F.pad(signal, (0, HOP // 2))
        count = padded.shape[1] // HOP
        rows = padded[:, : count * HOP].view(padded.shape[0], count, HOP)
        # 400 samples are two hops and a half.
        frames = torch.cat([rows[:, :-2], rows[:, 1:-1], rows[:, 2:, : HOP // 2]], dim=2)
        first, second = (frames * self.hann).chunk(2, dim=2)
        even = torch.matmul(first + second, self.even)
        odd = torch.matmul(first - second, self.odd)
        power = torch.matmul(even * even, self.mel_even) + torch.matmul(odd * odd, self.mel_odd)
        return power.transpose(1, 2)
