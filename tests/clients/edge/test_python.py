"""The program that an edge engineer copies: alone with the model, without our packages."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from emotion.engine import Engine
from tests.clients.edge.sounds import MODEL, check, recording, said, speech

PROGRAM = Path(__file__).parents[3] / "clients" / "edge" / "python" / "monitor.py"
MAX_LINES = 40  # that say something: neither blank, nor docstring, nor import


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program and the model and nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copy(PROGRAM, folder)
    shutil.copy(MODEL, folder)
    return folder


def ran(
    folder: Path, *arguments: object, stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """The program's run; isolated (-I), so that nothing of this checkout can be imported."""
    command = [sys.executable, "-I", "monitor.py", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=folder,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        timeout=120,
    )


def test_a_recording_gives_what_the_engine_gives(
    alone: Path, embedded: Engine, tmp_path: Path
) -> None:
    pcm = speech(5 * 16_000 + 8_000)
    lines = said(ran(alone, recording(tmp_path / "speech.wav", pcm)))
    assert check(lines, embedded, pcm.tobytes(), within=1e-6) == 6


@pytest.mark.parametrize("samples", [0, 1, 7_999, 8_000, 16_000, 23_999])
def test_a_short_pipe_gives_what_the_engine_gives(
    alone: Path, embedded: Engine, samples: int
) -> None:
    data = speech(samples).tobytes()
    check(said(ran(alone, "-", stdin=data)), embedded, data, within=1e-6)


def test_half_a_sample_at_the_end_is_not_heard(alone: Path) -> None:
    data = speech(16_000 + 9_000).tobytes()
    assert ran(alone, "-", stdin=data + b"\x01").stdout == ran(alone, "-", stdin=data).stdout


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("fast.wav", {"samplerate": 44_100, "channels": 1}, "44100 Hz, 16 bits, 1 channel(s)"),
        ("stereo.wav", {"samplerate": 16_000, "channels": 2}, "16000 Hz, 16 bits, 2 channel(s)"),
        ("deep.wav", {"samplerate": 16_000, "channels": 1, "subtype": "PCM_24"}, "24 bits"),
        ("float.wav", {"samplerate": 16_000, "channels": 1, "subtype": "FLOAT"}, "unknown format"),
        ("other.flac", {"samplerate": 16_000, "channels": 1}, "RIFF"),
    ],
)
def test_another_format_is_refused_with_what_converts_it(
    alone: Path, tmp_path: Path, name: str, write: dict[str, Any], reason: str
) -> None:
    with soundfile.SoundFile(tmp_path / name, "w", **write) as file:
        file.write(np.zeros((100, write["channels"])))
    line = refused(ran(alone, tmp_path / name))
    assert name in line and reason in line and "ffmpeg -i THIS -ar 16000 -ac 1" in line


def test_no_recording_an_empty_one_and_no_model_are_refused_in_one_line(
    alone: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.wav"
    empty.touch()
    assert "No such file" in refused(ran(alone, tmp_path / "none.wav"))
    assert "it is empty" in refused(ran(alone, empty))
    assert "emotion-export" in refused(ran(alone, "-", tmp_path / "none.onnx", stdin=b""))
    assert "emotion-export" in refused(ran(alone, "-", empty, stdin=b""))


def test_a_model_that_says_nothing_about_itself_is_refused(alone: Path, model_folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(model_folder / "monitor.onnx")
    del model.metadata_props[:]
    onnx.save(model, model_folder.parent / "silent.onnx")
    line = refused(ran(alone, "-", model_folder.parent / "silent.onnx", stdin=b""))
    assert "emotion.labels" in line and "emotion-export" in line


def refused(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line that a failed run leaves."""
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    return line


def test_whoever_listens_no_more_ends_it_without_a_word(alone: Path) -> None:
    command = [sys.executable, "-I", "monitor.py", "-"]
    with subprocess.Popen(command, cwd=alone, stdin=-1, stdout=-1, stderr=subprocess.PIPE) as child:
        assert child.stdin and child.stdout and child.stderr
        child.stdin.write(bytes(32_000))
        child.stdin.flush()
        assert child.stdout.readline().startswith(b"{")
        child.stdout.close()
        child.stdin.write(bytes(32_000))
        child.stdin.close()
        assert (child.wait(60), child.stderr.read()) == (0, b"")


def test_it_is_short_and_imports_only_onnxruntime_and_numpy() -> None:
    text = PROGRAM.read_text()
    tree = ast.parse(text)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {
        name.split(".")[0]
        for node in imports
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else _names(node))
        if name
    }
    assert names - set(sys.stdlib_module_names) == {"onnxruntime", "numpy"}
    silent = {line for node in imports for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node):
            doc = node.body[0]
            silent |= set(range(doc.lineno, (doc.end_lineno or 0) + 1))
    lines = [n for n, line in enumerate(text.splitlines(), 1) if line.strip() and n not in silent]
    assert len(lines) <= MAX_LINES


def _names(node: ast.Import) -> list[str]:
    return [alias.name for alias in node.names]
