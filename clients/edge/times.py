"""How long a window takes a program that reads raw samples and prints a line a window; on Linux.

The CPU time is the figure where the machine is busy with something else, too.

python clients/edge/times.py python clients/edge/python/monitor.py - emotion/models/default/monitor.onnx
"""

import os
import resource
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from typing import IO, Final

RATE: Final = 16_000
WINDOWS: Final = 40
SHORT: Final = 3  # the first windows do not cover three seconds yet


def main(command: list[str]) -> None:
    if not command:
        sys.exit(__doc__)
    noise = Random(0).randbytes(2 * RATE * WINDOWS)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin and program.stdout
        threading.Thread(target=_feed, args=(program.stdin, noise), daemon=True).start()
        ends, busy = [], []
        for _ in program.stdout:
            ends.append(time.perf_counter())
            busy.append(_cpu_s(program.pid))
    if len(ends) != WINDOWS:
        sys.exit(f"{' '.join(command)}: {len(ends)} lines; expected {WINDOWS}, one for each second")
    took = [1e3 * (end - begin) for begin, end in pairwise(ends[SHORT - 1 :])]
    cpu = (busy[-1] - busy[SHORT - 1]) / len(took)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # KiB on Linux
    print(
        f"{len(took)} windows of 3 s: median {median(took):.1f} ms, fastest {min(took):.1f} ms, "
        f"CPU time {1e3 * cpu:.1f} ms each; peak memory {peak:.0f} MiB"
    )


def _cpu_s(process: int) -> float:
    """Seconds that a process has computed so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user, system


def _feed(pipe: IO[bytes], noise: bytes) -> None:
    with pipe:
        pipe.write(noise)


if __name__ == "__main__":
    main(sys.argv[1:])
