"""What the four command lines share: how a failure reaches the person who typed the command."""

import os
import sys

import typer

from emotion.errors import EmotionError

EXIT_FAILURE = 2
EXIT_INTERRUPTED = 130  # what a shell reports for a program ended by SIGINT


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
    except EmotionError as error:
        _say(f"error: {_one_line(str(error))}")
        raise SystemExit(EXIT_FAILURE) from None
    except typer.Exit as error:
        raise SystemExit(error.exit_code) from None
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more on its way out; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except Exception as error:
        # Typer's usage errors. Their classes are click's, which newer typers carry inside.
        if not hasattr(error, "format_message"):
            raise
        _say(f"error: {_one_line(error.format_message())} (--help lists the options)")
        raise SystemExit(EXIT_FAILURE) from None
    if code == EXIT_INTERRUPTED:  # newer typers catch Ctrl-C themselves and return this
        _say("interrupted")
    raise SystemExit(code if isinstance(code, int) else 0)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
