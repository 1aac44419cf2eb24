"""What a session says about its windows: numbered events, counts and the summary."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emotion.channel import Channel
from emotion.contract import SAMPLE_RATE
from emotion.engine import Judgement, Window
from emotion.messages import (
    Emotion,
    Event,
    Probabilities,
    Silence,
    Smoothed,
    Summary,
    Warning,
)
from emotion.smoothing import Smoothing


class Report:
    """Numbers a session's events and counts its windows; windows = inferred + silent + skipped.

    Args:
        session_id: goes into each event's id.
        stream_id: goes into each event.
        labels: names of the probabilities, in their order.
    """

    def __init__(self, session_id: str, stream_id: str, labels: Sequence[str]) -> None:
        self._session_id = session_id
        self._stream_id = stream_id
        self._labels = labels
        self._seq = 0
        self._counts: Counter[str] = Counter()

    def event(
        self, window: Window, judgement: Judgement, smoothing: Smoothing, latency_ms: float
    ) -> Event:
        """The event of a window; `smoothing` includes it where it was judged."""
        self._seq += 1
        if judgement.probabilities is None:
            return self._silence(window, judgement.speech_ratio or 0.0, latency_ms)
        return self._emotion(window, judgement, judgement.probabilities, smoothing, latency_ms)

    def skipped(self, count: int) -> Warning:
        """Counts windows that were skipped, and says so."""
        self._counts["skipped"] += count
        return Warning(
            code="skipped_windows",
            message=f"the server fell behind: windows skipped for newer ones: {count}",
            count=count,
        )

    def summary(self, audio_s: float, channels: Sequence[Channel]) -> Summary:
        """The whole session."""
        dominant = {
            channel.name: self._labels[int(channel.votes.argmax())] if channel.votes.any() else None
            for channel in channels
        }
        counts = {name: self._counts[name] for name in ("inferred", "silent", "skipped")}
        return Summary(
            id=f"{self._session_id}:end",
            session_id=self._session_id,
            stream_id=self._stream_id,
            audio_s=round(audio_s, 6),
            windows=sum(counts.values()),
            dominant=dominant,
            **counts,
        )

    def _emotion(
        self,
        window: Window,
        judgement: Judgement,
        values: npt.NDArray[np.float32],
        smoothing: Smoothing,
        latency_ms: float,
    ) -> Emotion:
        self._counts["inferred"] += 1
        label, probabilities = self._named(values)
        smooth_label, smooth = self._named(
            values if smoothing.probabilities is None else smoothing.probabilities
        )
        ratio = judgement.speech_ratio
        return Emotion(
            id=f"{self._session_id}:{self._seq}",
            seq=self._seq,
            stream_id=self._stream_id,
            channel=window.channel,
            start_s=_seconds(window.start),
            end_s=_seconds(window.end),
            label=label,
            confidence=probabilities[label],
            probabilities=probabilities,
            smoothed=Smoothed(label=smooth_label, probabilities=smooth),
            speech_ratio=None if ratio is None else round(ratio, 4),
            adapted_s=round(judgement.baseline.adapted_s, 3) if judgement.baseline else 0.0,
            latency_ms=latency_ms,
        )

    def _silence(self, window: Window, ratio: float, latency_ms: float) -> Silence:
        self._counts["silent"] += 1
        return Silence(
            id=f"{self._session_id}:{self._seq}",
            seq=self._seq,
            stream_id=self._stream_id,
            channel=window.channel,
            start_s=_seconds(window.start),
            end_s=_seconds(window.end),
            speech_ratio=round(ratio, 4),
            latency_ms=latency_ms,
        )

    def _named(self, values: npt.NDArray[np.float32]) -> tuple[str, Probabilities]:
        named = {name: round(float(p), 6) for name, p in zip(self._labels, values, strict=True)}
        return self._labels[int(np.argmax(values))], named


def incomplete_sample(count: int) -> Warning:
    """The audio ended with bytes that make no whole sample of every channel."""
    return Warning(
        code="incomplete_sample",
        message=f"the audio ends within a sample: {count} bytes were left over; "
        "check the declared encoding and number of channels",
    )


def too_fast() -> Warning:
    """The audio runs ahead of the clock."""
    return Warning(
        code="too_fast",
        message="audio comes faster than real time: nothing is dropped, "
        "it is read as fast as it can be judged, and live streams go first",
    )


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE, 6)
