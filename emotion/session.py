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

from collections import deque
from dataclasses import dataclass
from typing import Final

from emotion.adapt import Baseline
from emotion.audio import Pcm
from emotion.channel import Channel
from emotion.contract import SAMPLE_RATE, SHORTEST_WINDOW, Contract
from emotion.engine import Judgement, Window
from emotion.errors import MessageError
from emotion.grid import Grid
from emotion.hearing import Hearing
from emotion.messages import (
    MAX_GAP_S,
    Event,
    Flushed,
    Limits,
    Model,
    Start,
    Started,
    Summary,
    Warning,
)
from emotion.report import Report, incomplete_sample, too_fast
from emotion.requirements import adapts, check_requirements
from emotion.smoothing import HALF_LIFE_S
from emotion.vad import VoiceTrack

MIN_PARTIAL: Final = SHORTEST_WINDOW
"""Samples that must be new for a partial window at the end."""
AHEAD_TOLERANCE_S: Final = 2.0  # audio may be so early and still be live: it comes in portions
CLOCK_DRIFT: Final = 1e-3
"""By which a sender's clock may be faster and its audio still be live, for ever: sound cards are some
100 ppm off."""
MAX_WAIT_S: Final = 1.0  # a live session's window that waited longer gives way to a newer one
MAX_FLUSHES: Final = 32  # that may wait for their answer; who sends more is refused

Reply = Flushed | Summary | Warning


@dataclass
class _Mark:
    """A `flush` or a `stop`, at the sample where it was said."""

    position: int
    received_at: float  # of the audio before it
    flush_id: str | None  # None for `stop`
    issued: int = 0  # windows handed out for it, one a channel


