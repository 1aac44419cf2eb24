"""How a failure reaches the person who typed the command."""

import subprocess
import sys
import textwrap

import pytest
import typer

from emotion.command_line import run
from emotion.errors import ConfigurationError, ContractError, EmotionError


def exit_of(command, capsys, *arguments):
    """Runs a one-command line in process: exit code, stdout, stderr."""
    app = typer.Typer(add_completion=False)
    app.command()(command)
    before, sys.argv = sys.argv, ["prog", *arguments]
    try:
        with pytest.raises(SystemExit) as caught:
            run(app)
    finally:
        sys.argv = before
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


def test_success_is_0(capsys):
    assert exit_of(lambda: None, capsys) == (0, "", "")


def test_a_returned_number_is_the_exit_code(capsys):
    assert exit_of(lambda: 1, capsys) == (1, "", "")


def test_typer_exit_keeps_its_code(capsys):
    def command() -> None:
        raise typer.Exit(1)

    assert exit_of(command, capsys)[0] == 1


@pytest.mark.parametrize(
    "error",
    [
        EmotionError("a\nb"),
        ConfigurationError("port: found 0,\n expected 1 to 65535"),
        ContractError("labels", "eight", "two"),
    ],
)
def test_an_emotion_error_is_one_line_and_2(capsys, error):
    def command() -> None:
        raise error

    code, out, err = exit_of(command, capsys)
    assert (code, out) == (2, "")
    assert err == f"error: {' '.join(str(error).split())}\n"


@pytest.mark.parametrize("arguments", [["--nope"], ["--count", "x"], ["surplus"], []])
def test_a_wrong_option_is_one_line_and_2(capsys, arguments):
    def command(count: int = typer.Option(...)) -> None: ...

    code, out, err = exit_of(command, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and "--help" in err


def test_help_is_0(capsys):
    code, out, err = exit_of(lambda: None, capsys, "--help")
    assert code == 0 and "Usage" in out and err == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt, typer.Abort])
def test_ctrl_c_is_130(capsys, error):
    def command() -> None:
        raise error

    assert exit_of(command, capsys) == (130, "", "interrupted\n")


def test_an_emotion_error_out_of_a_task_group_is_one_line_too(capsys):
    def command() -> None:
        inner = ExceptionGroup("tasks", [EmotionError("no server there")])
        raise ExceptionGroup("tasks", [inner])

    assert exit_of(command, capsys) == (2, "", "error: no server there\n")


@pytest.mark.parametrize("error", [ZeroDivisionError("defect"), KeyError("k")])
def test_a_defect_keeps_its_traceback(error):
    def command() -> None:
        raise error

    app = typer.Typer()
    app.command()(command)
    before, sys.argv = sys.argv, ["prog"]
    try:
        with pytest.raises(type(error)):
            run(app)
    finally:
        sys.argv = before


def test_a_closed_pipe_is_a_silent_end():
    program = textwrap.dedent("""
        import typer
        from emotion.command_line import run
        app = typer.Typer()
        @app.command()
        def command():
            while True:
                print("event", flush=True)
        run(app)
    """)
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline() == "event\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 0


@pytest.mark.parametrize("module", ["train", "export"])
def test_the_version_needs_no_extra(module: str) -> None:
    program = f"import sys; sys.modules['torch'] = None; import {module}; {module}.main()"
    command = [sys.executable, "-c", program, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("emotion-monitor") and not done.stderr


@pytest.mark.parametrize(
    ("module", "extra"),
    [("benchmarks.window", "cpu,train,export"), ("benchmarks.choose_recipe", "cpu,train")],
)
def test_a_benchmark_says_in_a_line_which_extra_it_lacks(module: str, extra: str) -> None:
    program = (
        "import runpy, sys; sys.modules['torch'] = None; "
        f"runpy.run_module({module!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", program, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: torch is not installed; ")
    assert f"'.[{extra}]'" in done.stderr and done.stderr.count("\n") == 1
