"""One stream: bytes in, windows out; judgements in, events out. Time is passed in.

A session knows no socket, no thread and no clock. Whoever drives it repeats three steps:

    session.feed(data, now)                 bytes, in any portions
    item = session.poll(now)                what is to be done next: a window to judge, a reply to send
    event = session.finish(window, judgement, now)

At most one window is out at a time, and replies come in order between them, so an event depends only on
the audio before it: however it was cut, however fast it came.

A window ends at every e = k x hop from 1 s on and covers [max(0, e - window), e]. Each window of each
analysed channel becomes exactly one of `emotion`, `silence` or a count in `skipped`.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from math import ceil
from typing import Final

import numpy as np

from emotion.adapt import Baseline
from emotion.audio import Decoder, Pcm, Resampler, Samples, to_pcm
from emotion.contract import SAMPLE_RATE, Contract
from emotion.engine import Judgement, Window
from emotion.errors import MessageError
from emotion.messages import (
    Emotion,
    Event,
    Flushed,
    Limits,
    Model,
    Probabilities,
    Silence,
    Smoothed,
    Start,
    Started,
    Summary,
    Warning,
)
from emotion.smoothing import HALF_LIFE_S, Smoothing
from emotion.vad import VoiceTrack

FIRST_WINDOW_S: Final = 1.0  # less says too little
MIN_PARTIAL: Final = SAMPLE_RATE // 2  # samples that must be new for a partial window at the end
AHEAD_TOLERANCE_S: Final = 2.0
"""How far audio may run ahead of the clock and still count as live: clients send portions."""
MAX_WAIT_S: Final = 1.0
"""A live session's window that waited longer gives way to a newer one."""
MAX_CATCH_UP: Final = (
    10 * SAMPLE_RATE
)  # samples of skipped audio that voice activity still listens to

_PCM_BYTES: Final = 2

Reply = Flushed | Summary | Warning


@dataclass
class _Channel:
    """An analysed channel: its audio still needed, and what has been learnt of it."""

    name: str
    column: int
    track: VoiceTrack | None
    baseline: Baseline | None
    audio: bytearray = field(default_factory=bytearray)
    smoothing: Smoothing = field(default_factory=Smoothing)
    counted: int = 0
    votes: np.ndarray[tuple[int], np.dtype[np.float64]] = field(default_factory=lambda: np.zeros(8))


@dataclass
class _Mark:
    """A `flush` or a `stop`, at the sample where it was said."""

    position: int
    flush_id: str | None  # None for `stop`
    windows: deque[Window] | None = None  # made when the mark's turn comes


