"""What is kept of a recording: a row a window, and a summary.

The rows are `emotion` and `silence` as on the wire, without what belongs to a connection: `id`,
`stream_id`, `latency_ms`. So the same recording gives the same rows, byte for byte.
"""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from emotion.messages import Emotion, Event, Probabilities, Smoothed


class Judged(msgspec.Struct, frozen=True, kw_only=True, tag="emotion", tag_field="type"):
    """A window with speech; the fields are those of `Emotion`."""

    seq: int
    channel: str
    start_s: float
    end_s: float
    label: str
    confidence: float
    probabilities: Probabilities
    smoothed: Smoothed
    speech_ratio: float | None
    adapted_s: float


class Quiet(msgspec.Struct, frozen=True, kw_only=True, tag="silence", tag_field="type"):
    """A window with too little speech; the fields are those of `Silence`."""

    seq: int
    channel: str
    start_s: float
    end_s: float
    speech_ratio: float


Row = Judged | Quiet

ROWS: Final = msgspec.json.Decoder(list[Row])


def row(event: Event) -> Row:
    """What is kept of an event."""
    kind = Judged if isinstance(event, Emotion) else Quiet
    return kind(**{name: getattr(event, name) for name in kind.__struct_fields__})


class ChannelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One channel of a recording; windows = inferred + silent.

    Attributes:
        speech_share: of the audio that windows cover; None where voice activity is off.
        dominant: the label with the largest mean probability; None where nothing was judged.
        probabilities: their means over the windows that were judged; None likewise.
    """

    channel: str
    windows: int
    inferred: int
    silent: int
    speech_share: float | None
    dominant: str | None
    probabilities: Probabilities | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A whole recording.

    Attributes:
        duration_s: seconds of audio that were heard.
        sample_rate: Hz at which they were heard.
        channels: those that were analysed.
    """

    duration_s: float
    sample_rate: int
    channels: tuple[ChannelSummary, ...]


class Count:
    """One channel's windows, as they come.

    Args:
        labels: in the order of the probabilities.
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._inferred = self._silent = 0
        self._sum: npt.NDArray[np.float64] = np.zeros(len(labels))
        self._speech_s = self._heard_s = 0.0

    def window(self, row: Row) -> None:
        """One more window."""
        if isinstance(row, Judged):
            self._inferred += 1
            self._sum += [row.probabilities[label] for label in self._labels]
        else:
            self._silent += 1

    def heard(self, seconds: float, speech_s: float) -> None:
        """So much more audio, and so much of it speech."""
        self._heard_s += seconds
        self._speech_s += speech_s

    def summary(self, channel: str) -> ChannelSummary:
        """All of it."""
        means = self._sum / self._inferred if self._inferred else None
        return ChannelSummary(
            channel=channel,
            windows=self._inferred + self._silent,
            inferred=self._inferred,
            silent=self._silent,
            speech_share=round(self._speech_s / self._heard_s, 4) if self._heard_s else None,
            dominant=None if means is None else self._labels[int(means.argmax())],
            probabilities=None
            if means is None
            else {name: round(float(p), 6) for name, p in zip(self._labels, means, strict=True)},
        )
