"""The server: one port, its sessions, their end.

config -> engine, scheduler, admission, site
handshake -> plain HTTP, a refusal, or a `Stream`
SIGTERM -> drain: no new sessions, running ones get their results, 1001
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from emotion.engine import Engine, load_engine
from emotion.errors import ConfigurationError
from stream_server.admission import Admission
from stream_server.calls import Calls
from stream_server.config import Config, url
from stream_server.connection import SpeakingConnection
from stream_server.dialect import Native
from stream_server.http import MONITOR, STREAM, Site, response
from stream_server.hub import Hub
from stream_server.monitor import Monitor
from stream_server.scheduler import Scheduler
from stream_server.stream import Stream

PING_INTERVAL_S = 20.0
CLOSE_TIMEOUT_S = 5.0
OPEN_TIMEOUT_S = 10.0
MAX_QUEUED_FRAMES = 4  # of a connection, before its reading pauses: at most 4 MiB

log = logging.getLogger(__name__)


class Server:
    """Serves until it is drained; made by `running`.

    Args:
        engine: loaded.
        config: the settings.
    """

    def __init__(self, engine: Engine, config: Config) -> None:
        self.config = config
        self.admission = Admission(config.max_sessions)
        self.hub = Hub(config.ring_events)
        self._scheduler = Scheduler(engine, config.workers)
        self._calls = Calls(engine, self._scheduler, self.hub, config)
        self._site = Site(engine.contract, engine.device, config, self.admission)
        self._streams: dict[asyncio.Task[None], Stream] = {}
        self._monitors: set[asyncio.Task[None]] = set()
        self._listener: WebSocketServer | None = None

    @property
    def url(self) -> str:
        """The base address, with the port that was taken."""
        assert self._listener is not None
        return url(self.config.host, next(iter(self._listener.sockets)).getsockname()[1])

    async def listen(self) -> None:
        """Starts to listen.

        Raises:
            ConfigurationError: the address cannot be taken.
        """
        config = self.config
        try:
            self._listener = await serve(
                self._handle,
                config.host,
                config.port,
                process_request=self._process_request,
                create_connection=SpeakingConnection,
                compression=None,
                server_header=None,
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=PING_INTERVAL_S,
                # While a session's reading is held its pongs are not read either. What a ping timeout
                # would find, the idle and send timeouts find too.
                ping_timeout=None,
                close_timeout=CLOSE_TIMEOUT_S,
                max_queue=MAX_QUEUED_FRAMES,
            )
        except (OSError, UnicodeError) as error:  # UnicodeError: no host can have such a name
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(
                f"cannot listen on {config.host} port {config.port} ({reason}): "
                "choose another --port, or end what listens there"
            ) from error

    async def drain(self) -> None:
        """Ends well: no new sessions, running ones get their results; then closes what is left."""
        self.admission.draining = True
        log.info("draining %d sessions", len(self._streams))
        for stream in self._streams.values():
            stream.drain()
        self._calls.drain()
        try:
            async with asyncio.timeout(self.config.drain_timeout_s):
                if self._streams:
                    await asyncio.wait(self._streams)
                await self._calls.settled()
        except TimeoutError:
            log.warning("%d sessions did not end in time and are cut off", len(self._streams))
        self.hub.close()  # subscribers hear how the last call ended, and then that this is all
        if self._monitors:
            await asyncio.wait(self._monitors, timeout=CLOSE_TIMEOUT_S)

    async def close(self) -> None:
        """Stops listening, closes every connection and ends the threads."""
        if self._listener is not None:
            self._listener.close()
            for task in (*self._streams, *self._monitors):
                task.cancel()
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._listener.wait_closed()
            except TimeoutError:
                log.warning("some connections did not close in time and are cut off")
        await self._calls.close()
        self._scheduler.close()

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers plain HTTP; None lets the handshake go on.

        A browser cannot see an HTTP refusal, so one that a session will be refused to is let through
        and told over the WebSocket.
        """
        upgrades = request.headers.get_all("Upgrade")  # `get` raises where there are two
        upgrade = any("websocket" in value.lower() for value in upgrades)
        path = request.path.split("?")[0]
        if not upgrade or path not in (STREAM, MONITOR):
            return self._site.respond(request)
        if path == MONITOR:
            return None
        refusal = self.admission.refusal()
        if refusal is not None and "Origin" not in request.headers:
            return response(HTTPStatus.SERVICE_UNAVAILABLE, refusal + "\n", {"Retry-After": "5"})
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        task = asyncio.current_task()
        assert task is not None and connection.request is not None
        if connection.request.path.split("?")[0] == MONITOR:
            self._monitors.add(task)
            try:
                await Monitor(connection, self.hub, self.config.send_timeout_s).serve()
            finally:
                self._monitors.discard(task)
            return
        self._streams[task] = stream = Stream(
            connection, Native(), self._calls, "anonymous", self.config
        )
        try:
            await stream.serve(self.admission.slot())
        finally:
            del self._streams[task]


@asynccontextmanager
async def running(config: Config, engine: Engine | None = None) -> AsyncIterator[Server]:
    """A server that listens inside the block and is closed after it.

    Args:
        config: the settings.
        engine: a loaded one; the config's model where None.

    Raises:
        ModelError: the model cannot be loaded.
        ConfigurationError: the address cannot be taken.
    """
    server = Server(engine or load_engine(config.model, config.device), config)
    try:
        await server.listen()
        yield server
    finally:
        await server.close()
