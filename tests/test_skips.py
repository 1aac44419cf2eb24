"""A test that CI should be able to run must not be skipped there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("reason", "switch", "code"),
    [
        ("needs recordings", "EMOTION_CI=1", 1),
        ("needs recordings", "CI=true", 1),
        ("needs recordings", "", 0),
        ("no GPU here", "EMOTION_CI=1", 0),
    ],
)
@pytest.mark.parametrize("how", ["def test(): pytest.skip({!r})", "pytest.skip({!r}, True)"])
def test_a_skip_for_want_of_something_fails_in_ci_only(
    tmp_path: Path, reason: str, switch: str, code: int, how: str
) -> None:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    body = how.format(reason).replace(", True", ", allow_module_level=True")
    (tmp_path / "test_it.py").write_text(f"import pytest\n\n{body}\n\ndef test_other(): pass\n")
    environment = {name: value for name, value in os.environ.items() if "CI" not in name}
    name, _, value = switch.partition("=")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env=environment | ({name: value} if name else {}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    # 2 is an error while collecting, 5 is nothing collected because the module was skipped.
    failed = done.returncode in (1, 2)
    assert failed == bool(code), done.stdout
    assert (reason in done.stdout) == failed
