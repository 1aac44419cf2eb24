"""What installing brings, and that it runs: a wheel in an environment of its own."""

import os
import re
import signal
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TRAINING = {"torch", "transformers", "optimum", "onnx", "onnxscript", "scikit-learn", "matplotlib"}
MAX_BYTES = 300_000_000
NO_INDEX = re.compile(r"no matching distribution|could not find a version|connection|retries", re.I)


def required(*extras: str) -> set[str]:
    """Names of all packages that the project needs with these extras, as far as installed here."""
    waiting = [Requirement(text) for text in PROJECT["dependencies"]]
    waiting += [
        Requirement(text) for extra in extras for text in PROJECT["optional-dependencies"][extra]
    ]
    found: set[str] = set()
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        waiting += _requirements(requirement)
        found.add(canonicalize_name(requirement.name))
    return found - {PROJECT["name"]}


def _requirements(requirement: Requirement) -> Iterator[Requirement]:
    """What a package needs on this machine, with the extras that were asked of it."""
    if requirement.name == PROJECT["name"]:
        for extra in requirement.extras:
            yield from map(Requirement, PROJECT["optional-dependencies"][extra])
        return
    try:
        texts = metadata.requires(requirement.name) or []
    except metadata.PackageNotFoundError:
        return
    for needed in map(Requirement, texts):
        if needed.marker is None or any(
            needed.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
        ):
            yield needed


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_serving_needs_nothing_of_training() -> None:
    assert not required("cpu") & TRAINING


@pytest.mark.parametrize("extra", ["train", "export", "dev"])
def test_no_extra_brings_a_second_onnx_runtime(extra: str) -> None:
    assert not {name for name in required(extra) if name.startswith("onnxruntime")}


def test_the_constraints_pin_every_package_and_no_other() -> None:
    assert set(pins()) == required("cpu", "train", "export", "dev")


def test_the_constraints_are_what_is_tested_here() -> None:
    installed = {name: metadata.version(name).split("+")[0] for name in pins()}
    assert installed == pins()


def run(*command: str | Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        cwd=Path(sys.prefix),  # so that nothing is imported from the checkout
    )


def pip(python: Path | str, *arguments: str | Path) -> None:
    """Skips the test where there is no package index to install from."""
    done = run(python, "-m", "pip", "--disable-pip-version-check", *arguments)
    if done.returncode and NO_INDEX.search(done.stderr):
        pytest.skip("no package index to install from")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with the wheel and [cpu], nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("emotion_monitor-*.whl")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    constraints = ("-c", ROOT / "constraints.txt")
    pip(programs / "python", "install", *constraints, f"{wheel}[cpu]")
    return programs


def test_the_environment_holds_no_training_and_stays_under_300_mb(binaries: Path) -> None:
    listed = run(binaries / "python", "-m", "pip", "list", "--format=json").stdout
    names = {canonicalize_name(entry["name"]) for entry in msgspec.json.decode(listed)}
    assert PROJECT["name"] in names and not names & TRAINING
    files = [path.lstat() for path in binaries.parent.rglob("*")]
    assert sum(file.st_blocks * 512 for file in files) < MAX_BYTES


def test_the_installed_server_judges_a_file_and_ends_well(binaries: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 40_000)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    command = [str(binaries / "emotion-server"), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        try:
            url = _address(server)
            client = run(
                binaries / "emotion-client",
                *("file", tmp_path / "noise.wav", "--url", url, "--speed", "max", "--no-vad"),
            )
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
        finally:
            server.kill()
    assert client.returncode == 0, client.stderr
    summary = msgspec.json.decode(client.stdout.splitlines()[-1])
    assert (summary["type"], summary["inferred"]) == ("summary", 3)


def _address(server: "subprocess.Popen[str]") -> str:
    """The address that the server says it listens on."""
    assert server.stderr is not None
    said = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"ws://\S+", line):
            return found[0]
    pytest.fail("the server ended: " + "".join(said))


def test_the_wheel_brings_every_file_of_the_pages(binaries: Path) -> None:
    listing = "from stream_server.http import browser_files; print(*sorted(browser_files()))"
    served = run(binaries / "python", "-c", listing).stdout.split()
    pages = {f"/{file.name}" for file in (ROOT / "clients" / "browser").iterdir()}
    assert "/index.html" in pages and pages | {"/"} <= set(served)


def test_local_judging_needs_no_training_either(binaries: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(16_000), 16_000)
    done = run(binaries / "emotion-client", "local", tmp_path / "quiet.wav")
    assert done.returncode == 0, done.stderr
    assert '"silence"' in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="not in CI: Windows has no make")
def test_make_serve_installs_the_server_only() -> None:
    done = run("make", "--directory", ROOT, "--dry-run", "--always-make", "serve")
    assert "'.[cpu]'" in done.stdout and "train," not in done.stdout
