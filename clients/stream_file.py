"""Streams a recording to a server and hands on what it answers.

Two things happen at once: frames go out on a schedule, messages come in. Only the receiving side judges
how the stream ended; the sending side just stops when the connection is gone.
"""

import asyncio
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from socket import gaierror
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from clients.display import Display
from clients.errors import RefusedError, StreamError
from clients.recordings import Recording
from emotion.errors import ConfigurationError
from emotion.messages import Error, Start, Stop, Summary, decode_server, encode

DEFAULT_URL: Final = "ws://127.0.0.1:8765"
STREAM_PATH: Final = "/v1/stream"
LIVE_FRAME_S: Final = 0.1  # sent at a time; what telephony and browsers send is of that order
FAST_FRAME_S: Final = 1.0
OPEN_TIMEOUT_S: Final = 10.0
PING_TIMEOUT_S: Final = 120.0
"""A ping waits behind the audio sent before it, which a busy server reads as slowly as it judges."""
GRACE_S: Final = 5.0  # after Ctrl-C, for what is left and the summary
CLOSE_TIMEOUT_S: Final = 2.0

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


@dataclass
class _Progress:
    """How far a stream has come."""

    sent_s: float = 0.0
    stopped: bool = False
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)


def stream_url(url: str) -> str:
    """The address of the streams on a server.

    Args:
        url: the server's, `ws://` or `wss://`, without a path.

    Raises:
        ConfigurationError: it is none.
    """
    expected = f"expected ws://HOST:PORT or wss://HOST, such as {DEFAULT_URL}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"url {url}: {error}; {expected}") from error
    if parts.scheme not in ("ws", "wss") or not host:
        raise ConfigurationError(f"url {url}: {expected}")
    if parts.path.rstrip("/") not in ("", STREAM_PATH) or parts.query or parts.fragment:
        raise ConfigurationError(f"url {url}: {expected}; {STREAM_PATH} is appended")
    return f"{parts.scheme}://{parts.netloc}{STREAM_PATH}"


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
    url: str = DEFAULT_URL,
    speed: float | None = 1.0,
    token: str | None = None,
) -> bool:
    """Streams a recording from beginning to end and shows every message as it comes.

    On the first Ctrl-C the rest of the recording is left out: `stop` is sent, results and summary are
    awaited for a few seconds. The second one ends it at once.

    Args:
        recording: open.
        start: the stream's configuration.
        display: shows what the server says.
        url: the server's, without a path.
        speed: times real time; None for as fast as the server takes it.
        token: credentials, if the server wants any.

    Returns:
        False if it was interrupted.

    Raises:
        StreamError: there is no server, it refuses, or the connection broke.
        AudioError: the file cannot be read on.
        ConfigurationError: `url` is none.
    """
    address = stream_url(url)
    progress = _Progress()
    with suppress(TimeoutError):
        async with _connected(address, token) as connection, asyncio.timeout(None) as limit:
            with _first_interrupt(progress, limit):
                await _exchange(connection, recording, start, display, speed, progress)
    return not progress.interrupted.is_set()


async def _exchange(
    connection: ClientConnection,
    recording: Recording,
    start: Start,
    display: Display,
    speed: float | None,
    progress: _Progress,
) -> None:
    """Sends and receives at the same time, until the summary."""
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_send(connection, recording, start, speed, progress))
            await _receive(connection, display, progress)
    except BaseExceptionGroup as group:  # the first of the two that failed cancelled the other
        raise group.exceptions[0] from None


async def _send(
    connection: ClientConnection,
    recording: Recording,
    start: Start,
    speed: float | None,
    progress: _Progress,
) -> None:
    frame_s = LIVE_FRAME_S if speed else FAST_FRAME_S
    frame_bytes = round(frame_s * recording.sample_rate) * 2 * len(recording.channels)
    portions = _in_thread(recording.portions(frame_s))
    with suppress(ConnectionClosed):
        await connection.send(encode(start))
        async for frame in paced(portions, frame_s / speed if speed else 0.0):
            if progress.interrupted.is_set():
                break
            await connection.send(frame)
            progress.sent_s += frame_s * len(frame) / frame_bytes
        progress.stopped = True
        await connection.send(encode(Stop()))


async def _in_thread(portions: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Reads and decodes off the event loop."""
    while portion := await asyncio.to_thread(next, portions, b""):
        yield portion


async def _receive(connection: ClientConnection, display: Display, progress: _Progress) -> None:
    """Shows every message until the summary.

    Raises:
        StreamError: the stream ended before its summary, or with one that nobody asked for.
    """
    try:
        while True:
            text = await connection.recv(decode=True)
            message = decode_server(text)
            display.show(message, str(text))
            if isinstance(message, Error):
                raise RefusedError(message.code, message.message)
            if isinstance(message, Summary) and progress.stopped:
                return
    except ConnectionClosed as error:
        raise StreamError(_broken(error, progress)) from error


def _broken(error: ConnectionClosed, progress: _Progress) -> str:
    after = f"after {progress.sent_s:.1f} s of audio"
    if error.rcvd is None:
        return f"the connection broke {after}; results up to there have been shown, start again"
    if error.rcvd.code == 1001:
        return f"the server is shutting down and ended the stream {after}; start again later"
    reason = f": {error.rcvd.reason}" if error.rcvd.reason else ""
    return f"the server ended the stream {after} (close code {error.rcvd.code}{reason})"


@contextmanager
def _first_interrupt(progress: _Progress, limit: asyncio.Timeout) -> Iterator[None]:
    """Makes of Ctrl-C an end of the recording, and of the second one an end of the patience."""
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        again = progress.interrupted.is_set()
        progress.interrupted.set()
        limit.reschedule(loop.time() + (0.0 if again else GRACE_S))

    try:
        loop.add_signal_handler(signal.SIGINT, interrupt)
    except (NotImplementedError, RuntimeError):  # Windows, or not the main thread: as everywhere
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@asynccontextmanager
async def _connected(address: str, token: str | None) -> AsyncIterator[ClientConnection]:
    """A connection, or one line that says why there is none and what to do.

    Raises:
        StreamError: there is none.
    """
    try:
        connection = await connect(
            address,
            additional_headers={"Authorization": f"Bearer {token}"} if token else None,
            compression=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_timeout=PING_TIMEOUT_S,
            proxy=None if urlsplit(address).hostname in ("127.0.0.1", "::1", "localhost") else True,
        )
    except (OSError, WebSocketException) as error:
        raise StreamError(f"{address}: {_unreachable(error)}") from error
    async with connection:
        yield connection


def _unreachable(error: Exception) -> str:
    """What to do about a connection that could not be opened."""
    match error:
        case InvalidStatus() if error.response.status_code in (401, 403):
            return "the server wants a token, or another one (HTTP 401); pass --token"
        case InvalidStatus() if error.response.status_code == 503:
            return "the server takes no more streams at the moment (HTTP 503); try again later"
        case InvalidStatus():
            status = error.response.status_code
            return f"answers HTTP {status}: expected an emotion-server there; check --url"
        case WebSocketException():
            return f"does not speak WebSocket ({error}); check --url"
        case gaierror():
            return "no such host; check --url"
        case ssl.SSLError():
            return f"TLS failed ({error.reason or error}); check the certificate, or ws:// in --url"
        case TimeoutError():
            return f"no answer within {OPEN_TIMEOUT_S:.0f} s; check --url and the firewall"
        case OSError() if "Connect call failed" in str(error):  # each address of the host refused
            return "nothing listens there; start a server with emotion-server, or check --url"
    return f"cannot be reached ({error}); check --url"
