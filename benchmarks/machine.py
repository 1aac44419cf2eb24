"""The machine that figures were measured on, and who else was busy there meanwhile."""

import os
import platform
import re
import time
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.serving import Serving
from emotion.cores import cores

MATTER: Final = ("avx2", "avx_vnni", "avx512_vnni")  # CPU flags: what int8 multiplies with
BUSY: Final = (0, 1, 2, 5, 6, 7)
"""Fields of /proc/stat: user, nice, system, irq, softirq, steal (proc(5)); user holds guests."""
MANY: Final = 0.1
"""Of the machine's cores in others' hands, from which on figures are not the server's alone."""


class Machine(msgspec.Struct, frozen=True):
    """What the figures were measured on.

    Attributes:
        cpu: the model's name.
        flags: of `MATTER`, those that it has.
        cores: that a process may use here.
    """

    cpu: str
    flags: tuple[str, ...]
    cores: int

    def __str__(self) -> str:
        return f"{self.cpu} ({', '.join(self.flags) or 'without AVX2'}), {self.cores} cores"


class Others:
    """What processes other than a benchmark and its server use of the machine; Linux only.

    Args:
        server: the benchmark's.
    """

    def __init__(self, server: Serving) -> None:
        self._server = server
        self._last = self._look()

    def cores(self) -> float:
        """Cores, mean since the last call or the beginning; what a hypervisor stole is among them."""
        before, self._last = self._last, self._look()
        (began, others), (now, others_now) = before, self._last
        return max(0.0, (others_now - others) / max(now - began, 0.001))

    def _look(self) -> tuple[float, float]:
        """Now, and the seconds of processor time that others have used."""
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        busy = sum(int(fields[n]) for n in BUSY)
        own_s = time.process_time() + self._server.held().cpu_s
        return time.monotonic(), busy / os.sysconf("SC_CLK_TCK") - own_s


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Machine:
    """This one.

    Args:
        cpuinfo: where Linux describes it; for tests.
    """
    text = cpuinfo.read_text()
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.+)$", text, re.MULTILINE)
    has = set(flags[1].split()) if flags else set()
    return Machine(
        name[1] if name else platform.machine(),  # ARM's has no name there
        tuple(flag for flag in MATTER if flag in has),
        cores(),
    )
