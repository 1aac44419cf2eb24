"""Recordings to judge, and what was said of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import soundfile

from tests.clients.conftest import Ran
from tests.speech import speech_like

Client = Callable[..., Ran]
Analyze = Callable[..., Ran]


def write(path: Path, seconds: float, *, channels: int = 1, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [speech_like(seconds, 16_000, seed + column) for column in range(channels)]
    soundfile.write(path, np.stack(columns, axis=1), 16_000)
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def events(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what belongs to a connection or a file."""
    wanted = [event for event in found if event["type"] in ("emotion", "silence")]
    without = ("id", "stream_id", "latency_ms", "path")
    return [{k: v for k, v in event.items() if k not in without} for event in wanted]
