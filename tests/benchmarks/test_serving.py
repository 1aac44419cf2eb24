"""A benchmark's server, and the machine that it runs on."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import Machine, Others, machine
from benchmarks.serving import Serving, ServingError, serving

linux = pytest.mark.skipif(sys.platform != "linux", reason="not in CI: processes are read in /proc")


@linux
def test_it_says_what_it_holds_and_ends_with_the_block(model_folder: Path) -> None:
    given: dict[str, Any] = {"model": model_folder, "environment": {"EMOTION_MAX_SESSIONS": "7"}}
    with pytest.raises(KeyError), serving(**given) as server:
        held = server.held()
        assert held.rss_kib > 10_000 and held.fds > 2 and held.threads >= 1 and held.cpu_s > 0
        assert asyncio.run(server.capacity()) == 7
        assert Others(server).cores() >= 0
        raise KeyError  # whatever goes wrong in a benchmark
    assert server.process.returncode == 0
    with pytest.raises(ServingError, match="the server ended: "):
        server.held()


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ServingError, match=r"did not start: /nowhere/monitor\.onnx: no such file"):
        with serving(model=Path("/nowhere")):
            pass


def test_a_server_that_does_not_answer_is_an_error(unused_tcp_port: int) -> None:
    process: Any = None
    gone = Serving(process, f"ws://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(ServingError, match="no answer"):
        asyncio.run(gone.info())


def test_a_machine_is_its_processor_and_the_flags_that_matter(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nmodel name\t: X 1\nflags\t\t: sse avx512_vnni avx2\n\nflags: x\n"
    )
    assert machine(file) == Machine("X 1", ("avx2", "avx512_vnni"), machine(file).cores)
    file.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")
    assert machine(file).cpu and "without AVX2" in str(machine(file))
