"""The server: one port, its sessions, their end.

config -> engine, scheduler, admission, site
handshake -> plain HTTP, a refusal, or a `Stream`
SIGTERM -> drain: no new sessions, running ones get their results, 1001
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, cast

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from emotion.cores import cores
from emotion.engine import Engine, load_engine
from emotion.errors import ConfigurationError, MessageError
from stream_server.admission import Admission, Doors
from stream_server.alarms import Alarms
from stream_server.auth import Authenticator, Principal, Role
from stream_server.bus import RedisBus
from stream_server.calls import Calls
from stream_server.capacity import measure
from stream_server.config import Config, url
from stream_server.connection import SpeakingConnection
from stream_server.dialect import Dialect, Native
from stream_server.gate import Gate
from stream_server.http import HEALTH, MONITOR, STREAM, Site, no_websocket, unauthorized_response
from stream_server.hub import Hub
from stream_server.metrics import Metrics
from stream_server.monitor import Monitor
from stream_server.scheduler import Scheduler
from stream_server.stream import Stream
from stream_server.telephony import DIALECTS
from stream_server.telephony.door import Door
from stream_server.tls import Certificate
from stream_server.webhook import Courier
from stream_server.wire import Wire

PING_INTERVAL_S = 20.0
CLOSE_TIMEOUT_S = 5.0
OPEN_TIMEOUT_S = 10.0
MAX_QUEUED_FRAMES = 4  # of a connection, before its reading pauses: at most 4 MiB
SPARE_CONNECTIONS: Final = 100  # beyond two for each session: dashboards, scrapes, who is refused

log = logging.getLogger(__name__)


class Server:
    """Serves until it is drained; made by `running`.

    Args:
        engine: loaded.
        config: the settings.
    """

    def __init__(self, engine: Engine, config: Config) -> None:
        self.config = config
        self.metrics = Metrics()
        self.admission = Admission(
            config.max_sessions or measure(engine, config.workers, cores()),
            max_per_address=config.max_sessions_per_address,
            refused=self.metrics.refused,
        )
        self.metrics.follow(lambda: self.admission.active, lambda: self.admission.max_sessions)
        self.metrics.model(engine.contract, engine.device)
        self._authenticator = Authenticator(config)
        self._gate = Gate(config, self.admission, self._authenticator)
        self._certificate = (
            Certificate(config.tls_cert, config.tls_key)
            if config.tls_cert is not None and config.tls_key is not None
            else None
        )
        self._door = Door(config)
        self.hub = Hub(config.ring_events, self.metrics)
        self._bus = None
        if config.bus != "memory":
            password = config.bus_password()
            self._bus = RedisBus(
                config.bus, self.hub, ring_events=config.ring_events, password=password
            )
            self.hub.bus = self._bus
        self._courier = None if config.webhook is None else Courier(config.webhook, self.metrics)
        self.metrics.subscribers.set_function(lambda: self.hub.subscribers)
        self._scheduler = Scheduler(engine, config.workers, self.metrics)
        self._calls = Calls(
            engine,
            self._scheduler,
            self.hub,
            grace_s=config.resume_grace_s,
            max_parked=self.admission.max_sessions,
            analyzable=config.analyzable,
            alarms=Alarms(config.alerts, self.hub, self._courier),
        )
        self._site = Site(
            engine,
            config,
            self.admission,
            self._authenticator,
            self.metrics,
        )
        self._streams: dict[asyncio.Task[None], Stream] = {}
        self._monitors: set[asyncio.Task[None]] = set()
        self._listener: WebSocketServer | None = None
        self._background: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """The base address, with the port that was taken."""
        assert self._listener is not None
        scheme = "ws" if self._certificate is None else "wss"
        return url(self.config.host, next(iter(self._listener.sockets)).getsockname()[1], scheme)

    async def listen(self) -> None:
        """Starts to listen.

        Raises:
            ConfigurationError: the address cannot be taken.
        """
        config = self.config
        limit = config.max_connections or 2 * self.admission.max_sessions + SPARE_CONNECTIONS
        doors = Doors(limit, self.metrics.refused)
        try:
            self._listener = await serve(
                self._handle,
                config.host,
                config.port,
                process_request=self._process_request,
                create_connection=cast(Any, partial(SpeakingConnection, doors=doors)),
                ssl=None if self._certificate is None else self._certificate.context,
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
        self._background.append(asyncio.create_task(self.metrics.watch_loop()))
        if self._bus is not None:
            self._background.append(asyncio.create_task(self._bus.run()))
        if self._courier is not None:
            self._background.append(asyncio.create_task(self._courier.run()))
        log.info("up to %d sessions at once", self.admission.max_sessions)

    def reload(self, config: Config) -> None:
        """Takes other tokens and keys, reads telephony's and the webhook's secrets and the certificate.

        They count for the connections to come. Where something is wrong with one of these, the log
        says so, the old stays, and the others are taken. No other setting changes while the server
        runs.
        """
        holders: dict[str, Authenticator | Door | Courier | None] = {
            "tokens": self._authenticator,
            "telephony's secrets": self._door,
            "the webhook's secrets": self._courier,
        }
        for what, holder in holders.items():
            if holder is None:
                continue
            try:
                holder.reload(config)
                log.info("%s were read again", what)
            except ConfigurationError as error:
                log.error("%s were not read again, the old ones stay: %s", what, error)
        if self._certificate is not None:
            self._certificate.reload()

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
                await self._last_events_gone()
        except TimeoutError:
            what = f"{len(self._streams)} sessions" if self._streams else "the last events"
            log.warning("%s did not end in time and are cut off", what)
        self.hub.close()  # subscribers hear how the last call ended, and then that this is all
        if self._monitors:
            await asyncio.wait(self._monitors, timeout=CLOSE_TIMEOUT_S)

    async def _last_events_gone(self) -> None:
        """Waits until the bus and the webhook have what the last calls had to say."""
        async with asyncio.TaskGroup() as tasks:
            if self._bus is not None:
                tasks.create_task(self._bus.flushed())
            if self._courier is not None:
                tasks.create_task(self._courier.drain())

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
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._scheduler.close()

    async def _process_request(
        self, connection: ServerConnection, request: Request
    ) -> Response | None:
        """Answers plain HTTP; None lets the handshake go on."""
        assert isinstance(connection, SpeakingConnection)
        path = request.path.split("?")[0]
        if path in HEALTH:
            return self._site.respond(request)
        if (refusal := self._gate.arrive(connection, request)) is not None:
            return refusal
        upgrades = request.headers.get_all("Upgrade")  # `get` raises where there are two
        upgrade = any("websocket" in value.lower() for value in upgrades)
        if not upgrade:
            return self._site.respond(request)
        if path not in (STREAM, MONITOR, *DIALECTS):
            return no_websocket(path)
        if self._door.signed(path):
            return await self._admit_signed(connection, path, request)
        if path == MONITOR:
            return self._gate.enter(connection, request, Role.MONITOR, slot=False)
        return self._gate.enter(connection, request, Role.PUBLISH, later=path in DIALECTS)

    async def _admit_signed(
        self, connection: SpeakingConnection, path: str, request: Request
    ) -> Response | None:
        """Lets telephony in that signed its handshake; the time of a refusal says nothing."""
        due = asyncio.get_running_loop().time() + self._door.delay_s(path)
        try:
            connection.principal = self._door.identify(path, request)
        except MessageError as refusal:
            self.metrics.refused("unauthorized")
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            return unauthorized_response(refusal)
        return self._gate.refusal_if_full()

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, SpeakingConnection)
        task = asyncio.current_task()
        assert task is not None and connection.request is not None
        path, principal = connection.request.path.split("?")[0], connection.principal
        dialect: Dialect = Native()
        if path in DIALECTS:
            dialect = self._door.dialect(path, connection.request)
        elif isinstance(principal, MessageError):
            await Wire(connection, dialect, self.config.send_timeout_s).refuse(principal)
            return
        elif path == MONITOR:
            await self._serve_monitor(connection, principal, task)
            return
        self._streams[task] = stream = Stream(
            connection,
            dialect,
            self._calls,
            principal,
            self.config,
            self._authenticator.of_token,
        )
        try:
            await stream.serve(lambda who: self.admission.slot(who, connection.address))
        finally:
            del self._streams[task]

    async def _serve_monitor(
        self, connection: SpeakingConnection, principal: Principal, task: asyncio.Task[None]
    ) -> None:
        self._monitors.add(task)
        try:
            monitor = Monitor(connection, self.hub, self.config.send_timeout_s)
            await monitor.serve(principal.streams)
        finally:
            self._monitors.discard(task)


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
