"""Many streams at once, as a call center has them, and how long their results take.

One process, one event loop, and as little work a frame as can be: on one machine with the server it is
the server's processor time that the load takes. Frames are made beforehand (frames.py), one timer paces
all streams (ticker.py), and a frame goes straight to its socket.

A window's latency runs from the sending of its last sample to the receipt of its event, both by this
process's clock. Streams begin at random phases, so that windows of N streams end evenly over the hop,
and each ends with a window, so that the end brings no burst of partial ones.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, NamedTuple

from clients.caller import Caller, Shared
from clients.connect import STREAM_PATH, Access
from clients.frames import RATES, Frames, LoadEncoding, framed, recorded, synthetic
from clients.scrape import Usage, usage
from clients.stream_file import on_interrupt
from clients.tally import Result, Tally
from clients.ticker import Ticker
from emotion.errors import ConfigurationError
from emotion.messages import encode
from emotion.parsing import start_from

MAX_STREAMS: Final = 10_000
MAX_SECONDS: Final = 86_400.0
MAX_RAMP_S: Final = 3_600.0
FRAME_MS: Final = (5, 200)
END_S: Final = 15.0
"""After the measured period and one hop, for the last results and the summaries."""
SHORTEST_S: Final = 0.1  # measured period; less is left where Ctrl-C came before it
WATCH_S: Final = 1.0  # from one look at the run to the next


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is asked for.

    Attributes:
        streams: how many at once.
        seconds: of the measured period, from when the ramp is over.
        ramp_s: seconds over which the streams are added.
        window_s, hop_s: of each stream's windows.
        speech_share: of the windows that hold speech, 0 to 1.
        frame_ms: milliseconds of audio in a frame.
        encoding: of the audio.
        audio: a folder of recordings; synthetic speech where None.
    """

    streams: int
    seconds: float
    ramp_s: float = 5.0
    window_s: float = 3.0
    hop_s: float = 1.0
    speech_share: float = 0.5
    frame_ms: int = 20
    encoding: LoadEncoding = "pcm_s16le"
    audio: Path | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: a value is out of range; names it.
            MessageError: the windows are none of the protocol's.
        """
        self._within("streams", self.streams, 1, MAX_STREAMS)
        self._within("seconds", self.seconds, SHORTEST_S, MAX_SECONDS)
        self._within("ramp", self.ramp_s, 0, MAX_RAMP_S)
        self._within("speech-share", self.speech_share, 0, 1)
        self._within("frame-ms", self.frame_ms, *FRAME_MS)
        self.start("load")

    def start(self, stream_id: str) -> str:
        """A stream's first message."""
        return encode(
            start_from(
                stream_id=stream_id,
                encoding=self.encoding,
                sample_rate=RATES[self.encoding],
                window_s=self.window_s,
                hop_s=self.hop_s,
            )
        )

    def call(self) -> Frames:
        """The call that every stream sends, each from another place.

        Raises:
            AudioError: the recordings cannot be read.
        """
        if self.audio is None or self.speech_share == 0:
            samples = synthetic(self.speech_share, self.encoding, self.window_s)
        else:
            samples = recorded(self.audio, self.speech_share, self.encoding, self.window_s)
        return framed(samples, self.encoding, self.frame_ms)

    def _within(self, name: str, value: float, low: float, high: float) -> None:
        if not low <= value <= high:
            raise ConfigurationError(f"{name} is {value:g}: expected {low:g} to {high:g}")


async def run_load(
    load: Load, access: Access, watch: Callable[[float, Tally], None] = lambda at_s, tally: None
) -> tuple[Result, Tally, bool]:
    """Runs a load to its end, or until Ctrl-C.

    Args:
        load: what is asked for.
        access: to the server.
        watch: called every second, with the seconds since the beginning.

    Returns:
        the result, all that was counted, and whether it came to its end.

    Raises:
        StreamError: there is no server.
        AudioError: the recordings cannot be read.
        ConfigurationError: `access` is not to a server.
    """
    access.address(STREAM_PATH)
    call = await asyncio.to_thread(load.call)
    shared = Shared(
        access=access,
        call=call,
        hop_s=load.hop_s,
        ticker=Ticker(load.frame_ms / 1000),
        tally=Tally(),
    )
    shared.ticker.start()
    try:
        return await _Run(load, shared, watch).run()
    finally:
        shared.ticker.stop()


