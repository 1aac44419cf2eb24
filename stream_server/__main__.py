"""`emotion-server`: serves a model on one port until SIGTERM or Ctrl-C."""

import asyncio
import gc
import hashlib
import inspect
import json
import logging
import os
import secrets
import signal
import sys
import threading
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from emotion.command_line import Version, run
from emotion.errors import ConfigurationError
from stream_server import logs
from stream_server.config import Config
from stream_server.race import first_of, until
from stream_server.server import CLOSE_TIMEOUT_S, Server, running
from stream_server.settings import flag_of, load, settings
from stream_server.tables import RoleName, is_loopback

EXIT_STUCK: Final = 1
LAST_RESORT_S: Final = 5.0
"""Beyond all timeouts of an orderly end, before the process ends whatever it waits for."""

ROLES: Final = typing.get_args(RoleName)
DEFAULT_ROLES: Final = ("publish",)

app = typer.Typer(add_completion=False)
log = logging.getLogger(__name__)


def server(
    config: Path | None = None,
    new_token: str | None = None,
    role: list[str] | None = None,
    version: bool | None = None,
    **flags: str | bool | None,
) -> None:
    """Serves live speech emotions over WebSockets.

    Every option can also stand in a TOML file (--config) and in the environment (EMOTION_PORT, ...);
    options win over variables, and those over the file.
    """
    if role and new_token is None:
        raise ConfigurationError(
            "--role says what a new token is good for: expected --new-token NAME"
        )
    if new_token is not None:
        typer.echo(token_table(new_token, secrets.token_urlsafe(32), role or DEFAULT_ROLES))
        return
    given = {name: value for name, value in flags.items() if value is not None}
    logs.configure("text", verbose=False)  # until it is known how they are wanted
    read = load(given, os.environ, config)
    logs.configure(read.log_format, read.verbose)
    warn_of(read)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    asyncio.run(serve_until_signal(read, lambda: load(given, os.environ, config)))


def options() -> inspect.Signature:
    """The command line's options: some of its own, and one for each setting."""
    own: dict[str, tuple[Any, Any]] = {
        "config": (Path | None, typer.Option(help="TOML file with settings.")),
        "new_token": (
            str | None,
            typer.Option(
                help="Make a token, print it and its table for the file, and end.", metavar="NAME"
            ),
        ),
        "role": (
            list[str] | None,
            typer.Option(
                help="What the new token is good for; more than once for both. Default: publish.",
                metavar="|".join(ROLES),
            ),
        ),
        "version": typing.get_args(Version),
    }
    hints = typing.get_type_hints(Config)
    for item in settings():
        flag, help = flag_of(item.name), item.metadata["help"]
        if hints[item.name] is bool:
            own[item.name] = (bool | None, typer.Option(f"{flag}/--no-{flag[2:]}", help=help))
        else:
            if shown := _shown(item.default):
                help = f"{help} Default: {shown}."
            option = typer.Option(flag, help=help, metavar=_metavar(hints[item.name]))
            own[item.name] = (str | None, option)
    return inspect.Signature(
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, how]
            )
            for name, (kind, how) in own.items()
        ]
    )


def _shown(default: Any) -> str:
    """A default as the help shows it; empty where there is none."""
    return ",".join(default) if isinstance(default, tuple) else str(default or "")


def _metavar(hint: Any) -> str:
    """What the help calls a value of a setting's type: its choices where it has some."""
    if typing.get_origin(hint) is typing.Literal:
        return "|".join(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "A,B,..."
    kinds = [kind for kind in (*typing.get_args(hint), hint) if kind is not type(None)]
    return {int: "NUMBER", float: "SECONDS", Path: "PATH"}.get(kinds[0], "TEXT")


def token_table(name: str, token: str, roles: Sequence[str] = DEFAULT_ROLES) -> str:
    """What `--new-token` prints: the token, which nobody can ask for again, and its TOML table.

    Raises:
        ConfigurationError: there is no such role.
    """
    for role in roles:
        if role not in ROLES:
            raise ConfigurationError(f"role {role!r}: expected {' or '.join(ROLES)}")
    known = json.dumps(list(dict.fromkeys(roles)))
    digest = hashlib.sha256(token.encode()).hexdigest()
    return (
        f"# The token, shown this once; the file knows only its hash:\n# {token}\n"
        f'[[tokens]]\nname = {json.dumps(name)}\nsha256 = "{digest}"\n'
        f"roles = {known}  # publish: send audio; monitor: follow calls, /metrics\n"
    )


def warn_of(config: Config) -> None:
    """Says what is dangerous, or surely not meant, about settings that are allowed."""
    if config.webhook is not None and not config.alerts:
        log.warning("webhook: there is no [[alerts]] table, so nothing will be sent")
    if is_loopback(config.host):
        return
    if not config.guarded:
        log.warning("--insecure: anybody who reaches this server may use it and listen in")
    elif config.tls_cert is None:
        log.warning("tokens and audio travel in the clear unless a proxy adds TLS (tls_cert)")


SWITCH_INTERVAL_S = 0.0005
"""After which a thread that runs Python lets another one run. With Python's 5 ms the event loop may wait
that long for each frame that comes while a thread prepares a window."""


async def serve_until_signal(config: Config, again: Callable[[], Config]) -> None:
    """Serves until SIGTERM or SIGINT, then drains; a second signal ends the waiting.

    Args:
        config: the settings.
        again: reads them again, on SIGHUP.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()

    def ask() -> None:
        (hurry if stop.is_set() else stop).set()

    on_signals(ask)
    async with running(config) as server:
        on_hangup(server, again)
        # What stays for ever is not looked through again and again: a full collection would hold up the
        # event loop for it, and come the later the more there is.
        gc.collect()
        gc.freeze()
        page = server.url.replace("ws", "http", 1)
        log.info("listening on %s and %s (the page)", server.url, page)
        await stop.wait()
        last_resort(config.drain_timeout_s + CLOSE_TIMEOUT_S + LAST_RESORT_S)
        await first_of(server.drain(), until(hurry))


def on_signals(ask: Callable[[], None]) -> None:
    """Has the event loop call `ask` on SIGTERM and SIGINT, on Windows too."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, ask)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(ask))


def on_hangup(server: Server, again: Callable[[], Config]) -> None:
    """Has SIGHUP read tokens and certificate again, where there are such signals."""

    def reload() -> None:
        try:
            server.reload(again())
        except ConfigurationError as error:
            log.error("the settings were not read again, the old ones stay: %s", error)

    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)


def last_resort(seconds: float) -> None:
    """Ends the process after so long, even where a thread is stuck in a model and nothing else would.

    Python waits for such threads when it ends, and they cannot be stopped.
    """

    def end() -> None:
        log.error("could not end within %.0f s: something is stuck and is cut off", seconds)
        os._exit(EXIT_STUCK)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def main() -> None:
    """The command line's entry point."""
    run(app)


typing.cast(Any, server).__signature__ = options()
server.__annotations__ = {name: item.annotation for name, item in options().parameters.items()}
app.command()(server)

if __name__ == "__main__":
    main()