class Session:
    """One stream's state.

    Args:
        start: the stream's configuration, checked.
        contract: of the model that judges.
        prior: the statistics that channels adapt from; None where the model cannot adapt.
        session_id: unguessable, given by the caller.
        may_skip: whether windows may be skipped when whoever judges falls behind live audio.

    Raises:
        MessageError: `unsupported`: the stream asks to adapt and the model cannot.
    """

    def __init__(
        self,
        start: Start,
        contract: Contract,
        prior: Baseline | None = None,
        *,
        session_id: str,
        may_skip: bool = True,
    ) -> None:
        if start.adapt and prior is None:
            raise MessageError(
                "unsupported",
                f"start: adapt is true, but the model '{contract.name}' cannot adapt: "
                "its classifier knows no statistics; start with adapt false",
            )
        self.id = session_id
        self.stream_id = start.stream_id or session_id
        self._start = start
        self._labels = contract.labels
        self._model = Model(name=contract.name, version=contract.version, labels=contract.labels)
        self._may_skip = may_skip
        self._decoder = Decoder(start.encoding, len(start.channels))
        self._channels = [
            _Channel(
                name,
                start.channels.index(name),
                VoiceTrack.begin() if start.vad else None,
                prior if start.adapt else None,
            )
            for name in start.analyzed
        ]
        self._columns = [channel.column for channel in self._channels]
        self._resampler = Resampler(start.sample_rate, len(self._channels))
        self._origin = 0  # of the audio kept, in samples at 16 kHz
        self._available = 0  # samples that have left the resampler
        self._first = ceil(FIRST_WINDOW_S / start.hop_s - 1e-9)
        self._next = (self._first, 0)  # the next window on the grid: (k, index of the channel)
        self._arrivals: deque[float] = deque()  # for each grid end received, from `_next` on, when
        self._arrived = self._first  # the first grid end not received yet
        self._marks: deque[_Mark] = deque()
        self._flushed_to = 0
        self._notices: deque[Warning] = deque()
        self._out: Window | None = None
        self._began_at: float | None = None
        self._held_s = 0.0
        self._received_at = 0.0
        self._told_too_fast = False
        self._stopped = False
        self._seq = 0
        self._counts: Counter[str] = Counter()
        self.closed = False  # whether the summary has been handed out

    # --- what the driver says ---

    def feed(self, data: bytes | bytearray | memoryview, now: float) -> None:
        """Hears more audio; large portions are better given in slices, the work is done here.

        Args:
            data: bytes in the stream's encoding, also 0, also ones that split a sample.
            now: seconds of a monotonic clock.

        Raises:
            AudioError: a sample is not finite; the session still answers for what came before.
            MessageError: audio after `stop`.
        """
        self._refuse_after_stop("audio")
        if self._began_at is None:
            self._began_at = now
        self._received_at = now
        samples = self._decoder.feed(data)
        while self._grid_end(self._arrived) <= self.audio_s * SAMPLE_RATE:
            self._arrivals.append(now)
            self._arrived += 1
        self._hear(samples[:, self._columns], last=False)

    def flush(self, flush_id: str) -> None:
        """Asks for the results of all that has left the resampler, then `Flushed` with the same id.

        Raises:
            MessageError: after `stop`.
        """
        self._refuse_after_stop("flush")
        self._marks.append(_Mark(self._available, flush_id))

    def stop(self) -> None:
        """No more audio: asks for what is left and the summary.

        Raises:
            MessageError: after `stop`.
        """
        self._refuse_after_stop("stop")
        self._stopped = True
        if self._decoder.rest:
            self._notices.append(_incomplete(self._decoder.rest))
        self._hear(np.zeros((0, len(self._channels)), np.float32), last=True)
        self._marks.append(_Mark(self._available, None))

    def held(self, seconds: float) -> None:
        """The driver did not read for so long: the stream's clock stood still meanwhile."""
        self._held_s += seconds

    def poll(self, now: float) -> Window | Reply | None:
        """What is to be done next; None while a window is out and when there is nothing to do."""
        if self._out is not None or self.closed:
            return None
        if self._notices:
            return self._notices.popleft()
        if self._due():
            return self._notice(now) or self._issue(self._grid_window())
        return self._answer(self._marks[0]) if self._marks else None

    def finish(self, window: Window, judgement: Judgement, now: float) -> Event:
        """Turns the judgement of the window that is out into its event.

        Raises:
            ValueError: that window is not out.
        """
        if window is not self._out:
            raise ValueError("finish: this window is not out")
        self._out = None
        channel = next(c for c in self._channels if c.name == window.channel)
        self._counts["windows"] += 1
        self._seq += 1
        latency_ms = round((now - window.received_at) * 1000, 1)
        if judgement.probabilities is None:
            event: Event = self._silence(window, judgement.speech_ratio or 0.0, latency_ms)
            smoothing = channel.smoothing
        else:
            smoothing = channel.smoothing.including(
                judgement.probabilities, window.end / SAMPLE_RATE
            )
            event = self._emotion(window, judgement, smoothing, latency_ms)
        if not window.extra:
            self._remember(channel, window, judgement, smoothing)
        self._trim()
        return event

    # --- what the driver may ask ---

    @property
    def ready(self) -> bool:
        """Whether `poll` has something to hand out."""
        if self._out is not None or self.closed:
            return False
        return bool(self._notices or self._marks) or self._due()

    @property
    def audio_s(self) -> float:
        """Seconds of audio received."""
        return self._decoder.frames / self._start.sample_rate

    @property
    def unjudged_s(self) -> float:
        """Seconds of audio at 16 kHz that wait for their windows to be handed out."""
        return max(0, self._available - self._last_grid_end()) / SAMPLE_RATE

    def ahead_s(self, now: float) -> float:
        """How far the audio received runs ahead of the clock; negative where it lags behind."""
        if self._began_at is None:
            return 0.0
        return self.audio_s - (now - self._began_at - self._held_s)

    def live(self, now: float) -> bool:
        """Whether audio comes no faster than it is spoken."""
        return self.ahead_s(now) <= AHEAD_TOLERANCE_S

    def started(self, limits: Limits | None = None) -> Started:
        """The acknowledgement: the configuration in effect."""
        start = self._start
        return Started(
            session_id=self.id,
            stream_id=self.stream_id,
            encoding=start.encoding,
            sample_rate=start.sample_rate,
            channels=start.channels,
            analyze=start.analyzed,
            window_s=start.window_s,
            hop_s=start.hop_s,
            vad=start.vad,
            adapt=start.adapt,
            metadata=start.metadata,
            smoothing_half_life_s=HALF_LIFE_S,
            model=self._model,
            limits=limits or Limits(),
        )

    # --- the grid ---

    def _grid_end(self, k: int) -> int:
        return round(k * self._start.hop_s * SAMPLE_RATE)

    def _begin_of(self, end: int) -> int:
        return max(0, end - round(self._start.window_s * SAMPLE_RATE))

    def _last_grid_end(self) -> int:
        k = self._next[0]
        return self._grid_end(k - 1) if k > self._first else 0

    def _due(self) -> bool:
        """Whether the next window on the grid is complete and comes before the next mark."""
        limit = self._marks[0].position if self._marks else self._available
        return self._grid_end(self._next[0]) <= limit

    def _advance(self) -> None:
        k, index = self._next
        if index + 1 < len(self._channels):
            self._next = (k, index + 1)
            return
        self._next = (k + 1, 0)
        self._arrivals.popleft()

    def _grid_window(self) -> Window:
        k, index = self._next
        window = self._window(index, self._grid_end(k), extra=False, received_at=self._arrivals[0])
        self._advance()
        return window

    def _notice(self, now: float) -> Warning | None:
        """Before a window goes out: skips what a live session cannot wait for, tells who is too fast."""
        if self.live(now):
            return self._skip(now) if self._may_skip and not self._marks else None
        if self._told_too_fast or not self._may_skip:
            return None
        self._told_too_fast = True
        return Warning(
            code="too_fast",
            message="audio comes faster than real time: nothing is dropped, "
            "it is read as fast as it can be judged, and live streams go first",
        )

    def _skip(self, now: float) -> Warning | None:
        """Skips to the newest complete window where the next one has waited too long."""
        if now - self._arrivals[0] <= MAX_WAIT_S:
            return None
        skipped = 0
        while self._grid_end(self._next[0] + 1) <= self._available:
            self._advance()
            skipped += 1
        if not skipped:
            return None
        self._counts["windows"] += skipped
        self._counts["skipped"] += skipped
        return Warning(
            code="skipped_windows",
            message=f"the server fell behind: {skipped} windows were skipped for newer ones",
            count=skipped,
        )

    # --- marks ---

    def _answer(self, mark: _Mark) -> Window | Reply:
        """The next of a mark's windows, or what answers it."""
        if mark.windows is None:
            mark.windows = deque(self._mark_windows(mark))
        if mark.windows:
            return self._issue(mark.windows.popleft())
        self._marks.popleft()
        if mark.flush_id is not None:
            self._flushed_to = mark.position
            return Flushed(id=mark.flush_id)
        self.closed = True
        return self._summary()

    def _mark_windows(self, mark: _Mark) -> list[Window]:
        """One window a channel that ends at the mark, where it has something new to say."""
        end, new = mark.position, mark.position - self._last_grid_end()
        if mark.flush_id is None:
            wanted = new >= MIN_PARTIAL
        else:
            wanted = new > 0 and end > self._flushed_to and end >= MIN_PARTIAL
        extra = mark.flush_id is not None
        indices = range(len(self._channels)) if wanted else ()
        return [self._window(i, end, extra=extra, received_at=self._received_at) for i in indices]

    # --- audio ---

    def _hear(self, samples: Samples, last: bool) -> None:
        pcm = to_pcm(self._resampler.feed(samples, last))
        for index, channel in enumerate(self._channels):
            channel.audio += pcm[:, index].tobytes()
        self._available += len(pcm)
        self._trim()

    def _window(self, index: int, end: int, extra: bool, received_at: float) -> Window:
        channel, start = self._channels[index], self._begin_of(end)
        track = channel.track
        return Window(
            channel=channel.name,
            start=start,
            end=end,
            pcm=self._slice(channel, start, end),
            extra=extra,
            received_at=received_at,
            track=track,
            unheard=self._slice(channel, track.position if track else end, end),
            baseline=channel.baseline,
            counted=channel.counted,
        )

    def _issue(self, window: Window) -> Window:
        self._out = window
        return window

    def _slice(self, channel: _Channel, start: int, end: int) -> Pcm:
        first, last = (_PCM_BYTES * (position - self._origin) for position in (start, end))
        return np.frombuffer(bytes(channel.audio[first:last]), np.int16)

    def _trim(self) -> None:
        """Forgets audio that no window can need any more."""
        ends = [self._grid_end(self._next[0]), self._available]
        ends += [mark.position for mark in self._marks]
        if self._out is not None:
            ends.append(self._out.end)
        needed = self._begin_of(min(ends))
        for channel in self._channels:
            track = channel.track
            if track is not None and needed - track.position > MAX_CATCH_UP:
                channel.track = VoiceTrack.begin(needed)
        tracks = [channel.track.position for channel in self._channels if channel.track is not None]
        needed = min([needed, *tracks])
        for channel in self._channels:
            del channel.audio[: _PCM_BYTES * (needed - self._origin)]
        self._origin = needed

    # --- events ---

    def _remember(
        self, channel: _Channel, window: Window, judgement: Judgement, smoothing: Smoothing
    ) -> None:
        if window.track is channel.track:  # it was not restarted meanwhile
            channel.track = judgement.track
        channel.smoothing = smoothing
        if judgement.probabilities is not None:
            channel.votes += judgement.probabilities
            channel.baseline = judgement.baseline
            channel.counted = window.end

    def _emotion(
        self, window: Window, judgement: Judgement, smoothing: Smoothing, latency_ms: float
    ) -> Emotion:
        assert judgement.probabilities is not None and smoothing.probabilities is not None
        self._counts["inferred"] += 1
        label, probabilities = self._named(judgement.probabilities)
        smooth_label, smooth = self._named(smoothing.probabilities)
        ratio = judgement.speech_ratio
        return Emotion(
            id=f"{self.id}:{self._seq}",
            seq=self._seq,
            stream_id=self.stream_id,
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
            id=f"{self.id}:{self._seq}",
            seq=self._seq,
            stream_id=self.stream_id,
            channel=window.channel,
            start_s=_seconds(window.start),
            end_s=_seconds(window.end),
            speech_ratio=round(ratio, 4),
            latency_ms=latency_ms,
        )

    def _named(
        self, values: np.ndarray[tuple[int], np.dtype[np.float32]]
    ) -> tuple[str, Probabilities]:
        named = {name: round(float(p), 6) for name, p in zip(self._labels, values, strict=True)}
        return self._labels[int(np.argmax(values))], named

    def _summary(self) -> Summary:
        dominant = {
            channel.name: self._labels[int(channel.votes.argmax())] if channel.votes.any() else None
            for channel in self._channels
        }
        counts = {name: self._counts[name] for name in ("windows", "inferred", "silent", "skipped")}
        return Summary(audio_s=round(self.audio_s, 6), dominant=dominant, **counts)

    def _refuse_after_stop(self, what: str) -> None:
        if self._stopped:
            raise MessageError("bad_message", f"{what} after stop: open a new stream")


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE, 6)


def _incomplete(count: int) -> Warning:
    return Warning(
        code="incomplete_sample",
        message=f"the audio ends within a sample: {count} bytes were left over; "
        "check the declared encoding and number of channels",
    )
