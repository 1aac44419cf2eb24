"""An analysed channel: the audio that windows may still need, and what has been learnt of it."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from emotion.adapt import Baseline
from emotion.audio import Pcm
from emotion.contract import SAMPLE_RATE
from emotion.engine import Judgement, Window
from emotion.smoothing import Smoothing
from emotion.vad import VoiceTrack

MAX_CATCH_UP: Final = 10 * SAMPLE_RATE
"""Samples of skipped audio that voice activity still listens to; beyond, it starts anew."""

_PCM_BYTES: Final = 2


@dataclass
class Channel:
    """One channel's state; positions are samples at 16 kHz since the session's start.

    Attributes:
        name: the channel's name.
        track: its voice activity; None where that is off.
        baseline: its statistics; None without adaptation.
        smoothing: its smoothed probabilities.
        counted: up to which sample speech was counted into the statistics.
        votes: the sum of its probabilities, float64 [8].
    """

    name: str
    track: VoiceTrack | None
    baseline: Baseline | None
    smoothing: Smoothing = field(default_factory=Smoothing)
    counted: int = 0
    votes: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(8))
    _audio: bytearray = field(default_factory=bytearray)
    _origin: int = 0  # the position of the first sample kept

    def hear(self, pcm: Pcm) -> None:
        """Keeps the samples that follow: int16 [n]."""
        self._audio += pcm.tobytes()

    def window(self, start: int, end: int, *, extra: bool, received_at: float) -> Window:
        """The window [start, end), with copies of all that its judgement depends on."""
        track = self.track
        return Window(
            channel=self.name,
            start=start,
            end=end,
            pcm=self._slice(start, end),
            extra=extra,
            received_at=received_at,
            track=track,
            unheard=self._slice(track.position if track else end, end),
            baseline=self.baseline,
            counted=self.counted,
        )

    def smoothed(self, window: Window, judgement: Judgement) -> Smoothing:
        """The smoothed probabilities with the window's; as they were where it was silent."""
        if judgement.probabilities is None:
            return self.smoothing
        return self.smoothing.including(judgement.probabilities, window.end / SAMPLE_RATE)

    def remember(self, window: Window, judgement: Judgement) -> None:
        """Learns from a window on the grid."""
        self.track = judgement.track
        if judgement.probabilities is None:
            return
        self.smoothing = self.smoothed(window, judgement)
        self.votes += judgement.probabilities
        self.baseline = judgement.baseline
        # A frame that the window's end cuts is not heard yet, and must not count as counted.
        self.counted = judgement.track.position if judgement.track else window.end

    def restart_voice(self, needed: int) -> None:
        """Voice activity that lags too far behind what the next window needs starts anew there."""
        if self.track is not None and needed - self.track.position > MAX_CATCH_UP:
            self.track = VoiceTrack.begin(needed)

    def forget(self, needed: int) -> None:
        """Drops the audio before `needed`, apart from what voice activity has yet to hear."""
        if self.track is not None:
            needed = min(needed, self.track.position)
        if needed > self._origin:
            self._audio = self._audio[_PCM_BYTES * (needed - self._origin) :]
            self._origin = needed

    def _slice(self, start: int, end: int) -> Pcm:
        first, last = (_PCM_BYTES * (position - self._origin) for position in (start, end))
        return np.frombuffer(bytes(self._audio[first:last]), np.int16)
