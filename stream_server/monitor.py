"""`/v1/monitor`: one subscriber, who hears the events of all calls that match."""

import logging
from typing import Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from emotion.errors import MessageError
from stream_server.dialect import Native
from stream_server.hub import Cursor, Hub, Subscription
from stream_server.race import first_of
from stream_server.wire import DeafError, Wire

MAX_SUBSCRIBERS: Final = 100
MAX_PATTERN: Final = 256  # characters
MAX_STARS: Final = 8  # in a pattern: each may cost a walk along every name

log = logging.getLogger(__name__)


def subscription(hub: Hub, path: str) -> Subscription:
    """The subscription that a request's path asks for.

    Args:
        hub: whose events.
        path: such as `/v1/monitor?streams=call-*&since=1763900000000-17`.

    Raises:
        MessageError: `bad_message`: a field is unknown, comes twice, or does not fit.
    """
    try:
        fields = parse_qs(urlsplit(path).query, keep_blank_values=True, max_num_fields=16)
    except ValueError as error:
        raise MessageError("bad_message", "more than 16 query fields") from error
    for name, values in fields.items():
        if name not in ("streams", "since", "token"):
            raise MessageError(
                "bad_message", f"unknown field {name[:64]!r}: known are streams, since, token"
            )
        if len(values) > 1:
            raise MessageError("bad_message", f"{name} came {len(values)} times: expected once")
    pattern = fields.get("streams", ["*"])[0]
    if not 1 <= len(pattern) <= MAX_PATTERN or pattern.count("*") > MAX_STARS:
        raise MessageError(
            "bad_message",
            f"streams: expected a pattern of 1 to {MAX_PATTERN} characters with at most "
            f"{MAX_STARS} stars, such as call-*",
        )
    since = fields.get("since")
    return hub.subscribe(pattern, Cursor.parse(since[0]) if since else None)


class Monitor:
    """Serves one subscriber.

    Args:
        connection: open.
        hub: whose events.
        send_timeout_s: for the subscriber to take a message.
    """

    def __init__(self, connection: ServerConnection, hub: Hub, send_timeout_s: float) -> None:
        self._wire = Wire(connection, Native(), send_timeout_s)
        self._hub = hub

    async def serve(self, allowed: str = "*") -> None:
        """Serves the subscriber to its end; raises nothing that the client can cause.

        Args:
            allowed: a glob; only streams that match this too are shown.
        """
        try:
            if self._hub.subscribers >= MAX_SUBSCRIBERS:
                raise MessageError("at_capacity", f"all {MAX_SUBSCRIBERS} subscribers are here")
            request = self._wire.connection.request
            events = subscription(self._hub, request.path if request else "")
            events.restrict(allowed)
            self._hub.subscribers += 1
            try:
                await self._serve(events)
            finally:
                self._hub.subscribers -= 1
        except MessageError as error:
            await self._wire.refuse(error)
        except (ConnectionClosed, DeafError):
            log.info("a subscriber went away")

    async def _serve(self, events: Subscription) -> None:
        await first_of(self._send(events), self._wire.discard())  # reads pongs and the close
        await self._wire.close(CloseCode.GOING_AWAY, "the server is shutting down")

    async def _send(self, events: Subscription) -> None:
        async for text in events:
            await self._wire.send_text(text)
