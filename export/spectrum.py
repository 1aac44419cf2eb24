"""Whisper's log-mel by half the products: the first step of a fast Fourier transform.

Of a frame x of 400 windowed samples, x[n] + x[n + 200] has the even frequencies and x[n] - x[n + 200]
the odd ones (decimation in frequency: Gentleman and Sande 1966, doi 10.1145/1464291.1464352). A second
step would halve the even ones once more, and costs in copies what it saves in products.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from train.frontend import HOP, N_FFT, LogMel

HALF: Final = N_FFT // 2


class HalvedLogMel(LogMel):
    """`LogMel` in other products: the same but for rounding, which is as small (5e-5 at most).

    Args:
        log_mel: whose filters these are.
    """

    hann: Tensor
    even: Tensor
    odd: Tensor
    mel_even: Tensor
    mel_odd: Tensor

    def __init__(self, log_mel: LogMel) -> None:
        super().__init__(len(log_mel.mel))
        time = torch.arange(N_FFT, dtype=torch.float64)
        angle = 2 * torch.pi / N_FFT * torch.outer(time[:HALF], time[: HALF + 1])
        constants = {"hann": 0.5 - 0.5 * torch.cos(2 * torch.pi * time / N_FFT)}
        for name, first in (("even", 0), ("odd", 1)):
            # [n, frequencies twice]: real parts, then imaginary ones, whose squares the filters add.
            constants[name] = torch.cat([angle.cos()[:, first::2], angle.sin()[:, first::2]], dim=1)
            constants[f"mel_{name}"] = log_mel.mel.T[first::2].repeat(2, 1)
        for name, values in constants.items():
            self.register_buffer(name, values.float(), persistent=False)

    def mel_power(self, signal: Tensor) -> Tensor:
        """See `LogMel.mel_power`."""
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
