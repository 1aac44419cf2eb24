"""The model in a page: runs tests/clients/edge/web/*.test.mjs in Node.js and a real Chromium."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WEB = ROOT / "clients" / "edge" / "web"
BROWSER = ROOT / "tests" / "browser"
SCRIPTS = Path(__file__).parent / "web"
LIMIT_S = 900.0


def tool(name: str) -> str:
    """A program's path; skips where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: it drives the browser")
    return found


def passes(*command: str | Path, folder: Path) -> None:
    """Runs a command; fails with all that it printed."""
    for modules in (WEB, BROWSER):
        if not (modules / "node_modules").is_dir():
            pytest.skip(f"no node_modules: run npm ci in {modules}")
    env = {**os.environ, "EMOTION_PYTHON": sys.executable, "EMOTION_CHROMIUM": tool("chromium")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    if done.returncode:
        pytest.fail(f"{command}\n{done.stdout}{done.stderr}", pytrace=False)


def test_the_types_that_the_scripts_state_are_right() -> None:
    compiler = BROWSER / "node_modules" / ".bin" / "tsc"
    passes(tool("node"), compiler, "--project", SCRIPTS / "tsconfig.json", folder=SCRIPTS)


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.test.mjs")))
def test_page(script: str) -> None:
    pytest.importorskip("torch", reason="torch makes the fp32 model (pip install '.[export]')")
    passes(tool("node"), "--test", "--test-reporter=spec", script, folder=SCRIPTS)
