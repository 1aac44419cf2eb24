"""A recording's course for a picture: a bounded number of steps, however long the recording is."""

from typing import Final

import numpy as np
import numpy.typing as npt

from clients.analyze.rows import Judged, Row, Summary
from emotion.labels import EMOTIONS

MOST_STEPS: Final = 320


class Lane:
    """One channel: for each step the mean probabilities, and what was dominant at its end.

    Args:
        steps: how many there are.
        step_s: seconds that one takes.
    """

    def __init__(self, steps: int, step_s: float) -> None:
        self._sums: npt.NDArray[np.float64] = np.zeros((steps, len(EMOTIONS)))
        self._judged: npt.NDArray[np.int64] = np.zeros(steps, np.int64)
        self._seen: npt.NDArray[np.bool_] = np.zeros(steps, np.bool_)
        self._labels: list[str | None] = [None] * steps
        self._step_s = step_s
        self._reached_s = 0.0

    def add(self, row: Row) -> None:
        """A window speaks for the audio that is new in it."""
        first = int(self._reached_s / self._step_s + 1e-6)
        last = max(first + 1, int(np.ceil(row.end_s / self._step_s - 1e-6)))
        steps = slice(min(first, len(self._seen) - 1), last)
        self._reached_s = row.end_s
        self._seen[steps] = True
        if not isinstance(row, Judged):
            return
        self._sums[steps] += [row.probabilities[label] for label in EMOTIONS]
        self._judged[steps] += 1
        self._labels[steps] = [row.smoothed.label] * len(self._labels[steps])

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Whether any window covers the step: bool [steps]."""
        return self._seen

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Mean probabilities, zeros where there was silence: float64 [steps, 8]."""
        shares: npt.NDArray[np.float64] = self._sums / np.maximum(self._judged, 1)[:, np.newaxis]
        return shares

    def runs(self) -> list[tuple[int, int, str | None]]:
        """Stretches of one smoothed label, or of silence (None): first step, one past the last, it."""
        runs = list[tuple[int, int, str | None]]()
        for step in np.flatnonzero(self._seen):
            label = self._labels[step] if self._judged[step] else None
            if runs and runs[-1][1] == step and runs[-1][2] == label:
                runs[-1] = (runs[-1][0], int(step) + 1, label)
            else:
                runs.append((int(step), int(step) + 1, label))
        return runs


class Course:
    """All channels of a recording.

    Args:
        summary: the recording's.
        hop_s: seconds from window to window.
    """

    def __init__(self, summary: Summary, hop_s: float) -> None:
        self.step_s = max(hop_s, summary.duration_s / MOST_STEPS)
        self.steps = max(1, int(np.ceil(summary.duration_s / self.step_s - 1e-6)))
        self.lanes = {c.channel: Lane(self.steps, self.step_s) for c in summary.channels}

    def add(self, row: Row) -> None:
        """The next window."""
        self.lanes[row.channel].add(row)
