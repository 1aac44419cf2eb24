"""Exponential smoothing of probabilities over audio time, not over events.

A window's weight follows from how much time has passed since the last one that was judged, so the same
speech smooths alike at any hop, and what was said before a long silence has faded by its end.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

HALF_LIFE_S: Final = 2.0
"""Seconds of audio after which an earlier judgement weighs half."""


@dataclass(frozen=True)
class Smoothing:
    """The smoothed probabilities so far; immutable.

    Attributes:
        probabilities: float32 [8]; None before the first window.
        end_s: where the last window that went in ended.
    """

    probabilities: npt.NDArray[np.float32] | None = None
    end_s: float = 0.0

    def including(self, probabilities: npt.NDArray[np.float32], end_s: float) -> "Smoothing":
        """With one more window's probabilities (float32 [8]), which ended at `end_s`."""
        if self.probabilities is None:
            return Smoothing(probabilities, end_s)
        kept = np.float32(0.5 ** ((end_s - self.end_s) / HALF_LIFE_S))
        return Smoothing(kept * self.probabilities + (1 - kept) * probabilities, end_s)
