"""A webhook's receiver that answers as it is told to."""

import asyncio
import base64
import hmac
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"

Part = int | str | tuple[int, dict[str, str]]


class Receiver:
    """Plays one part a request, the last one again: a status, a status with headers, or

    `stall`: no answer; `drip`: one that never ends; `hang up`: the connection breaks;
    `huge`: more than anybody should read; `nonsense`: what is no HTTP.
    """

    def __init__(self, *parts: Part) -> None:
        self.parts = list(parts) or [204]
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.at_once = self.most_at_once = 0
        self.connections = 0
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        base = "http://127.0.0.1" if self.tls is None else "https://localhost"
        return f"{base}:{self.port}/hook?key=hush"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in self.requests]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((head[0], headers, body))
        part = self.parts.pop(0) if len(self.parts) > 1 else self.parts[0]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.005)  # so that others can come meanwhile
            return await self._answer(part, writer)
        finally:
            self.at_once -= 1

    async def _answer(self, part: Part, writer: asyncio.StreamWriter) -> bool:
        if part == "stall":
            await asyncio.Event().wait()
        if part == "hang up":
            return False
        if part == "nonsense":
            writer.write(b"\x00\x01 hello?\r\n\r\n")
            return False
        if part == "drip":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                writer.write(b".")
                await asyncio.sleep(0.01)
        if part == "huge":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + bytes(1 << 16))
            await writer.drain()
            return True
        assert not isinstance(part, str)
        status, headers = part if isinstance(part, tuple) else (part, {})
        lines = [f"HTTP/1.1 {status} so", *(f"{k}: {v}" for k, v in headers.items())]
        length = [] if status == 204 else ["Content-Length: 0"]
        writer.write("\r\n".join([*lines, *length, "", ""]).encode())
        await writer.drain()
        return True


def verify(headers: dict[str, str], body: bytes, key: bytes = KEY) -> bool:
    """Whether one of the signatures is the key's; written from the specification's words."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}"
    expected = base64.b64encode(hmac.new(key, signed.encode(), "sha256").digest()).decode()
    return f"v1,{expected}" in headers["webhook-signature"].split(" ")


@asynccontextmanager
async def receiving(*parts: Part) -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver(*parts)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
