"""Files that are either whole or absent, whatever happens while they are written."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends without an error.

    The folder is made where it is missing. An error, Ctrl-C included, leaves what was there before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)  # mkstemp's own 0600 would keep a shared folder's other users out
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Calls `save` with a temporary name, then moves what it wrote to `path`."""
    with replacing(path) as temporary:
        save(temporary)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON for people: indented, with a newline at the end."""
    text = json.dumps(value, indent=1) + "\n"
    write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
