"""Audio into a call, no faster than it can be judged."""

import asyncio
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from emotion.audio import BYTES_PER_SAMPLE
from stream_server.call import Call

SLICE_S: Final = 0.5  # of audio fed at a time: what the event loop spends on it stays under 2 ms
FAST_BACKLOG_S: Final = 4.0
"""Of unjudged audio that a session ahead of the clock may pile up before its reading is held."""
MAX_BACKLOG_S: Final = 60.0
"""Of unjudged audio that any session may pile up."""
MAX_HOLD_S: Final = 5.0
"""For one hold: pings wait behind the audio, and clients give up after 20 s without a pong."""


async def hear(call: Call, data: bytes, draining: asyncio.Event) -> None:
    """Hears audio, in slices; raises as `Session.feed`.

    Args:
        call: what hears.
        data: in the stream's encoding.
        draining: set where nothing more is to be heard.
    """
    start = call.start
    size = round(SLICE_S * start.sample_rate) * BYTES_PER_SAMPLE[start.encoding]
    size *= len(start.channels)
    for first in range(0, len(data), size):
        if first:
            await asyncio.sleep(0)  # others' turns come between the slices of a long frame
        if draining.is_set():
            return
        call.feed(data[first : first + size])
        await _hold(call, draining)


async def skip(
    call: Call, samples: int, draining: asyncio.Event, connection: ServerConnection
) -> None:
    """Hears a gap of so many samples of each channel, in slices.

    Raises:
        ConnectionClosed: the client is gone, and the gap was long. A message of 200 bytes may say hours
            of it, and while they are silent nothing is sent that would find out.
    """
    size = round(SLICE_S * call.start.sample_rate)
    for first in range(0, samples, size):
        if first:
            await asyncio.sleep(0)
            if connection.state is State.CLOSED:
                raise connection.protocol.close_exc
        if draining.is_set():
            return
        call.gap(min(size, samples - first))
        await _hold(call, draining)


async def _hold(call: Call, draining: asyncio.Event) -> None:
    """Does not go on while the session has more to judge than it may pile up."""
    if not _too_much(call):
        return
    call.hold()
    try:
        while _too_much(call) and not draining.is_set():
            try:
                async with asyncio.timeout(MAX_HOLD_S):
                    await call.progress()
            except TimeoutError:
                if call.session.unjudged_s < MAX_BACKLOG_S:
                    break
    finally:
        call.release()  # also where the connection is gone: the call outlives it


def _too_much(call: Call) -> bool:
    """Whether reading has to wait.

    With a long hop much may be unjudged and yet nothing be due: then more audio is what it needs.
    """
    unjudged_s = call.session.unjudged_s
    if unjudged_s <= FAST_BACKLOG_S or not call.busy:
        return False
    return unjudged_s > (MAX_BACKLOG_S if call.live else FAST_BACKLOG_S)
