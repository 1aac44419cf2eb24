"""Who is let through the handshake.

A plain client is refused before the upgrade, with an HTTP status. A browser's page could not see that:
it is let through and told over the WebSocket, without ever holding a slot. But pages from foreign
origins, and whoever asks too often, get no WebSocket to be told over.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Final

from websockets.http11 import Request, Response

from emotion.errors import MessageError
from stream_server.admission import Admission, Pace, Proxies
from stream_server.auth import Authenticator, Role, credentials
from stream_server.config import Config
from stream_server.connection import SpeakingConnection
from stream_server.http import response, unauthorized_response
from stream_server.origins import Origins
from stream_server.tables import is_loopback

RETRY_S: Final = "5"  # until a plain client is to ask again
MAX_HEADER_BYTES: Final = 1 << 15
"""Of a request's headers together. The library allows 128 lines of 8 KiB; reading a megabyte of offered
subprotocols would keep the event loop from everybody else for a third of a second."""
MAX_TOLD: Final = 32  # refused origins that the log names
MAX_ORIGIN_CHARS: Final = 200  # of each

log = logging.getLogger(__name__)


class Gate:
    """Decides about handshakes.

    Args:
        config: the settings.
        admission: whether there is a slot; it also counts the refusals.
        authenticator: who a client is.
    """

    def __init__(self, config: Config, admission: Admission, authenticator: Authenticator) -> None:
        self._admission = admission
        self._authenticator = authenticator
        self._pace = Pace(config.max_handshakes_per_minute)
        self._proxies = Proxies(config.trusted_proxies)
        only_local = is_loopback(config.host) and not config.guarded
        self._origins = Origins(config.origins, only_local)
        self._told: set[str] = set()  # refused origins that the log has named

    def arrive(self, connection: SpeakingConnection, request: Request) -> Response | None:
        """Notes where a request comes from; the refusal where it is too large or one too many."""
        if sum(len(name) + len(value) for name, value in request.headers.raw_items()) > (
            MAX_HEADER_BYTES
        ):
            return response(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"headers of more than {MAX_HEADER_BYTES} bytes\n",
            )
        peer = connection.remote_address
        connection.address = self._proxies.client(
            str(peer[0]) if peer else "", request.headers.get_all("X-Forwarded-For")
        )
        if self._pace.allows(connection.address, asyncio.get_running_loop().time()):
            return None
        self._admission.refused("rate")
        return response(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too many requests from this address: ask again later\n",
            {"Retry-After": RETRY_S},
        )

    def enter(
        self,
        connection: SpeakingConnection,
        request: Request,
        role: Role,
        *,
        slot: bool = True,
        later: bool = False,
    ) -> Response | None:
        """Decides about a handshake, and notes on the connection who it is, or the refusal.

        Args:
            connection: its `principal` is set.
            request: the handshake.
            role: what the path is for.
            slot: whether it needs a session's slot.
            later: whether a credential may also come in a message, or be a signature, as telephony's
                do: without one the handshake goes on, and the connection's `principal` remains a
                refusal until its handler has found out who it is.

        Returns:
            the refusal, or None where the handshake may go on: the connection's `principal` is then
            to be looked at, since a browser's may be a refusal.
        """
        if not self._origins.allow(request):
            self._admission.refused("origin")
            self._tell_of_origin(", ".join(request.headers.get_all("Origin")))
            return response(
                HTTPStatus.FORBIDDEN,
                "pages from this origin may not connect: ask the operator (origins)\n",
            )
        browser = "Origin" in request.headers
        try:
            connection.principal = self._authenticator.of_request(request)
            connection.principal.require(role)
        except MessageError as refusal:
            connection.principal = refusal
            if not later or credentials(request):
                self._admission.refused("unauthorized")
                return None if browser else unauthorized_response(refusal)
        if not slot or browser:  # a browser's refusal is the slot's to say
            return None
        return self.refusal_if_full()

    def _tell_of_origin(self, origin: str) -> None:
        """Says once which pages were refused and what lets them in; strangers can name any number."""
        origin = origin[:MAX_ORIGIN_CHARS]
        if origin in self._told or len(self._told) == MAX_TOLD:
            return
        self._told.add(origin)
        log.warning(
            "a page from %r was refused: where it may connect, name it in --origins", origin
        )
        if len(self._told) == MAX_TOLD:
            log.warning("refused pages from more than %d origins are no longer told", MAX_TOLD)

    def refusal_if_full(self) -> Response | None:
        """The answer to a plain client that no session is free for, counted; None where one is."""
        full = self._admission.refusal()
        if full is None:
            return None
        self._admission.refuse()
        return response(HTTPStatus.SERVICE_UNAVAILABLE, full + "\n", {"Retry-After": RETRY_S})
