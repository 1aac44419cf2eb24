"""Streams a recording, or a microphone, to a server and hands on what it answers.

Two things happen at once: frames go out on a schedule, messages come in. Both over a link that connects
again where the connection breaks.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from clients.connect import Access
from clients.display import Display
from clients.link import Link
from clients.recordings import Recording
from emotion.messages import Start

LIVE_FRAME_S: Final = 0.1  # sent at a time; what telephony and browsers send is of that order
FAST_FRAME_S: Final = 1.0
GRACE_S: Final = 5.0  # after Ctrl-C, for what is left and the summary

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


async def paced(
    frames: AsyncIterator[bytes],
    interval_s: float,
    clock: Clock = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[bytes]:
    """Yields frame n at start + n x interval: lateness of one frame does not delay the others.

    Args:
        frames: what to pace.
        interval_s: from frame to frame; 0 for as fast as they are taken.
        clock: monotonic, in seconds.
        sleep: waits so many seconds.
    """
    start, n = clock(), 0
    async for frame in frames:
        if (wait := start + n * interval_s - clock()) > 0:
            await sleep(wait)
        yield frame
        n += 1


async def stream_recording(
    recording: Recording,
    start: Start,
    display: Display,
    *,
    access: Access,
    speed: float | None = 1.0,
) -> bool:
    """Streams a recording from beginning to end and shows every message as it comes.

    At the pace of speech or slower, the recording goes on while there is no connection, as a
    microphone would; faster, it waits for the server.

    On the first Ctrl-C the rest of the recording is left out: `stop` is sent, results and summary are
    awaited for a few seconds. The second one ends it at once.

    Args:
        recording: open.
        start: the stream's configuration.
        display: shows what the server says.
        access: to the server.
        speed: times real time; None for as fast as the server takes it.

    Returns:
        False if it was interrupted.

    Raises:
        StreamError: there is no server, it refuses, or the connection broke and could not be resumed.
        AudioError: the file cannot be read on.
        ConfigurationError: `access` is not to a server.
    """
    frame_s = LIVE_FRAME_S if speed else FAST_FRAME_S
    frames = paced(in_thread(recording.portions(frame_s)), frame_s / speed if speed else 0.0)
    live = speed is not None and speed <= 1
    return await stream(frames, start, display, access=access, live=live)


async def stream(
    frames: AsyncIterator[bytes],
    start: Start,
    display: Display,
    *,
    access: Access,
    live: bool,
    stop: Callable[[], None] = lambda: None,
) -> bool:
    """Streams audio as it comes, as `stream_recording` does.

    Args:
        frames: of audio, at the pace at which they are to be sent.
        start: the stream's configuration.
        display: shows what the server says.
        access: to the server.
        live: whether the audio cannot wait.
        stop: called on Ctrl-C, to end the frames.

    Returns:
        False if it was interrupted.

    Raises:
        StreamError, ConfigurationError: as `stream_recording`.
        EmotionError: what the frames raise.
    """
    interrupted = asyncio.Event()
    with suppress(TimeoutError):
        async with Link(access, start, live=live, notice=display.notice) as link:
            async with asyncio.timeout(None) as limit:
                with _first_interrupt(interrupted, limit, stop):
                    await _exchange(link, frames, display, interrupted)
    return not interrupted.is_set()


async def _exchange(
    link: Link, frames: AsyncIterator[bytes], display: Display, interrupted: asyncio.Event
) -> None:
    """Sends and receives at the same time, until the summary."""
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_send(link, frames, interrupted))
            async for message, text in link:
                display.show(message, text)
    except BaseExceptionGroup as group:  # the first of the two that failed cancelled the other
        raise group.exceptions[0] from None


async def _send(link: Link, frames: AsyncIterator[bytes], interrupted: asyncio.Event) -> None:
    async for frame in frames:
        if interrupted.is_set():
            break
        await link.send(frame)
    await link.stop()


async def in_thread(portions: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Portions that take their time, such as a file's that is read and decoded, off the event loop."""
    while portion := await asyncio.to_thread(next, portions, b""):
        yield portion


@contextmanager
def _first_interrupt(
    interrupted: asyncio.Event, limit: asyncio.Timeout, stop: Callable[[], None]
) -> Iterator[None]:
    """Makes of Ctrl-C an end of the recording, and of the second one an end of the patience."""
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        again = interrupted.is_set()
        interrupted.set()
        stop()
        limit.reschedule(loop.time() + (0.0 if again else GRACE_S))

    with on_interrupt(interrupt):
        yield


@contextmanager
def on_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Has the event loop call `act` on Ctrl-C, where that can be done."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGINT, act)
    except (NotImplementedError, RuntimeError):  # Windows, or not the main thread: as everywhere
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
