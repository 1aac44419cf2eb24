"""One stream of a load: rides the ticker while it sends, and counts what it hears."""

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Any, Final

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from clients.connect import STREAM_PATH, Access, connected
from clients.errors import UnreachableError
from clients.frames import Frames, masked
from clients.tally import Tally
from clients.ticker import Ticker
from emotion.grid import FIRST_WINDOW_S
from emotion.messages import Stop, encode

OPENING: Final = 32  # handshakes at once
MAX_UNSENT: Final = 1 << 20
"""Bytes that wait for a server which does not read; then the stream is given up."""
REFUSALS: Final = (401, 403, 429, 503)  # HTTP
REFUSED: Final = ("at_capacity", "unauthorized")
STOP: Final = masked(encode(Stop()))


@dataclass(kw_only=True)
class Shared:
    """What all streams of a load share.

    Attributes:
        access: to the server.
        call: the audio.
        hop_s: from window to window.
        ticker: paces the frames.
        tally: counts.
        ending: whether streams end with their next window.
        hurry: whether they end with their next frame.
        unreachable: why there was no connection, the last time.
    """

    access: Access
    call: Frames
    hop_s: float
    ticker: Ticker
    tally: Tally
    ending: bool = False
    hurry: bool = False
    unreachable: UnreachableError | None = None
    opening: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OPENING))


class _Said(msgspec.Struct):
    """What of a server's message matters here; the rest is not even looked at."""

    type: str
    end_s: float = 0.0
    count: int | None = None
    inferred: int = 0
    silent: int = 0
    code: str = ""
    message: str = ""
    fatal: bool = False


_DECODER: Final = msgspec.json.Decoder(_Said)


class Caller:
    """One stream.

    Args:
        shared: with the others.
        start: its first message.
        place: where in the call it begins, 0 to 1.
        seconds: of audio, after which it ends by itself with the window that follows; without them
            it ends with the load.
        breaks: whether that end is a connection that breaks off, without a word.
    """

    def __init__(
        self,
        shared: Shared,
        start: str,
        place: float,
        *,
        seconds: float = inf,
        breaks: bool = False,
    ) -> None:
        self._shared = shared
        self._seconds = seconds
        self._breaks = breaks
        self._start = start
        self._frames = shared.call.frames
        self._frame_s = shared.call.samples / shared.call.rate
        self._place = int(place * len(self._frames)) % len(self._frames)
        self._first: int | None = None  # tick of the first frame
        self._sent = 0  # frames
        self._events = 0
        self._stopped = False  # `stop` was sent
        self._broke_off = False  # as it was asked to
        self._trouble: str | None = None
        self._transport: Any = None

    async def call(self) -> None:
        """Calls, from the handshake to the summary, and counts how that ended."""
        tally = self._shared.tally
        try:
            async with AsyncExitStack() as stack:
                async with self._shared.opening:
                    opened = connected(self._shared.access, STREAM_PATH, ping_interval=None)
                    connection = await stack.enter_async_context(opened)
                await self._converse(connection)
        except UnreachableError as error:
            self._shared.unreachable = error
            reason = str(error).partition(": ")[2]
            (tally.refuse if error.status in REFUSALS else tally.lose)(reason)
        except msgspec.MsgspecError as error:
            tally.lose(f"what the server said is not of the protocol ({error})")
        except ConnectionClosed as closed:
            if self._broke_off:
                tally.broken_off += 1
            else:
                tally.lose(self._trouble or f"the connection ended ({closed})")
        except asyncio.CancelledError:
            tally.lose("no summary came in time")
            raise
        finally:
            self._rest()
            tally.running -= self._first is not None

    async def _converse(self, connection: ClientConnection) -> None:
        """Listens until the stream has ended."""
        self._transport = connection.transport
        await connection.send(self._start)
        now = asyncio.get_running_loop().time
        while not self._hear(_DECODER.decode(await connection.recv(decode=False)), now()):
            pass

    def _hear(self, said: _Said, now: float) -> bool:
        """Counts what the server said; whether that was the end."""
        tally = self._shared.tally
        match said.type:
            case "emotion" | "silence":
                self._events += 1
                tally.window(said.type == "emotion", self._sent_at(said.end_s), now)
            case "started":
                self._begin()
            case "warning" if said.code == "skipped_windows":
                tally.skip(said.count or 0, now)
            case "summary":
                tally.events_missing += max(0, said.inferred + said.silent - self._events)
                if not self._stopped:
                    tally.lose("the server ended the stream")
                return True
            case "error" if said.fatal:
                refused = self._first is None and said.code in REFUSED
                (tally.refuse if refused else tally.lose)(f"{said.code}: {said.message}")
                return True
        return False

    # --- sending ---

    def _begin(self) -> None:
        """Sends from a random tick within the next hop on."""
        ticker, tally = self._shared.ticker, self._shared.tally
        hop_ticks = round(self._shared.hop_s / ticker.tick_s)
        self._first = ticker.number + 1 + random.randrange(max(hop_ticks, ticker.phases))
        ticker.add(self, self._first)
        tally.running += 1
        tally.started += 1

    def tick(self, number: int) -> None:
        """Sends the next frame."""
        if self._first is None or number < self._first:
            return
        if self._transport.is_closing():
            return self._rest()
        self._transport.write(self._frames[self._place])
        self._place = (self._place + 1) % len(self._frames)
        self._sent += 1
        over = self._sent * self._frame_s >= self._seconds
        if (self._shared.ending or over) and (self._shared.hurry or self._ends_window()):
            self._end(breaks=self._breaks and not self._shared.ending)
        elif self._transport.get_write_buffer_size() > MAX_UNSENT:
            self._trouble = "the server does not read"
            self._transport.abort()
            self._rest()

    def _end(self, *, breaks: bool) -> None:
        """Stops, or breaks off; sends no more."""
        self._stopped, self._broke_off = not breaks, breaks
        if breaks:
            self._transport.abort()
        else:
            self._transport.write(STOP)
        self._rest()

    def _rest(self) -> None:
        """Sends no more."""
        if self._first is not None:
            self._shared.ticker.remove(self, self._first)

    def _ends_window(self) -> bool:
        """Whether the last frame holds the last sample of a window."""
        hop_s, end_s = self._shared.hop_s, self._sent * self._frame_s
        before = (end_s - self._frame_s) / hop_s
        return end_s >= FIRST_WINDOW_S and int(end_s / hop_s + 1e-9) > int(before + 1e-9)

    def _sent_at(self, end_s: float) -> float:
        """When the sample was sent before which there are so many seconds."""
        if self._first is None:  # nothing was asked yet: whatever this is, it is no window of ours
            return asyncio.get_running_loop().time()
        frame = max(0, ceil(end_s / self._frame_s - 1e-6) - 1)
        return self._shared.ticker.time(self._first + frame * self._shared.ticker.phases)
