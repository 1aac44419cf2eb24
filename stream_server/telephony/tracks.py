"""Frames of one or two tracks, put in order and side by side.

Frames carry a number and a time. They may come out of order, twice, late or not at all, of any length,
and two tracks run independently. What leaves is one stream whose times are true: what is missing from
one track is silence, what is missing from all of them is a gap.

The numbers decide on order and duplicates, the times on where a frame belongs, so both may count per
track or over all tracks.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from emotion.messages import MAX_GAP_S, Gap
from stream_server.dialect import Audio
from stream_server.telephony.fields import bad

RATE: Final = 8000  # Hz, one byte a sample: mu-law or A-law
REORDER: Final = RATE // 5
"""Samples (200 ms) of later frames that wait for a missing one, beside the longest frame."""
MAX_HELD_FRAMES: Final = 100
"""Of one track that wait for a missing one, however short they are."""
ALIGN: Final = RATE // 2
"""Samples (500 ms) by which one track may run ahead before the other's absence is silence."""
SLIP: Final = RATE // 200
"""Samples (5 ms) between a frame and the last one's end that are no hole: times are whole ms."""
MAX_LEAD: Final = 10 * RATE
"""Samples (10 s) before the first frame; one that starts later counts from something else."""
MAX_HOLE_S: Final = 3600.0
"""Seconds without any audio that a time may claim."""
MAX_FRAME: Final = 2 * RATE
"""Samples in one frame."""

Heard = Audio | Gap


@dataclass
class Span:
    """Uninterrupted audio of one track; `start` counts samples from the stream's start."""

    start: int
    data: bytearray

    @property
    def end(self) -> int:
        return self.start + len(self.data)


class Track:
    """One track: frames in any order in, spans in order out."""

    def __init__(self) -> None:
        self.end = 0  # of what is in order
        self.dropped = 0  # frames that came twice or too late
        self._longest = 0
        self._last: int | None = None  # number of the last frame in order
        self._numbers: list[int] = []  # a heap: those that wait
        self._waiting: dict[int, tuple[int, bytes]] = {}
        self._samples = 0  # that wait
        self._spans: deque[Span] = deque()

    @property
    def patience(self) -> int:
        """Samples to be waited for this track where another is ahead."""
        return ALIGN + self._longest

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self._samples + sum(len(span.data) for span in self._spans)

    def hear(self, number: int, position: int, data: bytes) -> None:
        """Takes a frame whose first sample is at `position`."""
        if number in self._waiting or (self._last is not None and number <= self._last):
            self.dropped += 1
            return
        heapq.heappush(self._numbers, number)
        self._waiting[number] = (position, data)
        self._samples += len(data)
        self._longest = max(self._longest, len(data))
        while self._numbers and (self._follows(self._numbers[0]) or self._full()):
            self._accept()

    def finish(self) -> None:
        """No more frames: none is waited for."""
        while self._numbers:
            self._accept()

    def audible(self, position: int) -> Span | None:
        """The first span that ends after a position; what ends before is forgotten."""
        while self._spans and self._spans[0].end <= position:
            self._spans.popleft()
        return self._spans[0] if self._spans else None

    def take(self, start: int, stop: int, silence: int) -> bytes:
        """Samples [start, stop), with silence where there are none."""
        data = bytearray([silence]) * (stop - start)
        while (span := self.audible(start)) is not None and span.start < stop:
            begin, end = max(span.start, start), min(span.end, stop)
            data[begin - start : end - start] = span.data[begin - span.start : end - span.start]
            if span.end > stop:
                del span.data[: stop - span.start]
                span.start = stop
                break
            self._spans.popleft()
        return bytes(data)

    def _follows(self, number: int) -> bool:
        """Whether nothing can be missing before a frame."""
        if self._last is None:
            return number == 1
        return number == self._last + 1 or self._waiting[number][0] <= self.end + SLIP

    def _full(self) -> bool:
        return self._samples > REORDER + self._longest or len(self._numbers) > MAX_HELD_FRAMES

    def _accept(self) -> None:
        """Puts the lowest frame that waits behind what is in order."""
        number = heapq.heappop(self._numbers)
        position, data = self._waiting.pop(number)
        self._samples -= len(data)
        self._last = number
        start = position if position > self.end + SLIP else self.end
        self.end = start + len(data)
        if self._spans and self._spans[-1].end == start:
            self._spans[-1].data += data
        elif data:
            self._spans.append(Span(start, bytearray(data)))


class Tracks:
    """One or two tracks as one interleaved stream.

    Args:
        count: of tracks, that is of channels in the stream.
        silence: the byte for a silent sample.
    """

    def __init__(self, count: int, silence: int) -> None:
        self._tracks = [Track() for _ in range(count)]
        self._silence = silence
        self._origin: int | None = None
        self._position = 0  # of the next sample to leave

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return sum(track.held for track in self._tracks)

    @property
    def dropped(self) -> int:
        """Frames that came twice or too late."""
        return sum(track.dropped for track in self._tracks)

    def hear(self, index: int, number: int, ms: int, data: bytes) -> list[Heard]:
        """What can leave after one more frame.

        Args:
            index: of its track.
            number: rises from frame to frame.
            ms: its time.
            data: one byte a sample.

        Raises:
            MessageError: it is too long, or its time is too far ahead; it is left out.
        """
        if len(data) > MAX_FRAME:
            raise bad(f"media.payload: {len(data)} bytes: expected at most {MAX_FRAME}")
        position = ms * RATE // 1000
        if self._origin is None:
            self._origin = 0 if position <= MAX_LEAD else position
        position -= self._origin
        ahead = (position - max(track.end for track in self._tracks)) / RATE
        if ahead > MAX_HOLE_S:
            raise bad(
                f"media.timestamp: {ahead:.0f} s after the audio before it: "
                f"expected at most {MAX_HOLE_S:.0f} s"
            )
        self._tracks[index].hear(number, position, data)
        ends = [track.end for track in self._tracks]
        patience = max(track.patience for track in self._tracks)
        return list(self._leave(max(min(ends), max(ends) - patience)))

    def finish(self) -> list[Heard]:
        """All that is left."""
        for track in self._tracks:
            track.finish()
        return list(self._leave(max(track.end for track in self._tracks)))

    def _leave(self, until: int) -> Iterator[Heard]:
        """The stream up to a position."""
        while self._position < until:
            start = self._position
            spans = [track.audible(start) for track in self._tracks]
            first = min((span.start for span in spans if span), default=until)
            if first > start:
                self._position = min(first, until)
                yield from _gaps(self._position - start)
                continue
            ends = [span.end for span in spans if span and span.start <= start]
            self._position = min(until, max(ends))
            yield Audio(self._interleaved(start, self._position))

    def _interleaved(self, start: int, stop: int) -> bytes:
        columns = [track.take(start, stop, self._silence) for track in self._tracks]
        if len(columns) == 1:
            return columns[0]
        data = bytearray(len(columns) * (stop - start))
        for index, column in enumerate(columns):
            data[index :: len(columns)] = column
        return bytes(data)


def _gaps(samples: int) -> Iterator[Gap]:
    """Silence in orders that a session takes."""
    longest = round(MAX_GAP_S * RATE)
    for done in range(0, samples, longest):
        yield Gap(samples=min(longest, samples - done))
