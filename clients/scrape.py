"""What a server says of itself at `/metrics`: the processor time and the memory that it takes."""

import asyncio
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from clients.connect import Access

PATH: Final = "/metrics"
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
    try:
        async with asyncio.timeout(TIMEOUT_S):
            text = await _get(access)
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return Usage()
    return Usage(
        _value(text, "process_cpu_seconds_total"),
        _value(text, "emotion_monitor_event_loop_cpu_seconds_total"),
        _value(text, "process_resident_memory_bytes"),
    )


async def _get(access: Access) -> str:
    """The body of the answer; empty where it is no success."""
    parts = urlsplit(access.url)
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or PORTS[parts.scheme], ssl=access.tls()
    )
    try:
        lines = [f"GET {PATH} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in access.headers().items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        answer = bytearray()
        while len(answer) < MAX_BYTES and (data := await reader.read(1 << 16)):
            answer += data
    finally:
        writer.close()
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    return body.decode(errors="replace") if head.split(b" ")[1:2] == [b"200"] else ""


def _value(text: str, name: str) -> float | None:
    """A metric without labels, in Prometheus' text format."""
    found = re.search(rf"^{name} ([0-9.eE+-]+)", text, re.MULTILINE)
    try:
        return float(found[1]) if found else None
    except ValueError:
        return None
