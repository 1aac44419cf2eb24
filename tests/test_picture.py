"""The program that draws the README's terminal."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "docs" / "picture.py"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "required: RECORDING, SVG"), (["gone.wav", "out.svg"], "gone.wav: no such file")],
)
def test_what_is_missing_is_said_below_the_usage(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    command = [sys.executable, str(PROGRAM), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "RECORDING SVG [MODEL]" in done.stderr and said in done.stderr
    assert "Traceback" not in done.stderr
