"""Everything an operator can set, in one frozen dataclass, read once at the edge."""

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from emotion.engine import Device
from emotion.errors import ConfigurationError

ANALYZABLE_CHANNELS = ("customer", "mono", "left", "right")
"""Channels that may be analysed unless the operator says otherwise. `agent` is not among them: in the
EU, inferring employees' emotions at work is prohibited (Regulation 2024/1689, article 5(1)(f))."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The server's settings; all times in seconds.

    Attributes:
        model: a model folder; the embedded model where None.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        device: `auto`, `cpu` or `cuda`.
        threads: inference threads, each judging one window at a time; as many as there are cores
            where 0.
        max_sessions: sessions at once; one more is refused.
        analyzable: names of the channels that may be analysed.
        start_timeout_s: for the first message after connecting.
        idle_timeout_s: without any message, after which a session ends.
        send_timeout_s: for a client to take a message, after which it is given up.
        drain_timeout_s: for running sessions to get their results after SIGTERM.
        resume_grace_s: for a client that vanished to come back to its session.
        ring_events: events that the hub keeps for dashboards that ask again.
    """

    model: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8765
    device: Device = "auto"
    threads: int = 0
    max_sessions: int = 100
    analyzable: tuple[str, ...] = ANALYZABLE_CHANNELS
    start_timeout_s: float = 10.0
    idle_timeout_s: float = 30.0
    send_timeout_s: float = 20.0
    drain_timeout_s: float = 10.0
    resume_grace_s: float = 30.0
    ring_events: int = 50_000

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: a value is out of range; names it.
        """
        self._within("port", self.port, 0, 65_535)
        self._within("threads", self.threads, 0, 1024)
        self._within("max_sessions", self.max_sessions, 1, 100_000)
        for name in ("start_timeout_s", "idle_timeout_s", "send_timeout_s", "drain_timeout_s"):
            self._within(name, getattr(self, name), 0.01, 86_400)
        if not self.analyzable:
            raise ConfigurationError("analyzable: expected at least one channel name, found none")

    @property
    def workers(self) -> int:
        """The number of inference threads in effect."""
        return self.threads or cores()

    def _within(self, name: str, value: float, low: float, high: float) -> None:
        if not low <= value <= high:
            raise ConfigurationError(f"{name} is {value}: expected {low:g} to {high:g}")


def cores() -> int:
    """The cores this process may use; all of the machine's where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def url(host: str, port: int) -> str:
    """The base address that clients are given; IPv6 addresses in brackets."""
    try:
        shown = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        shown = host
    return f"ws://{shown}:{port}"
