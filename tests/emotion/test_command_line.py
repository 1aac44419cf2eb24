"""How the four programs end."""

import sys

import pytest
import typer

from emotion.command_line import run
from emotion.errors import ConfigurationError


def _app() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise ConfigurationError("--port 0: expected 1 to 65535,\nfound 0")

    @app.command()
    def interrupt() -> None:
        raise KeyboardInterrupt

    @app.command()
    def count(number: int) -> None:
        raise typer.Exit(number)

    @app.command()
    def crash() -> None:
        raise ZeroDivisionError

    return app


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fail"], 2, "error: --port 0: expected 1 to 65535, found 0\n"),
        (["interrupt"], 130, "interrupted\n"),
        (["count", "3"], 3, ""),
        (["count", "0"], 0, ""),
    ],
)
def test_a_program_ends_with_at_most_one_line_and_a_code(
    arguments: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["emotion-x", *arguments])
    with pytest.raises(SystemExit) as ending:
        run(_app())
    assert ending.value.code == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("arguments", [["nothing"], ["count"], ["count", "many"], ["fail", "-z"]])
def test_wrong_options_end_in_one_line_and_code_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["emotion-x", *arguments])
    with pytest.raises(SystemExit) as ending:
        run(_app())
    said = capsys.readouterr().err
    assert ending.value.code == 2
    assert said.startswith("error: ") and said.count("\n") == 1


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["emotion-x", "crash"])
    with pytest.raises(ZeroDivisionError):
        run(_app())
