"""The pages in a real Chromium: runs tests/browser/*.test.mjs, each a test here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "browser"
LIMIT_S = 300.0


def tool(name: str) -> str:
    """A program's path; skips where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: it drives the browser")
    return found


def in_folder(*command: str) -> None:
    """Runs a command beside the browser tests; fails with all that it printed."""
    if not (FOLDER / "node_modules").is_dir():
        pytest.skip(f"no node_modules: run npm ci in {FOLDER}")
    env = {**os.environ, "EMOTION_PYTHON": sys.executable, "EMOTION_CHROMIUM": tool("chromium")}
    done = subprocess.run(
        command, cwd=FOLDER, env=env, capture_output=True, text=True, timeout=LIMIT_S
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_the_types_that_the_scripts_state_are_right() -> None:
    in_folder(tool("npx"), "--no-install", "tsc", "--project", "tsconfig.json")


@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.glob("*.test.mjs")))
def test_page(script: str) -> None:
    in_folder(tool("node"), "--test", "--test-reporter=spec", script)
