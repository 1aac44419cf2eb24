"""Any interleaving of what a driver may do with a session keeps its promises."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
import soxr
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from emotion.engine import Window
from emotion.errors import MessageError
from emotion.messages import Flushed, Silence, Summary, Warning
from emotion.session import MAX_FLUSHES
from tests.fakes import FakeMonitor, fake_engine, int16_bytes, new_session, restless

RATES = [8_000, 11_025, 16_000, 44_100]
AUDIO = {(rate, n): int16_bytes(restless(40, rate, n)) for rate in RATES for n in (1, 2)}


class Driver(RuleBasedStateMachine):
    """Feeds, flushes, stops, polls and finishes at random; `teardown` settles the account."""

    @initialize(
        rate=st.sampled_from(RATES),
        hop=st.sampled_from(["0.25", "0.3", "0.7", "1", "2.5"]),
        window=st.sampled_from([1.0, 2.5, 4.0]),
        channels=st.integers(1, 2),
        vad=st.booleans(),
        adapt=st.booleans(),
        may_skip=st.booleans(),
    )
    def start(self, rate, hop, window, channels, vad, adapt, may_skip):
        self.rate, self.hop, self.channels = rate, Fraction(Decimal(hop)), channels
        self.hop = min(self.hop, Fraction(window))
        self.names = ("a", "b")[:channels]
        self.engine = fake_engine()
        self.session = new_session(
            self.engine,
            may_skip=may_skip,
            sample_rate=rate,
            hop_s=float(self.hop),
            window_s=window,
            channels=self.names,
            analyze=self.names,
            vad=vad,
            adapt=adapt,
        )
        self.data, self.fed, self.now = AUDIO[rate, channels], 0, 0.0
        self.whole, self.since = 0, 0  # frames up to the last cut, bytes fed until then
        self.out, self.events, self.flushes, self.flushed = None, [], [], []
        self.warnings, self.extra, self.summary = [], 0, None
        self.grid_ends = {name: [] for name in self.names}

    @precondition(lambda self: not self.session.stopped)
    @rule(size=st.integers(0, 300_000) | st.integers(0, 700))
    def feed(self, size):
        piece = self.data[self.fed : self.fed + size]
        self.fed += len(piece)
        self.session.feed(piece, self.now)

    @precondition(lambda self: not self.session.stopped)
    @rule(seconds=st.floats(0.1, 3))
    def speak(self, seconds):
        """Feeds at the pace of speech."""
        self.now += seconds
        self.feed(round(seconds * self.rate) * 2 * self.channels)

    @precondition(lambda self: not self.session.stopped)
    @rule(samples=st.integers(1, 100_000))
    def gap(self, samples):
        self._cut(samples)
        self.session.gap(samples, self.now)

    @precondition(lambda self: not self.session.stopped)
    @rule()
    def resume(self):
        self._cut(0)
        self.session.resume()
        assert self.session.started(resumed=True).received_samples == self.whole

    def _cut(self, samples):
        """What is left of a split sample is lost here."""
        self.whole = self._frames() + samples
        self.since = self.fed

    def _frames(self):
        return self.whole + (self.fed - self.since) // (2 * self.channels)

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds):
        self.now += seconds

    @rule(seconds=st.floats(0, 2))
    def hold(self, seconds):
        self.now += seconds
        self.session.held(seconds)

    @precondition(lambda self: not self.session.stopped)
    @rule()
    def flush(self):
        name = f"flush {len(self.flushes)}"
        if len(self.flushes) - len(self.flushed) >= MAX_FLUSHES:
            with pytest.raises(MessageError):
                self.session.flush(name)
            return
        self.flushes.append(name)
        self.session.flush(name)

    @precondition(lambda self: not self.session.stopped)
    @rule(really=st.integers(0, 5))
    def stop(self, really):
        if really == 0:
            self.session.stop()

    @rule()
    def poll(self):
        ready, had_out = self.session.ready, self.out is not None
        item = self.session.poll(self.now)
        assert ready == (item is not None)
        if isinstance(item, Window):
            self._take(item)
        elif item is not None:
            assert not had_out and self.summary is None
            if isinstance(item, Flushed):
                self.flushed.append(item.id)
            elif isinstance(item, Summary):
                assert self.session.stopped
                self.summary = item
            else:
                assert isinstance(item, Warning)
                self.warnings.append(item)

    def _take(self, window):
        assert self.out is None
        self.out = window
        self.extra += window.extra
        samples = window.end - window.start
        assert len(window.pcm) == samples >= 8_000
        if window.track is not None:
            assert len(window.unheard) == window.end - window.track.position
        assert 0 <= window.received_at <= self.now
        if not window.extra:
            before = self.grid_ends[window.channel]
            assert not before or window.end > before[-1]
            before.append(window.end)

    @rule()
    def finish(self):
        if self.out is None:
            return
        event = self.session.finish(self.out, self.engine.judge(self.out), self.now)
        assert event.channel == self.out.channel
        assert event.end_s == round(self.out.end / 16_000, 6)
        assert event.latency_ms >= 0
        self.out = None
        self.events.append(event)

    @rule(times=st.integers(1, 20))
    def judge(self, times):
        for _ in range(times):
            self.poll()
            self.finish()

    @invariant()
    def nothing_old_is_kept(self):
        session = self.session
        kept = max(len(channel._audio) for channel in session._channels) / 32_000
        # Its unjudged audio, a window, and what voice activity is allowed to catch up on.
        assert kept <= session.unjudged_s + 4.0 + 2.5 + 10.1
        assert len(session._arrivals) <= session.unjudged_s / float(self.hop) + 2
        assert len(session._marks) <= MAX_FLUSHES + 1

    def teardown(self):
        if not hasattr(self, "session"):
            return
        if not self.session.stopped:
            self.session.stop()
        while self.summary is None:
            self.finish()
            self.poll()
        assert self.flushed == self.flushes
        assert [event.seq for event in self.events] == list(range(1, len(self.events) + 1))
        self._settle()

    def _settle(self):
        """Holds the summary against a count of windows from first principles."""
        frames = self._frames()
        total = len(soxr.resample(np.zeros(frames, np.float32), self.rate, 16_000))
        first, last = ceil(1 / self.hop), int(Fraction(total, 16_000) / self.hop)
        on_grid = max(0, last - first + 1)
        end = round(last * self.hop * 16_000) if on_grid else 0
        partial = total - end >= 8_000
        summary = self.summary
        expected = self.channels * (on_grid + partial) + self.extra
        assert summary.windows == expected
        assert summary.windows == summary.inferred + summary.silent + summary.skipped
        assert summary.inferred + summary.silent == len(self.events)
        assert summary.silent == sum(isinstance(event, Silence) for event in self.events)
        monitor = self.engine._monitor
        assert isinstance(monitor, FakeMonitor) and summary.inferred == monitor.runs
        assert summary.skipped == sum(warning.count or 0 for warning in self.warnings)
        assert summary.audio_s == round(frames / self.rate, 6)


TestDriver = Driver.TestCase
TestDriver.settings = settings(max_examples=60, stateful_step_count=30)
