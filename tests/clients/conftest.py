"""A model too small to be any good, servers in threads, and the command line run in process."""

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
from emotion.contract import Contract, pack, to_metadata
from emotion.labels import EMOTIONS

Handler = Callable[[ServerConnection], Awaitable[None]]
DIM = 4


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
    """Writes a few seconds of noise that grows louder; a file's name says its format."""

    def write(
        seconds: float = 2.5,
        *,
        rate: int = 16_000,
        channels: int = 1,
        name: str = "noise.wav",
    ) -> Path:
        frames = round(seconds * rate)
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, (frames, channels))
        path = tmp_path / name
        soundfile.write(path, noise * np.linspace(0.1, 1, frames)[:, np.newaxis], rate)
        return path

    return write


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: four simple statistics of the waveform and one random layer."""
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    folder = tmp_path_factory.mktemp("model")
    for graph, text in {"monitor": MONITOR, "classifier": CLASSIFIER}.items():
        proto = onnx.parser.parse_model(HEADER + text)
        weights = np.random.default_rng(1).normal(size=(DIM, len(EMOTIONS))).astype(np.float32)
        initial = {
            "w": weights,
            "corpus_mean": MEAN[np.newaxis],
            "corpus_inv_std": 1 / STD[np.newaxis],
        }
        for name, value in initial.items():
            if graph == "monitor" or name == "w":
                proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        onnx.helper.set_model_props(proto, to_metadata(_contract(graph)))
        onnx.save(proto, folder / f"{graph}.onnx")
    return folder


MEAN = np.full(DIM, 0.1, np.float32)
STD = np.full(DIM, 0.2, np.float32)
HEADER = '<ir_version: 8, opset_import: ["" : 18]>'
MONITOR = """
monitor (float[B, N] waveform) => (float[B, 8] probabilities, float[B, 4] embedding) {
    axes = Constant<value_ints = [1]>()
    loud = Abs(waveform)
    power = Mul(waveform, waveform)
    level = ReduceMean(loud, axes)
    energy = ReduceMean(power, axes)
    top = ReduceMax(waveform, axes)
    bottom = ReduceMin(waveform, axes)
    embedding = Concat<axis = 1>(level, energy, top, bottom)
    centred = Sub(embedding, corpus_mean)
    normal = Mul(centred, corpus_inv_std)
    logits = MatMul(normal, w)
    probabilities = Softmax<axis = 1>(logits)
}"""
CLASSIFIER = """
classifier (float[B, 4] embedding, float[B, 4] mean, float[B, 4] inv_std)
    => (float[B, 8] probabilities) {
    centred = Sub(embedding, mean)
    normal = Mul(centred, inv_std)
    logits = MatMul(normal, w)
    probabilities = Softmax<axis = 1>(logits)
}"""


def _contract(graph: Any) -> Contract:
    return Contract(
        graph=graph,
        name="tiny",
        version="1",
        labels=EMOTIONS,
        sample_rate=16_000,
        min_samples=8_000,
        max_samples=480_000,
        embedding_dim=DIM,
        embedding_mean=pack(MEAN),
        embedding_std=pack(STD),
        adaptable=True,
        prior_s=3.0,
        precision="fp32",
        target="",
        opset=18,
        recipe={},
        metrics={},
        licence="none",
        data="none",
    )


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
def server(model: Path) -> Iterator[str]:
    """The real server with the tiny model, on a free port; its url."""
    from stream_server.config import Config
    from stream_server.server import running

    @asynccontextmanager
    async def context() -> Any:
        async with running(Config(model=model, port=0)) as server:
            yield server.url

    with in_thread(context) as url:
        yield url
