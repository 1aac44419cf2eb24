"""How many cores this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
MEMBERSHIP: Final = Path("/proc/self/cgroup")


def cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """The cores this process may use, at least 1.

    The least of the machine's cores, those it is bound to, and the CPU quota of its control groups
    rounded up: a container that is allowed 1.5 cores on a machine of 64 gets 2 threads, not 64.

    Args:
        cgroups: where control groups are mounted; for tests.
        membership: the file that names this process's groups; for tests.
    """
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        count = len(os.sched_getaffinity(0))
    return max(1, min([count, *map(math.ceil, _quotas(cgroups, membership))]))


def _quotas(cgroups: Path, membership: Path) -> Iterator[float]:
    """The quotas in cores of the process's groups and of all groups around them."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux, or no /proc
        return
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        group = Path(path.lstrip("/"))
        if not controllers:  # version 2: https://docs.kernel.org/admin-guide/cgroup-v2.html
            roots, quota = [cgroups], _quota_v2
        elif "cpu" in controllers.split(","):
            roots, quota = [cgroups / controllers, cgroups / "cpu"], _quota_v1
        else:
            continue
        # In a container the path may be the one outside, which is not mounted: then only the root's
        # files are there, and they are the container's own.
        for folder in (root / part for root in roots for part in (group, *group.parents)):
            found = quota(folder)
            if found is not None:
                yield found


def _quota_v2(folder: Path) -> float | None:
    """`cpu.max`: a quota or "max", and the period, both in microseconds."""
    fields = _words(folder / "cpu.max")
    return _ratio(*fields) if len(fields) == 2 else None


def _quota_v1(folder: Path) -> float | None:
    """`cpu.cfs_quota_us`, -1 for none, over `cpu.cfs_period_us`."""
    fields = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
    return _ratio(*fields) if len(fields) == 2 else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []


def _ratio(quota: str, period: str) -> float | None:
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return cores if cores > 0 else None
