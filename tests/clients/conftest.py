"""Servers in threads, and the command line run in process."""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
from websockets.asyncio.server import ServerConnection, serve

from clients.__main__ import main
from emotion.engine import Engine
from tests.fakes import restless
from tests.speech import speech_like

Handler = Callable[[ServerConnection], Awaitable[None]]


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """The one line on stderr."""
        assert self.err.count("\n") == 1, self.err
        return self.err.strip()


@pytest.fixture
def client(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Runs `emotion-client` in this process."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["emotion-client", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Ran(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def wav(tmp_path: Path) -> Callable[..., Path]:
    """Writes a few seconds of noise or of what passes for speech; a file's name says its format."""

    def write(
        seconds: float = 2.5,
        *,
        rate: int = 16_000,
        channels: int = 1,
        name: str = "a.wav",
        speech: bool = False,
    ) -> Path:
        if speech:
            columns = [speech_like(seconds, rate, seed) for seed in range(channels)]
            samples = np.stack(columns, axis=1)
        else:
            samples = restless(seconds, rate, channels)
        soundfile.write(tmp_path / name, samples, rate)
        return tmp_path / name

    return write


@contextmanager
def in_thread(context: Callable[[], AbstractAsyncContextManager[str]]) -> Iterator[str]:
    """Keeps an asynchronous context open in a thread with a loop of its own; yields its url."""
    ready, urls, ends = threading.Event(), [""], list[Callable[[], object]]()

    async def keep() -> None:
        end, loop = asyncio.Event(), asyncio.get_running_loop()
        ends.append(lambda: loop.call_soon_threadsafe(end.set))
        try:
            async with context() as urls[0]:
                ready.set()
                await end.wait()
        finally:
            ready.set()

    thread = threading.Thread(target=asyncio.run, args=(keep(),))
    thread.start()
    ready.wait()
    try:
        yield urls[0]
    finally:
        ends[0]()
        thread.join()


@pytest.fixture
def stub() -> Iterator[Callable[..., str]]:
    """Starts a WebSocket server with a handler of the test's own; gives its url."""
    running = list[Any]()

    def start(handler: Handler, **options: Any) -> str:
        @asynccontextmanager
        async def context() -> Any:
            async with serve(handler, "127.0.0.1", 0, close_timeout=1, **options) as server:
                port = next(iter(server.sockets)).getsockname()[1]
                yield f"ws://127.0.0.1:{port}"

        running.append(in_thread(context))
        return str(running[-1].__enter__())

    yield start
    for context in running:
        context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def server(engine: Engine) -> Iterator[str]:
    """The real server with the small model, on a free port; its url."""
    from stream_server.config import Config
    from stream_server.server import running

    @asynccontextmanager
    async def context() -> Any:
        async with running(Config(port=0), engine) as server:
            yield server.url

    with in_thread(context) as url:
        yield url
