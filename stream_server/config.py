"""Everything an operator can set, in one frozen dataclass, read once at the edge.

A setting is declared once, as a field of `Config`: its type, default, range and help are what the
command line, the environment and the configuration file are read by (`settings.py`).
"""

import dataclasses
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeVar
from urllib.parse import urlsplit

from emotion.alerts import Rule, check_rules
from emotion.cores import cores
from emotion.engine import Device
from emotion.errors import ConfigurationError
from stream_server.tables import (
    Audiohook,
    Jwt,
    Token,
    Twilio,
    Webhook,
    is_loopback,
    read_secret,
)

ANALYZABLE_CHANNELS = ("customer", "mono", "left", "right")
"""Channels that may be analysed unless the operator says otherwise. `agent` is not among them: in the
EU, inferring employees' emotions at work is prohibited (Regulation 2024/1689, article 5(1)(f))."""
DAY_S: Final = 86_400.0

T = TypeVar("T")
LogFormat = Literal["text", "json"]


def setting(default: T, help: str, low: float | None = None, high: float | None = None) -> T:
    """A field of `Config`; the numbers, where given, are the range it must lie in."""
    value: T = field(default=default, metadata={"help": help, "range": (low, high)})
    return value


@dataclass(frozen=True, kw_only=True)
class Config:
    """The server's settings; each one's help says what it means. Times are in seconds."""

    model: Path | None = setting(None, "Folder with monitor.onnx; the embedded model by default.")
    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(8765, "Port to listen on; 0 takes a free one.", 0, 65_535)
    device: Device = setting("auto", "What the model runs on.")
    threads: int = setting(0, "Inference threads; 0: one a core.", 0, 1024)

    max_sessions: int = setting(0, "Sessions at once; 0: as many as it measures.", 0, 100_000)
    analyzable: tuple[str, ...] = setting(ANALYZABLE_CHANNELS, "Channels that may be analysed.")
    start_timeout_s: float = setting(10.0, "Seconds for the first message.", 0.01, DAY_S)
    idle_timeout_s: float = setting(30.0, "Seconds without any message.", 0.01, DAY_S)
    send_timeout_s: float = setting(20.0, "Seconds for a client to read.", 0.01, DAY_S)
    drain_timeout_s: float = setting(
        10.0, "Seconds for running sessions after SIGTERM.", 0.01, DAY_S
    )
    resume_grace_s: float = setting(
        30.0, "Seconds in which a broken stream may be gone on with.", 0, 3600
    )

    tls_cert: Path | None = setting(None, "Certificate chain in PEM: serves wss:// and https://.")
    tls_key: Path | None = setting(None, "Its key in PEM, unencrypted.")
    origins: tuple[str, ...] = setting(
        (), "Origins whose pages may connect; none: the server's own only; *: all."
    )
    insecure: bool = setting(False, "Listen beyond this machine without tokens.")
    open_metrics: bool = setting(False, "Serve /metrics without a token.")
    trusted_proxies: tuple[str, ...] = setting(
        (), "Networks whose X-Forwarded-For is believed, such as 10.0.0.0/8."
    )
    max_connections: int = setting(
        0, "TCP connections at once; 0: twice the sessions, and 100.", 0, 1_000_000
    )
    max_sessions_per_address: int = setting(
        0, "Sessions at once from one address; 0: no limit.", 0, 100_000
    )
    max_handshakes_per_minute: int = setting(
        600, "Requests a minute from one address; 0: no limit.", 0, 1_000_000
    )

    bus: str = setting("memory", "Where events go: memory, or redis://HOST:PORT/DB.")
    bus_password_file: Path | None = setting(None, "File with the password of the bus.")
    ring_events: int = setting(20_000, "Events kept for dashboards that ask back.", 1, 10_000_000)
    public_url: str | None = setting(
        None, "The address that telephony calls, as it sees it: wss://calls.example.com."
    )

    log_format: LogFormat = setting("text", "How log lines look.")
    verbose: bool = setting(False, "Log every step.")

    tokens: tuple[Token, ...] = ()
    jwt: Jwt | None = None
    twilio: Twilio = Twilio()
    audiohook: Audiohook = Audiohook()
    alerts: tuple[Rule, ...] = ()
    webhook: Webhook | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: a value cannot be used; names it.
        """
        for item in dataclasses.fields(self):
            check_range(item, getattr(self, item.name))
        if not self.analyzable:
            raise ConfigurationError("analyzable: expected at least one channel name, found none")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigurationError("tls_cert and tls_key: expected both or neither")
        self._check_addresses()
        check_rules(self.alerts)
        names = [token.name for token in self.tokens]
        if len(set(names)) != len(names):
            raise ConfigurationError(f"tokens: expected distinct names, found {names}")
        if len({token.sha256.lower() for token in self.tokens}) != len(self.tokens):
            raise ConfigurationError("tokens: two have the same sha256: each needs its own token")
        if not (self.guarded or self.insecure or is_loopback(self.host)):
            raise ConfigurationError(
                f"host is {self.host}: anybody who reaches it could listen in; configure tokens "
                "(--new-token NAME makes one), or say --insecure"
            )

    def _check_addresses(self) -> None:
        for network in self.trusted_proxies:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ConfigurationError(
                    f"trusted_proxies: expected networks such as 10.0.0.0/8, found {error}"
                ) from error
        for origin in self.origins:
            if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", origin):
                raise ConfigurationError(
                    f"origins: expected scheme://host without a path, found {origin!r}"
                )
        if self.bus != "memory" and not re.match("rediss?://|unix://", self.bus):
            raise ConfigurationError("bus: expected memory, redis://, rediss:// or unix://")
        if "@" in urlsplit(self.bus).netloc and urlsplit(self.bus).password:
            raise ConfigurationError("bus: a password belongs into a file: bus_password_file")
        if self.public_url is not None and not re.match("(wss?|https?)://[^/]", self.public_url):
            raise ConfigurationError("public_url: expected an address such as wss://example.com")

    @property
    def workers(self) -> int:
        """The number of inference threads in effect."""
        return self.threads or cores()

    @property
    def guarded(self) -> bool:
        """Whether clients need a token."""
        return bool(self.tokens) or self.jwt is not None

    def bus_password(self) -> str | None:
        """The password of the bus, read now."""
        return read_secret(self.bus_password_file, "bus_password_file")


def check_range(item: "dataclasses.Field[object]", value: object) -> None:
    """
    Raises:
        ConfigurationError: a setting's number is out of its range.
    """
    low, high = item.metadata.get("range", (None, None))
    if low is not None and isinstance(value, int | float) and not low <= value <= high:
        raise ConfigurationError(f"{item.name} is {value}: expected {low:g} to {high:g}")


def url(host: str, port: int, scheme: str = "ws") -> str:
    """The base address that clients are given; IPv6 addresses in brackets."""
    try:
        shown = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        shown = host
    return f"{scheme}://{shown}:{port}"
