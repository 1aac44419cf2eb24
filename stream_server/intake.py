"""Audio into a call, no faster than it can be judged."""

import asyncio
from typing import Final

from emotion.audio import BYTES_PER_SAMPLE
from stream_server.call import Call

SLICE_S: Final = 0.5  # of audio fed at a time: what the event loop spends on it stays under 2 ms
FAST_BACKLOG_S: Final = 4.0
"""Of unjudged audio that a session ahead of the clock may pile up before its reading is held."""
MAX_BACKLOG_S: Final = 60.0
"""Of unjudged audio that any session may pile up."""
MAX_HOLD_S: Final = 5.0
"""For one hold: pings wait behind the audio, and clients give up after 20 s without a pong."""


class Intake:
    """Feeds a call in slices, and waits where it has enough to do.

    Args:
        call: what hears.
        draining: set where nothing more is to be heard.
    """

    def __init__(self, call: Call, draining: asyncio.Event) -> None:
        self._call = call
        self._draining = draining

    async def hear(self, data: bytes) -> None:
        """Hears audio; raises as `Session.feed`."""
        start = self._call.start
        frame = BYTES_PER_SAMPLE[start.encoding] * len(start.channels)
        size = round(SLICE_S * start.sample_rate) * frame
        for first in range(0, len(data), size):
            if self._draining.is_set():
                return
            self._call.feed(data[first : first + size])
            await self._hold()
            if len(data) > size:
                await asyncio.sleep(0)  # others' turns come between the slices of a long frame

    async def skip(self, samples: int) -> None:
        """Hears a gap of so many samples of each channel."""
        size = round(SLICE_S * self._call.start.sample_rate)
        for first in range(0, samples, size):
            if self._draining.is_set():
                return
            self._call.gap(min(size, samples - first))
            await self._hold()
            await asyncio.sleep(0)

    async def _hold(self) -> None:
        """Does not go on while the session has more to judge than it may pile up.

        With a long hop much may be unjudged and yet nothing be due: then more audio is what it needs.
        """
        call = self._call
        if not self._too_much():
            return
        call.hold()
        while self._too_much():
            try:
                async with asyncio.timeout(MAX_HOLD_S):
                    await call.progress()
            except TimeoutError:
                if call.session.unjudged_s < MAX_BACKLOG_S:
                    break
        call.release()

    def _too_much(self) -> bool:
        call = self._call
        if self._draining.is_set() or not call.busy:
            return False
        return call.session.unjudged_s > (MAX_BACKLOG_S if call.live else FAST_BACKLOG_S)
