"""How much of the server anybody may have at once.

A slot is taken by the task that serves the session and given back when that task ends, on every path,
because it is held by a `with` block. The handshake only asks whether there is one: what it would take,
it could not give back.
"""

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, get_args

from emotion.errors import MessageError
from stream_server.auth import ANONYMOUS, Principal

MAX_ADDRESSES: Final = 10_000
"""Whose requests are counted; the one not heard of for longest is forgotten for a new one."""
MAX_HOPS: Final = 32  # of X-Forwarded-For that are looked at

Refusal = Literal[
    "at_capacity", "draining", "token", "address", "unauthorized", "origin", "rate", "connections"
]
"""Why somebody was turned away: all slots are taken, the server shuts down, the token's or the
address's own sessions are too many, the credential or the page's origin is no good, requests come too
fast, there are too many connections."""
REFUSALS: Final[tuple[Refusal, ...]] = get_args(Refusal)


def _nobody(reason: Refusal) -> None:
    """Is told of refusals where nobody else is."""


class Admission:
    """Counts the sessions.

    Args:
        max_sessions: slots.
        max_per_address: of them for one address; 0 for no limit.
        refused: told the reason of each refusal.
    """

    def __init__(
        self,
        max_sessions: int,
        *,
        max_per_address: int = 0,
        refused: Callable[[Refusal], None] = _nobody,
    ) -> None:
        self.max_sessions = max_sessions
        self.active = 0
        self.draining = False
        self.refused = refused
        self._max_per_address = max_per_address
        self._of_address: Counter[str] = Counter()
        self._of_name: Counter[str] = Counter()

    def refusal(self) -> str | None:
        """Why a session would be refused to anybody now; None where it would not."""
        if self.draining:
            return "the server is shutting down: connect again in a moment"
        if self.active >= self.max_sessions:
            return f"all {self.max_sessions} sessions are taken: connect again later"
        return None

    def refuse(self) -> None:
        """Counts a refusal for what `refusal` said."""
        self.refused("draining" if self.draining else "at_capacity")

    @contextmanager
    def slot(self, principal: Principal = ANONYMOUS, address: str = "") -> Iterator[None]:
        """Holds a slot for as long as the block runs.

        Args:
            principal: whose session it is.
            address: as `Proxies.client` gives it; empty where it is not known, and not counted.

        Raises:
            MessageError: `at_capacity`.
        """
        self._check(principal, address)
        self.active += 1
        self._of_name[principal.name] += 1
        self._of_address[address] += 1
        try:
            yield
        finally:
            self.active -= 1
            _less(self._of_name, principal.name)
            _less(self._of_address, address)

    def _check(self, principal: Principal, address: str) -> None:
        reason = self.refusal()
        if reason is not None:
            self.refuse()
            raise MessageError("at_capacity", reason)
        limit = principal.max_sessions
        if limit is not None and self._of_name[principal.name] >= limit:
            self.refused("token")
            raise MessageError("at_capacity", f"all {limit} sessions of this token are taken")
        limit = self._max_per_address
        if limit and address and self._of_address[address] >= limit:
            self.refused("address")
            raise MessageError("at_capacity", f"all {limit} sessions of this address are taken")


def _less(counter: Counter[str], name: str) -> None:
    """One less, and no trace of what has none."""
    counter[name] -= 1
    if counter[name] <= 0:
        del counter[name]


class Pace:
    """Holds each address to so many requests a minute: a bucket of that size, refilled steadily.

    Args:
        per_minute: requests; 0 for no limit.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # fill, when

    def __len__(self) -> int:
        return len(self._buckets)

    def allows(self, address: str, now: float) -> bool:
        """Counts a request; whether it is within the pace.

        Args:
            address: as `Proxies.client` gives it.
            now: seconds of a monotonic clock.
        """
        if not self._per_minute:
            return True
        fill, when = self._buckets.pop(address, (float(self._per_minute), now))
        fill = min(fill + (now - when) * self._per_minute / 60, float(self._per_minute))
        self._buckets[address] = (max(fill - 1, 0.0), now)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return fill >= 1


class Doors:
    """Counts TCP connections, with or without a session.

    Args:
        limit: of them at once.
        refused: told of each one beyond.
    """

    def __init__(self, limit: int, refused: Callable[[Refusal], None] = _nobody) -> None:
        self.limit = limit
        self.open = 0
        self._refused = refused

    def enter(self) -> bool:
        """Counts a connection in; whether it may stay. `leave` counts it out, either way."""
        self.open += 1
        if self.open > self.limit:
            self._refused("connections")
        return self.open <= self.limit

    def leave(self) -> None:
        """Counts a connection out."""
        self.open -= 1


class Proxies:
    """Tells clients' addresses from those of the proxies before them.

    Args:
        networks: of proxies whose X-Forwarded-For is believed; nobody else's is.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def client(self, peer: str, forwarded: Iterable[str]) -> str:
        """The address that limits count a client by: for IPv6 its /64, which is one customer's.

        Args:
            peer: the address of the TCP connection's other end.
            forwarded: the values of X-Forwarded-For, in order; each proxy adds its client at the end.
        """
        client = _parsed(peer)
        hops = ",".join(forwarded).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
        while hops and client is not None and any(client in known for known in self._networks):
            before = _parsed(hops.pop())
            if before is None:
                break
            client = before
        if client is None:
            return peer
        if client.version == 6:
            return str(ipaddress.ip_network((client.packed[:8] + bytes(8), 64)))
        return str(client)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    host = text.strip()
    if host.startswith("["):  # some proxies add the port: [::1]:80, 10.0.0.1:80
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return address if mapped is None else mapped
