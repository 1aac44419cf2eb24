"""What a server says of itself: at `/metrics`, the processor time and the memory that it takes."""

import asyncio
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from clients.connect import Access

METRICS_PATH: Final = "/metrics"
MAX_BYTES: Final = 1 << 22
TIMEOUT_S: Final = 5.0
PORTS: Final = {"ws": 80, "wss": 443}


@dataclass(frozen=True)
class Usage:
    """Of the server's process; None where it does not say.

    Attributes:
        cpu_s: seconds of processor time so far.
        loop_cpu_s: those of its event loop.
        memory: resident bytes.
    """

    cpu_s: float | None = None
    loop_cpu_s: float | None = None
    memory: float | None = None


async def usage(access: Access) -> Usage:
    """Asks a server; a server that does not answer says nothing."""
    return usage_in(await fetch(access, METRICS_PATH))


def usage_in(text: str) -> Usage:
    """What an answer at `/metrics` says of the process."""
    return Usage(
        value(text, "process_cpu_seconds_total"),
        value(text, "emotion_monitor_event_loop_cpu_seconds_total"),
        value(text, "process_resident_memory_bytes"),
    )


async def fetch(access: Access, path: str) -> str:
    """The body of a server's answer to plain HTTP; empty where there is none, or it is no success.

    Args:
        access: to the server.
        path: such as `/metrics`; at most `MAX_BYTES` of the answer are read.

    Raises:
        ConfigurationError: `access` is not to a server.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _get(access, path)
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return ""


async def _get(access: Access, path: str) -> str:
    parts = urlsplit(access.url)
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or PORTS[parts.scheme], ssl=access.tls()
    )
    try:
        lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in access.headers().items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        answer = bytearray()
        while len(answer) < MAX_BYTES and (data := await reader.read(1 << 16)):
            answer += data
    finally:
        writer.close()
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    return body.decode(errors="replace") if head.split(b" ")[1:2] == [b"200"] else ""


def value(text: str, name: str) -> float | None:
    """A metric in Prometheus' text format; None where it is not there.

    Args:
        text: an answer at `/metrics`.
        name: with its labels, if it has any, as they stand there: `windows_total{result="silent"}`.
    """
    found = re.search(rf"^{re.escape(name)} ([0-9.eE+-]+)", text, re.MULTILINE)
    try:
        return float(found[1]) if found else None
    except ValueError:
        return None


def median(text: str, name: str) -> float | None:
    """Of a histogram: interpolated in the bucket that holds it, as Prometheus' `histogram_quantile`.

    Args:
        text: an answer at `/metrics`.
        name: the histogram's, without `_bucket`.

    Returns:
        in the histogram's unit; None where nothing was observed, or more than its last bound.
    """
    pattern = rf'^{re.escape(name)}_bucket{{le="([0-9.eE+-]+)"}} ([0-9.eE+-]+)'
    half = (value(text, f"{name}_count") or 0.0) / 2
    below, low = 0.0, 0.0  # how many there are up to the last bucket, and its bound
    for bound, count in re.findall(pattern, text, re.MULTILINE):
        if 0 < half <= float(count):
            share = (half - below) / (float(count) - below)
            return low + share * (float(bound) - low)
        below, low = float(count), float(bound)
    return None
