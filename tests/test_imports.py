"""Imports point one way, and who only serves or listens loads no PyTorch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("emotion", "train", "export", "stream_server", "clients")
ALLOWED = {
    "emotion": set(),
    "train": {"emotion"},
    "stream_server": {"emotion"},
    "clients": {"emotion"},
    "export": {"emotion", "train"},
}
FRONT_DOORS = (
    "emotion/__init__.py",
    "train/__main__.py",
    "export/__main__.py",
    "stream_server/__main__.py",
    "stream_server/server.py",
    "clients/__init__.py",
    "clients/__main__.py",
)
HEAVY = ("torch", "transformers", "train", "export", "optimum", "sklearn", "matplotlib")


def imported_by(path: Path) -> set[str]:
    """Top-level packages that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            room = path.relative_to(ROOT).parts[0]
            names.add(room if node.level else (node.module or "").split(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if called in ("import_module", "__import__") and node.args:
                value = getattr(node.args[0], "value", None)
                names |= {value.split(".")[0]} if isinstance(value, str) else set()
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_those_it_may(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    allowed = ALLOWED[room] | {room}
    wrong = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in files
        if (found := imported_by(path) & {*ROOMS, "tests", "benchmarks"} - allowed)
    }
    assert wrong == {}


@pytest.mark.parametrize("path", FRONT_DOORS)
def test_the_front_doors_are_where_they_are_expected(path):
    assert (ROOT / path).is_file()


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after the statement."""
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "statement",
    [
        "import stream_server.server",
        "import stream_server.__main__",
        "import clients",
        "import clients.__main__",
        "from emotion import Monitor, load_engine",
    ],
)
def test_serving_and_listening_load_no_pytorch(statement):
    assert loaded_by(statement) & set(HEAVY) == set()


def test_the_package_alone_loads_neither_onnx_runtime_nor_numpy():
    assert loaded_by("import emotion") & {"onnxruntime", "numpy", *HEAVY} == set()


def test_the_parts_that_training_shares_load_no_onnx_runtime():
    statement = "import emotion.labels, emotion.audio, emotion.contract, emotion.command_line"
    assert "onnxruntime" not in loaded_by(statement)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_small(room):
    """Modules of about 400 lines, functions of about 50 (the style's habit 2)."""
    for path in sorted((ROOT / room).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{path}: {node.name} has {length} lines"


@pytest.mark.parametrize(("program", "missing"), [("train", "httpx"), ("export", "onnx")])
def test_a_program_without_its_extra_says_in_one_line_what_to_install(
    program: str, missing: str
) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import {program}; {program}.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {missing} is not installed") and f"{program}]'" in line
