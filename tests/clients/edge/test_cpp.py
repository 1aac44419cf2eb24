"""The C++ program: compiled against ONNX Runtime's headers and the library of the Python wheel."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import onnxruntime
import pytest
import soundfile

from emotion.engine import Engine
from tests.clients.edge.sounds import MODEL, check, recording, said, speech

SOURCES = Path(__file__).parents[3] / "clients" / "edge" / "cpp"
HEADERS = [
    Path(os.environ.get("ONNXRUNTIME_INCLUDE", "/usr/include/onnxruntime")),
    Path(__file__).parent / "build" / "include",
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, compiled without a warning; skips where that is not possible."""
    for tool in ("make", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}: it compiles the C++ program")
    headers = [path for path in HEADERS if (path / "onnxruntime_cxx_api.h").is_file()]
    if not headers:
        pytest.skip("no ONNX Runtime headers: run tests/clients/edge/headers.sh")
    libraries = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if not libraries:
        pytest.skip("not in CI: this system's wheel of onnxruntime holds no libonnxruntime.so")
    folder = tmp_path_factory.mktemp("cpp")
    (folder / "lib").mkdir()
    (folder / "include").symlink_to(headers[0])
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / "lib" / name).symlink_to(libraries[0])
    settings = [f"ORT={folder}", f"BUILD={folder}", "CXXFLAGS=-O1 -Wall -Wextra -Wpedantic -Werror"]
    command = ["make", "--silent", "-C", str(SOURCES), *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "monitor"


def ran(
    program: Path, *arguments: object, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120)


def refused(done: subprocess.CompletedProcess[bytes]) -> str:
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    return line


def test_a_recording_gives_what_python_gives(
    program: Path, embedded: Engine, tmp_path: Path
) -> None:
    pcm = speech(5 * 16_000 + 8_000)
    lines = said(ran(program, MODEL, recording(tmp_path / "speech.wav", pcm)))
    assert check(lines, embedded, pcm.tobytes(), within=1e-5) == 6


@pytest.mark.parametrize("samples", [0, 1, 7_999, 8_000, 16_000, 23_999])
def test_a_short_pipe_gives_what_python_gives(
    program: Path, embedded: Engine, samples: int
) -> None:
    pcm = speech(samples).tobytes()
    check(said(ran(program, MODEL, "-", stdin=pcm)), embedded, pcm, within=1e-5)


def test_half_a_sample_at_the_end_is_not_heard(program: Path) -> None:
    pcm = speech(25_000).tobytes()
    whole = ran(program, MODEL, "-", stdin=pcm)
    assert ran(program, MODEL, "-", stdin=pcm + b"\x01").stdout == whole.stdout


def test_other_chunks_around_the_samples_are_passed_over(program: Path, tmp_path: Path) -> None:
    pcm = speech(16_000).tobytes()
    plain = recording(tmp_path / "plain.wav", speech(16_000))
    chunks = b"LIST" + struct.pack("<I", 3) + b"odd\0"
    chunks += b"fmt " + struct.pack("<IHHIIHHH", 18, 1, 1, 16_000, 32_000, 2, 16, 0)
    chunks += (
        b"data" + struct.pack("<I", len(pcm)) + pcm + b"LIST" + struct.pack("<I", 8) + bytes(8)
    )
    odd = tmp_path / "odd.wav"
    odd.write_bytes(b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks)
    assert ran(program, MODEL, odd).stdout == ran(program, MODEL, plain).stdout != b""


@pytest.mark.parametrize("kept", [0, 4, 11, 12, 20, 30, 36, 40])
def test_a_wav_file_that_ends_early_is_refused(program: Path, tmp_path: Path, kept: int) -> None:
    whole = recording(tmp_path / "whole.wav", speech(1_000)).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:kept])
    line = refused(ran(program, MODEL, tmp_path / "cut.wav"))
    assert "cut.wav: cannot be read" in line and "ffmpeg -i THIS -ar 16000 -ac 1" in line


def test_another_rate_is_refused_with_what_converts_it(program: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", speech(1_000), 44_100)
    line = refused(ran(program, MODEL, tmp_path / "fast.wav"))
    assert "44100 Hz, 16 bits, 1 channel(s)" in line and "ffmpeg -i THIS -ar 16000" in line


def test_what_is_missing_or_no_model_is_refused_in_one_line(
    program: Path, tmp_path: Path, model_folder: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    assert "expected: monitor MODEL.onnx" in refused(ran(program))
    assert "none.wav: cannot be opened" in refused(ran(program, MODEL, tmp_path / "none.wav"))
    assert "none.onnx" in refused(ran(program, tmp_path / "none.onnx", "-"))
    model = onnx.load(model_folder / "monitor.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "silent.onnx")
    assert "emotion.labels" in refused(ran(program, tmp_path / "silent.onnx", "-"))
