"""How many cores there are for a process, over made-up control groups."""

from pathlib import Path

import pytest

from emotion.cores import cores
from stream_server.config import Config

NOWHERE = Path("/nowhere")


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)), raising=False)


def groups(folder: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "self").write_text(membership)
    return folder / "cgroup", folder / "self"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 16),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/outside/of/here\n", {"cpu.max": "200000 100000\n"}, 2),
        (
            "4:memory:/x\n2:cpu,cpuacct:/x\n",
            {
                "cpu,cpuacct/x/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        ("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "100000\n"}, 16),
        ("0::/\n", {"cpu.max": "nonsense"}, 16),
        ("0::/\n", {"cpu.max": "100000 0"}, 16),
        ("nonsense", {}, 16),
        ("", {}, 16),
    ],
)
def test_a_quota_bounds_the_cores_rounded_up(
    tmp_path: Path, membership: str, files: dict[str, str], expected: int
) -> None:
    assert cores(*groups(tmp_path, membership, files)) == expected


def test_the_process_is_held_to_the_cores_it_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert cores(NOWHERE, NOWHERE) == 2


def test_there_is_a_thread_a_core_also_where_the_system_knows_no_affinity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("os.sched_getaffinity")
    assert cores(NOWHERE, NOWHERE) == 16
    monkeypatch.setattr("stream_server.config.cores", lambda: 7)
    assert Config().workers == 7 and Config(threads=3).workers == 3
