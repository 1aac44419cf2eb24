"""What the four command lines share: how a failure reaches the person who typed the command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated

import typer

from emotion.errors import EmotionError
from emotion.package import install_line, installed_version

EXIT_FAILURE = 2
VERSION = "--version"
EXIT_INTERRUPTED = 130  # what a shell reports for a program ended by SIGINT


def tell_version(asked: bool) -> None:
    """Says the version, where it was asked for, and ends the command.

    Raises:
        typer.Exit: it was asked for.
    """
    if asked:
        _echo_version()
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(VERSION, help="Say the version and end.", callback=tell_version, is_eager=True),
]


def run(app: typer.Typer) -> None:
    """Runs a command line and exits the process.

    An `EmotionError` and a wrong option become one line on stderr and exit code 2, Ctrl-C exit code
    130, a closed pipe (`... | head`) a silent end. Anything else is a defect and keeps its
    traceback.

    Raises:
        SystemExit: always, with the exit code.
    """
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except SystemExit as end:
        # Typer has already silenced stdout when it says 1 to a closed pipe.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        code = 0
    except Exception as error:
        _say(f"error: {_line(_cause(error))}")
        raise SystemExit(EXIT_FAILURE) from None
    if code == EXIT_INTERRUPTED:
        _say("interrupted")
    raise SystemExit(code if isinstance(code, int) else 0)


def run_extra(module: str, extra: str) -> None:
    """Runs the command line `module.app`, whose packages an extra brings, and exits the process.

    Where a package is missing, one line says which extra to install; `--version` needs none.

    Raises:
        SystemExit: always, with the exit code.
    """
    if sys.argv[1:] == [VERSION]:
        _echo_version()
        raise SystemExit(0)
    with needing(extra):
        app = import_module(module).app
    run(app)


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Where a package is missing to what is imported inside, one line says which extra to install.

    Raises:
        SystemExit: one is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        _say(f"error: {error.name} is not installed; {install_line(extra)} brings it")
        raise SystemExit(EXIT_FAILURE) from None


def _echo_version() -> None:
    typer.echo(f"emotion-monitor {installed_version()}".rstrip())


def _cause(error: Exception) -> Exception:
    """What went wrong inside a task group, where that is one thing."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _line(error: Exception) -> str:
    """What to tell the user.

    Raises:
        Exception: `error` itself, where it is a defect.
    """
    if isinstance(error, EmotionError):
        return _one_line(str(error))
    # Typer's usage errors. Their classes are click's, which newer typers carry inside.
    if hasattr(error, "format_message"):
        return f"{_one_line(error.format_message())} (--help lists the options)"
    raise error


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