class _Meter(NamedTuple):
    """A moment: by the event loop's clock, and what the two processes have used up to it."""

    at: float
    client_cpu_s: float
    server: Usage


class _Run:
    """A load that runs."""

    def __init__(self, load: Load, shared: Shared, watch: Callable[[float, Tally], None]) -> None:
        self._load = load
        self._shared = shared
        self._watch = watch
        self._now = asyncio.get_running_loop().time
        self._began = self._now()
        self._interrupted = asyncio.Event()
        self._impatient = asyncio.Event()
        self._name = token_hex(2)  # other loads on the same server have other names

    async def run(self) -> tuple[Result, Tally, bool]:
        """As `run_load`."""
        shared, tally = self._shared, self._shared.tally
        tasks = [asyncio.create_task(self._call(n)) for n in range(self._load.streams)]
        calls = asyncio.ensure_future(asyncio.wait(tasks))
        with on_interrupt(self._interrupt):
            try:
                await self._until(self._load.ramp_s, calls)
                first = await self._measure()
                tally.begin = first.at
                shared.ticker.forgive()
                await self._until(first.at - self._began + self._load.seconds, calls)
                last = await self._measure()
                tally.end = last.at
                late = shared.ticker.late_share
                await self._end(calls)
            finally:
                for task in tasks:
                    task.cancel()
                await calls
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        if not tally.started and not tally.refused and shared.unreachable is not None:
            raise shared.unreachable
        return self._result(first, last, late), tally, not self._interrupted.is_set()

    async def _call(self, number: int) -> None:
        wait_s = self._began + self._load.ramp_s * number / self._load.streams - self._now()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, wait_s)):
                await self._interrupted.wait()
        if not self._interrupted.is_set():
            start = self._load.start(f"load-{self._name}-{number}")
            # Evenly over the call, so that at any time the asked share of the streams is speaking.
            place = (number + random.random()) / self._load.streams
            await Caller(self._shared, start, place).call()

    def _interrupt(self) -> None:
        """The first Ctrl-C ends the load, the second one the waiting for summaries."""
        (self._impatient if self._interrupted.is_set() else self._interrupted).set()

    async def _until(self, at_s: float, calls: asyncio.Future[Any]) -> None:
        """Waits for a time since the beginning, or until nothing is left to wait for."""
        over = False
        while not over and (left_s := self._began + at_s - self._now()) > 0:
            over = await _either(calls, self._interrupted, min(WATCH_S, left_s))
            self._watch(self._now() - self._began, self._shared.tally)

    async def _measure(self) -> _Meter:
        server = await usage(self._shared.access)
        return _Meter(self._now(), time.process_time(), server)

    async def _end(self, calls: asyncio.Future[Any]) -> None:
        """Has every stream end with its next window, and waits for the summaries."""
        self._shared.ending, self._shared.hurry = True, self._interrupted.is_set()
        await _either(calls, self._impatient, self._load.hop_s + END_S)

    def _result(self, first: _Meter, last: _Meter, late: float) -> Result:
        seconds = max(SHORTEST_S, last.at - first.at)

        def cores(before: float | None, after: float | None) -> float | None:
            return None if before is None or after is None else (after - before) / seconds

        return self._shared.tally.result(
            streams=self._load.streams,
            server_cpu=cores(first.server.cpu_s, last.server.cpu_s),
            server_loop_cpu=cores(first.server.loop_cpu_s, last.server.loop_cpu_s),
            server_memory=last.server.memory,
            client_cpu=(last.client_cpu_s - first.client_cpu_s) / seconds,
            client_late=late,
        )


async def _either(calls: asyncio.Future[Any], event: asyncio.Event, seconds: float) -> bool:
    """Waits for all calls, an event, or so long; whether it was one of the first two."""
    waiting = asyncio.create_task(event.wait())
    try:
        done, _ = await asyncio.wait(
            {calls, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        waiting.cancel()
    return bool(done)
