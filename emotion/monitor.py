"""The Python API: samples in, events out.

from emotion import Monitor

monitor = Monitor(sample_rate=48_000)
for event in monitor.feed(samples):
    print(event.end_s, event.label, event.confidence)
*rest, summary = monitor.finish()
"""

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from emotion.audio import from_pcm
from emotion.engine import Device, Engine, Window, load_engine
from emotion.errors import AudioError
from emotion.messages import Event, Flushed, Summary, Warning
from emotion.parsing import start_from
from emotion.session import Session

MAX_PEAK = 8.0
"""Of float samples. Loud ones may pass 1 and are clipped; what passes this is no sound from -1 to 1, but
integers that were cast and not divided."""
SLICE_S = 10.0  # fed at a time, so that an hour's array does not stand in memory twice


def judged(session: Session, engine: Engine) -> Iterator[Event | Flushed | Summary | Warning]:
    """Judges, in this thread, all that the session has to hand out, and yields what comes of it."""
    while (item := session.poll(time.monotonic())) is not None:
        if isinstance(item, Window):
            yield session.finish(item, engine.judge(item), time.monotonic())
        else:
            yield item


class Monitor:
    """Judges one stream of samples in the calling thread.

    Args:
        model: an `Engine` to share between monitors, a model folder, or None for the embedded model.
        sample_rate: Hz of the samples, 8,000 to 48,000.
        channels: names of the columns.
        analyze: which of them are analysed; as in `messages.Start` where None.
        window_s: seconds a window covers, 1 to 10.
        hop_s: seconds from window to window, 0.25 to `window_s`.
        vad: whether windows with too little speech are reported as silence and not judged.
        adapt: whether each channel's own baseline is learnt; where None, if the model can.
        device: `auto`, `cpu` or `cuda`, where `model` is not an `Engine`.

    Raises:
        ModelError: the model cannot be loaded.
        MessageError: a setting is out of range, or the model cannot do that.
    """

    def __init__(
        self,
        model: Engine | Path | str | None = None,
        *,
        sample_rate: int = 16_000,
        channels: tuple[str, ...] = ("mono",),
        analyze: tuple[str, ...] | None = None,
        window_s: float = 3.0,
        hop_s: float = 1.0,
        vad: bool = True,
        adapt: bool | None = None,
        device: Device = "auto",
    ) -> None:
        start = start_from(
            encoding="pcm_f32le",
            sample_rate=sample_rate,
            channels=channels,
            analyze=analyze,
            window_s=window_s,
            hop_s=hop_s,
            vad=vad,
            adapt=adapt,
        )
        path = Path(model) if isinstance(model, str) else model
        self._engine = path if isinstance(path, Engine) else load_engine(path, device)
        self._width, self._slice = len(channels), round(SLICE_S * sample_rate)
        self._session = Session(
            start,
            self._engine.contract,
            self._engine.prior(),
            session_id=uuid4().hex,
            may_skip=False,
        )

    def feed(self, samples: npt.NDArray[np.generic]) -> list[Event]:
        """Hears more samples and judges every window that they complete.

        Args:
            samples: float32 or float64, -1 to 1, or int16: [n] for one channel, else [n, channels].

        Raises:
            AudioError: another type or shape, floats far outside -1 to 1, or a sample that is not
                finite. Of samples of another type, shape or range nothing has been heard.
        """
        array = _checked(samples, self._width)
        events: list[Event] = []
        for first in range(0, len(array), self._slice):
            part = _floats(array[first : first + self._slice])
            self._session.feed(part.tobytes(), time.monotonic())
            events += self._events()
        return events

    def flush(self) -> list[Event]:
        """Judges what has been heard since the last window, without moving the grid."""
        self._session.flush("")
        return self._events()

    def finish(self) -> list[Event | Summary]:
        """Judges what is left; the summary is the last element. The monitor is used up."""
        self._session.stop()
        items = judged(self._session, self._engine)
        return [item for item in items if not isinstance(item, Flushed | Warning)]

    def _events(self) -> list[Event]:
        items = judged(self._session, self._engine)
        return [item for item in items if not isinstance(item, Flushed | Warning | Summary)]


def _checked(samples: npt.NDArray[np.generic], width: int) -> npt.NDArray[np.generic]:
    """Samples of a known type as [n, width]."""
    array = np.asarray(samples)
    if array.dtype not in (np.int16, np.float32, np.float64):
        raise AudioError(f"samples of type {array.dtype}: expected float32, float64 or int16")
    if array.ndim == 1 and width == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or array.shape[1] != width:
        expected = "[n]" if width == 1 else f"[n, {width}]"
        raise AudioError(f"samples of shape {list(array.shape)}: expected {expected}")
    if array.dtype != np.int16 and array.size:
        _check_peak(max(float(array.max()), -float(array.min())), array.dtype)
    return array


def _check_peak(peak: float, kind: np.dtype[np.generic]) -> None:
    """
    Raises:
        AudioError: float32 can hold it, and it is too much for floats from -1 to 1.
    """
    if MAX_PEAK < peak <= float(np.finfo(np.float32).max):  # beyond it is refused as infinite
        raise AudioError(
            f"{kind} samples up to {peak:g}: expected -1 to 1; divide int16 by 32768, or pass int16"
        )


def _floats(array: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Samples as little-endian float32, -1 to 1."""
    if array.dtype == np.int16:
        return from_pcm(array.astype(np.int16))
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused as infinite
        return array.astype("<f4")
