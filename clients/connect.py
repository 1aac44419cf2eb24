"""How a client gets to a server: address, credentials, TLS, and why it did not get there."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import gaierror
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from clients.errors import UnreachableError
from emotion.errors import ConfigurationError

DEFAULT_URL: Final = "ws://127.0.0.1:8765"
STREAM_PATH: Final = "/v1/stream"
MONITOR_PATH: Final = "/v1/monitor"
OPEN_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
PING_TIMEOUT_S: Final = 120.0
"""A ping waits behind the audio sent before it, which a busy server reads as slowly as it judges."""
TOO_MANY: Final = 429  # HTTP's Too Many Requests
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Access:
    """Where a server is and how one is let in.

    Args:
        url: the server's, `ws://` or `wss://`; without a path, or with that of the endpoint wanted.
        token: credentials, if the server wants any.
        ca: a file with the certificates to trust instead of the system's, for `wss://`.
    """

    url: str = DEFAULT_URL
    token: str | None = None
    ca: Path | None = None

    def address(self, path: str) -> str:
        """The address of one of the server's endpoints.

        Args:
            path: of the endpoint, such as `/v1/stream`.

        Raises:
            ConfigurationError: `url` is not that of a server.
        """
        expected = f"expected ws://HOST:PORT or wss://HOST, such as {DEFAULT_URL}"
        parts = self._parts(expected)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ConfigurationError(f"url {self.url}: {expected}")
        if parts.path.rstrip("/") not in ("", path) or parts.query or parts.fragment:
            raise ConfigurationError(f"url {self.url}: {expected}; {path} is appended")
        return f"{parts.scheme}://{parts.netloc}{path}"

    def headers(self) -> dict[str, str]:
        """The credentials as HTTP sends them."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def tls(self) -> ssl.SSLContext | None:
        """What makes the connection safe; None for `ws://`.

        Raises:
            ConfigurationError: `ca` holds no certificates, or belongs to no TLS.
        """
        if urlsplit(self.url).scheme != "wss":
            if self.ca is not None:
                raise ConfigurationError(f"ca {self.ca}: expected wss:// in --url, {self.url}")
            return None
        try:
            return ssl.create_default_context(cafile=self.ca)
        except OSError as error:  # ssl.SSLError is one
            reason = error.strerror or "no certificates in it"
            raise ConfigurationError(
                f"ca {self.ca}: cannot be read ({reason}); expected a file of PEM certificates"
            ) from error

    def _parts(self, expected: str) -> SplitResult:
        try:
            parts = urlsplit(self.url)
            _ = parts.hostname, parts.port  # which are only looked at here
        except ValueError as error:
            raise ConfigurationError(f"url {self.url}: {error}; {expected}") from error
        return parts


@asynccontextmanager
async def connected(
    access: Access, path: str, query: str = "", **options: Any
) -> AsyncIterator[ClientConnection]:
    """A connection, or one line that says why there is none and what to do.

    Args:
        access: to the server.
        path: of the endpoint.
        query: what comes after `?` in the address.
        options: for `websockets.connect`, besides those that every client shares.

    Raises:
        UnreachableError: there is none.
        ConfigurationError: `access` is not to a server.
    """
    address, tls = access.address(path), access.tls()
    options = {"ping_timeout": PING_TIMEOUT_S} | options | ({"ssl": tls} if tls else {})
    try:
        connection = await connect(
            f"{address}?{query}" if query else address,
            additional_headers=access.headers(),
            compression=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            proxy=None if urlsplit(address).hostname in LOOPBACK else True,
            **options,
        )
    except (OSError, WebSocketException) as error:
        raise _unreachable(address, error) from error
    async with connection:
        yield connection


def _unreachable(address: str, error: Exception) -> UnreachableError:
    status = error.response.status_code if isinstance(error, InvalidStatus) else None
    if status is not None:
        passing = status >= 500 or status == TOO_MANY
    else:
        passing = not isinstance(error, ssl.SSLError)
    return UnreachableError(f"{address}: {_advice(error)}", status=status, passing=passing)


def _advice(error: Exception) -> str:
    """What to do about a connection that could not be opened."""
    match error:
        case InvalidStatus() if error.response.status_code in (401, 403):
            status = error.response.status_code
            return f"the server wants a token, or another one (HTTP {status}); pass --token"
        case InvalidStatus() if error.response.status_code == 503:
            return "the server takes no more streams at the moment (HTTP 503); try again later"
        case InvalidStatus() if error.response.status_code == TOO_MANY:
            return "the server was asked too often (HTTP 429); try again later"
        case InvalidStatus():
            status = error.response.status_code
            return f"answers HTTP {status}: expected an emotion-server there; check --url"
        case WebSocketException():
            return f"does not speak WebSocket ({error}); check --url"
        case gaierror():
            return "no such host; check --url"
        case ssl.SSLCertVerificationError():
            reason = error.verify_message or error.reason
            return f"its certificate is not trusted ({reason}); pass its issuer's with --ca"
        case ssl.SSLError():
            return f"TLS failed ({error.reason or error}); check the certificate, or ws:// in --url"
        case TimeoutError():
            return f"no answer within {OPEN_TIMEOUT_S:.0f} s; check --url and the firewall"
        case OSError() if "Connect call failed" in str(error):  # each address of the host refused
            return "nothing listens there; start a server with emotion-server, or check --url"
    return f"cannot be reached ({error}); check --url"