class Session:
    """One stream's state.

    Args:
        start: the stream's configuration, checked.
        contract: of the model that judges.
        prior: the statistics that channels adapt from; None where the model cannot adapt.
        session_id: unguessable, given by the caller.
        may_skip: whether windows may be skipped when whoever judges falls behind live audio.

    Attributes:
        id: the session's id.
        stream_id: the client's name for the stream, or the session's id.
        stopped: whether `stop` was said.
        closed: whether the summary has been handed out.

    Raises:
        MessageError: `unsupported`: the stream asks to adapt and the model cannot, or for a longer
            window than the model takes.
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
        check_requirements(start, contract, prior)
        self.id = session_id
        self.stream_id = start.stream_id or session_id
        self.stopped = False
        self.closed = False
        self._start = start
        self._model = Model(name=contract.name, version=contract.version, labels=contract.labels)
        self._may_skip = may_skip
        self._report = Report(self.id, self.stream_id, contract.labels)
        self._hearing = Hearing(start)
        self._adapts = adapts(start, prior)
        baseline = prior if self._adapts else None
        track = VoiceTrack.begin() if start.vad else None
        self._channels = [Channel(name, track, baseline) for name in start.analyzed]
        self._grid = Grid(start.window_s, start.hop_s)
        self._next = (self._grid.first, 0)  # the next window: (k, index of the channel)
        self._arrivals: deque[float] = deque()  # when each window's end came, from `_next` on
        self._arrived = self._grid.first  # the first window whose end has not come yet
        self._must_judge = 0  # windows before this one came faster than real time
        self._marks: deque[_Mark] = deque()
        self._flushed_to = 0
        self._notices: deque[Warning] = deque()
        self._out: Window | None = None
        self._began_at: float | None = None
        self._held_s = 0.0
        self._received_at = 0.0
        self._told_too_fast = False

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
        self._received(now)
        if self._hearing.keep(data) or self._hurries():
            self._hear(self._hearing.take())
            self._note_pace(now)

    def gap(self, samples: int, now: float) -> None:
        """Hears silence in the place of audio that was lost.

        Args:
            samples: how many of each channel, at the stream's rate.
            now: seconds of a monotonic clock.

        Raises:
            MessageError: longer than `MAX_GAP_S`, or after `stop`.
        """
        self._refuse_after_stop("gap")
        longest = round(MAX_GAP_S * self._start.sample_rate)
        if samples > longest:
            raise MessageError(
                "bad_message", f"gap: {samples} samples: expected at most {longest} at a time"
            )
        self._received(now)
        self._hear(self._hearing.gap(samples))
        self._note_pace(now)

    def resume(self) -> None:
        """Another connection goes on from the last whole sample."""
        self._hearing.forget_rest()

    def flush(self, flush_id: str) -> None:
        """Asks for the results of all that has left the resampler, then `Flushed` with the same id.

        Raises:
            MessageError: after `stop`, or while `MAX_FLUSHES` others wait for their answer.
        """
        self._refuse_after_stop("flush")
        if len(self._marks) >= MAX_FLUSHES:
            raise MessageError(
                "bad_message",
                f"flush: {MAX_FLUSHES} are unanswered; wait for flushed before the next",
            )
        self._hear(self._hearing.take())
        self._marks.append(_Mark(self._hearing.available, self._received_at, flush_id))

    def stop(self) -> None:
        """No more audio: asks for what is left and the summary.

        Raises:
            MessageError: after `stop`.
        """
        self._refuse_after_stop("stop")
        self.stopped = True
        if self._hearing.rest:
            self._notices.append(incomplete_sample(self._hearing.rest))
        self._hear(self._hearing.take(last=True))
        self._marks.append(_Mark(self._hearing.available, self._received_at, None))

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
        latency_ms = round((now - window.received_at) * 1000, 1)
        smoothing = channel.smoothed(window, judgement)
        event = self._report.event(window, judgement, smoothing, latency_ms)
        if not window.extra:
            channel.remember(window, judgement)
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
        return self._hearing.seconds

    @property
    def unjudged_s(self) -> float:
        """Seconds of audio at 16 kHz that wait for their windows to be handed out."""
        return max(0, self._hearing.available - self._last_grid_end()) / SAMPLE_RATE

    def ahead_s(self, now: float) -> float:
        """How far the audio received runs ahead of the clock; negative where it lags behind."""
        if self._began_at is None:
            return 0.0
        return self.audio_s - (now - self._began_at - self._held_s)

    def live(self, now: float) -> bool:
        """Whether audio comes no faster than it is spoken."""
        return self.ahead_s(now) <= AHEAD_TOLERANCE_S + CLOCK_DRIFT * self.audio_s

    def started(self, limits: Limits | None = None, *, resumed: bool = False) -> Started:
        """The acknowledgement: the configuration in effect."""
        start = self._start
        return Started(
            id=f"{self.id}:0",
            resumed=resumed,
            received_samples=self._hearing.frames,
            session_id=self.id,
            stream_id=self.stream_id,
            encoding=start.encoding,
            sample_rate=start.sample_rate,
            channels=start.channels,
            analyze=start.analyzed,
            window_s=start.window_s,
            hop_s=start.hop_s,
            vad=start.vad,
            adapt=self._adapts,
            metadata=start.metadata,
            smoothing_half_life_s=HALF_LIFE_S,
            model=self._model,
            limits=limits or Limits(),
        )

    def summary(self) -> Summary:
        """What has been judged so far."""
        return self._report.summary(self.audio_s, self._channels)

    # --- the grid ---

    def _last_grid_end(self) -> int:
        """Where the last window handed out on the grid ended."""
        return self._grid.end_before(self._next[0])

    def _due(self) -> bool:
        """Whether the next window on the grid is complete and comes before the next mark."""
        limit = self._marks[0].position if self._marks else self._hearing.available
        return self._grid.end(self._next[0]) <= limit

    def _advance(self) -> None:
        k, index = self._next
        if index + 1 < len(self._channels):
            self._next = (k, index + 1)
            return
        self._next = (k + 1, 0)
        self._arrivals.popleft()

    def _grid_window(self) -> Window:
        k, index = self._next
        window = self._window(index, self._grid.end(k), extra=False, received_at=self._arrivals[0])
        self._advance()
        return window

    def _notice(self, now: float) -> Warning | None:
        """Before a window goes out: skips what a live session cannot wait for, tells who is too fast."""
        if not self._may_skip:
            return None
        if self.live(now):
            return None if self._marks else self._skip(now)
        if self._told_too_fast:
            return None
        self._told_too_fast = True
        return too_fast()

    def _skip(self, now: float) -> Warning | None:
        """Skips to the newest complete window where the next one has waited too long."""
        if self._next[0] < self._must_judge or now - self._arrivals[0] <= MAX_WAIT_S:
            return None
        skipped = 0
        while self._grid.end(self._next[0] + 1) <= self._hearing.available:
            self._advance()
            skipped += 1
        return self._report.skipped(skipped) if skipped else None

    # --- marks ---

    def _answer(self, mark: _Mark) -> Window | Reply:
        """The next of a mark's windows, one a channel, or what answers it."""
        if mark.issued < len(self._channels) and self._has_news(mark):
            mark.issued += 1
            extra = mark.flush_id is not None
            return self._issue(
                self._window(mark.issued - 1, mark.position, extra, mark.received_at)
            )
        self._marks.popleft()
        if mark.flush_id is not None:
            self._flushed_to = mark.position
            return Flushed(id=mark.flush_id)
        self.closed = True
        return self.summary()

    def _has_news(self, mark: _Mark) -> bool:
        """Whether the mark gets windows of its own, beside those on the grid."""
        new = mark.position - self._last_grid_end()
        if mark.flush_id is None:
            return new >= MIN_PARTIAL
        return new > 0 and mark.position > self._flushed_to and mark.position >= MIN_PARTIAL

    # --- audio ---

    def _received(self, now: float) -> None:
        if self._began_at is None:
            self._began_at = now
        self._received_at = now

    def _note_pace(self, now: float) -> None:
        if not self.live(now):
            self._must_judge = self._arrived

    def _hurries(self) -> bool:
        """Whether the last sample of a window has come and has not left the resampler."""
        resampling = self._grid.end_before(self._arrived) > self._hearing.available
        return resampling or self._grid.end(self._arrived) <= self._hearing.reached

    def _hear(self, pcm: Pcm) -> None:
        for index, channel in enumerate(self._channels):
            channel.hear(pcm[:, index])
        # A window's last sample has come before the resampler lets go of it.
        while self._grid.end(self._arrived) <= self._hearing.reached:
            self._arrivals.append(self._received_at)
            self._arrived += 1
        self._trim()

    def _window(self, index: int, end: int, extra: bool, received_at: float) -> Window:
        begin = self._grid.begin(end)
        return self._channels[index].window(begin, end, extra=extra, received_at=received_at)

    def _issue(self, window: Window) -> Window:
        self._out = window
        return window

    def _trim(self) -> None:
        """Forgets audio that no window can need any more."""
        end = min(self._grid.end(self._next[0]), self._hearing.available)
        if self._marks:
            end = min(end, self._marks[0].position)
        needed = self._grid.begin(end)
        for channel in self._channels:
            if self._out is None:  # otherwise its judgement is about to bring the track forward
                channel.restart_voice(needed)
            channel.forget(needed)

    def _refuse_after_stop(self, what: str) -> None:
        if self.stopped:
            raise MessageError("bad_message", f"{what} after stop: open a new stream")
