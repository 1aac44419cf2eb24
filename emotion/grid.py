"""Where windows lie in a stream: plain arithmetic, in samples at 16 kHz."""

from dataclasses import dataclass
from math import ceil
from typing import Final

from emotion.contract import SAMPLE_RATE

FIRST_WINDOW_S: Final = 1.0  # less says too little


@dataclass(frozen=True)
class Grid:
    """A window ends at every e = k x hop from 1 s on and covers [max(0, e - window), e].

    Attributes:
        window_s: seconds a window covers.
        hop_s: seconds from one window's end to the next.
    """

    window_s: float
    hop_s: float

    @property
    def first(self) -> int:
        """The k of the first window."""
        return ceil(FIRST_WINDOW_S / self.hop_s - 1e-9)  # 0.33333333333 three times is 1 s too

    def end(self, k: int) -> int:
        """Where the window k ends; rounded once, so the error does not add up over a day."""
        return round(k * self.hop_s * SAMPLE_RATE)

    def end_before(self, k: int) -> int:
        """Where the window before k ends; 0 where k is the first."""
        return self.end(k - 1) if k > self.first else 0

    def begin(self, end: int) -> int:
        """Where a window that ends there begins."""
        return max(0, end - round(self.window_s * SAMPLE_RATE))
