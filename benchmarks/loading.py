"""What a model costs before its first window: time to load and memory, in processes of their own.

Imports nothing but what a server imports, so that the memory is the model's. Linux only.
"""

import re
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import numpy as np

from emotion.contract import SAMPLE_RATE
from emotion.engine import load_engine

PROCESSES: Final = 5


class Loading(msgspec.Struct, frozen=True):
    """Medians over processes.

    Attributes:
        load_ms: until a model can judge, the imports not counted.
        rss_mib: resident memory that it added, one window judged.
        second_mib: what a second one in the same process added.
    """

    load_ms: float
    rss_mib: float
    second_mib: float


def loading(model: Path | None, window_s: float) -> Loading:
    """Loads a model folder in several processes, one after the other.

    Args:
        model: the folder; the embedded one where None.
        window_s: seconds of the window that is judged.
    """
    seen = []
    for _ in range(PROCESSES):
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            seen.append(process.submit(load_once, model, window_s).result())
    return Loading(*(round(median(column), 1) for column in zip(*seen, strict=True)))


def load_once(model: Path | None, window_s: float) -> tuple[float, float, float]:
    """`Loading`'s figures in this process."""
    silence = np.zeros(round(window_s * SAMPLE_RATE), np.float32)
    before = _rss_mib()
    begun = time.perf_counter()
    first = load_engine(model, "cpu")
    load_ms = (time.perf_counter() - begun) * 1e3
    first.run(silence)
    one = _rss_mib()
    second = load_engine(model, "cpu")
    second.run(silence)
    return load_ms, one - before, _rss_mib() - one


def _rss_mib() -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0
