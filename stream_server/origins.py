"""Which web pages may connect.

A browser lets any page open a WebSocket to any server, this machine's too, and says in `Origin` where
the page came from. Programs send none, and are not asked.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from websockets.http11 import Request

from stream_server.tables import is_loopback

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Origins:
    """Tells which pages may connect.

    Args:
        allowed: origins, or `*` for all; where there are none, only pages from the request's own host.
        only_local: whether that host must be this machine. Where nothing else keeps strangers out,
            a page whose name was made to point here afterwards (DNS rebinding) must not come in.
    """

    def __init__(self, allowed: Iterable[str], only_local: bool = False) -> None:
        self._allowed = frozenset(allowed)
        self._only_local = only_local

    def allow(self, request: Request) -> bool:
        """Whether a request comes from such a page, or from no page at all."""
        origins = request.headers.get_all("Origin")
        if not origins or "*" in self._allowed:
            return True
        if len(origins) > 1:
            return False
        if self._allowed:
            return origins[0] in self._allowed
        hosts = request.headers.get_all("Host")
        return len(hosts) == 1 and self._same(origins[0], hosts[0])

    def _same(self, origin: str, host: str) -> bool:
        page, here = _split(origin), _split(f"//{host}")
        if page is None or here is None or page.scheme not in DEFAULT_PORTS:
            return False
        if self._only_local and not is_loopback(here.hostname or ""):
            return False
        port = DEFAULT_PORTS[page.scheme]
        return (page.hostname, page.port or port) == (here.hostname, here.port or port)


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises where it is none
    except ValueError:
        return None
    return parts if parts.hostname else None
