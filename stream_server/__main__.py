"""`emotion-server`: serves a model on one port until SIGTERM or Ctrl-C."""

import asyncio
import logging
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from emotion.command_line import run
from stream_server.config import ANALYZABLE_CHANNELS, Config
from stream_server.server import running

app = typer.Typer(add_completion=False)
log = logging.getLogger(__name__)


class DeviceName(StrEnum):
    """What a model can be asked to run on."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@app.command()
def server(
    model: Annotated[
        Path | None, typer.Option(help="Folder with monitor.onnx; the embedded model by default.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8765,
    device: Annotated[DeviceName, typer.Option(help="What the model runs on.")] = DeviceName.AUTO,
    threads: Annotated[int, typer.Option(help="Inference threads; 0: one a core.")] = 0,
    max_sessions: Annotated[int, typer.Option(help="Sessions at once.")] = 100,
    analyzable: Annotated[
        str, typer.Option(help="Channels that may be analysed, separated by commas.")
    ] = ",".join(ANALYZABLE_CHANNELS),
    start_timeout: Annotated[float, typer.Option(help="Seconds for the first message.")] = 10.0,
    idle_timeout: Annotated[float, typer.Option(help="Seconds without any message.")] = 30.0,
    send_timeout: Annotated[float, typer.Option(help="Seconds for a client to read.")] = 20.0,
    drain_timeout: Annotated[
        float, typer.Option(help="Seconds for running sessions after SIGTERM.")
    ] = 10.0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every step.")] = False,
) -> None:
    """Serves live speech emotions over WebSockets."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # One line a connection that says nothing about the session; failures still come through.
    logging.getLogger("websockets").setLevel(logging.DEBUG if verbose else logging.ERROR)
    config = Config(
        model=model,
        host=host,
        port=port,
        device=device.value,
        threads=threads,
        max_sessions=max_sessions,
        analyzable=tuple(name.strip() for name in analyzable.split(",") if name.strip()),
        start_timeout_s=start_timeout,
        idle_timeout_s=idle_timeout,
        send_timeout_s=send_timeout,
        drain_timeout_s=drain_timeout,
    )
    asyncio.run(serve_until_signal(config))


async def serve_until_signal(config: Config) -> None:
    """Serves until SIGTERM or SIGINT, then drains; a second signal ends the waiting."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def ask() -> None:
        (hurry if stop.is_set() else stop).set()

    on_signals(ask)
    async with running(config) as server:
        log.info("listening on %s", server.url)
        await stop.wait()
        draining = asyncio.create_task(server.drain())
        hurrying = asyncio.create_task(hurry.wait())
        await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        draining.cancel()


def on_signals(ask: Callable[[], None]) -> None:
    """Has the event loop call `ask` on SIGTERM and SIGINT, on Windows too."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, ask)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ask))


def main() -> None:
    """The command line's entry point."""
    run(app)


if __name__ == "__main__":
    main()
