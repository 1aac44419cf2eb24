"""How many live sessions this machine carries, measured with the model that is served.

A session costs, for each second of its audio, listening for voices, a window's judgement for the
share of windows that have speech, and what the event loop spends on its frames. The capacity is what
part of the cores may be busy divided by that: beyond it, waiting times grow without bound.
"""

import math
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from emotion.contract import SAMPLE_RATE
from emotion.engine import Engine, Window
from emotion.vad import VoiceTrack

WINDOW_S: Final = 3.0
SPEECH_SHARE: Final = 0.6
"""Of windows that are judged; in a call each side is silent for about half of the time."""
LOOP_S: Final = 0.003
"""CPU time of the event loop and of the kernel for a second of a session's audio in 20 ms frames."""
BUSY_SHARE: Final = 0.85  # of the cores; the rest is what keeps waiting short
ROUNDS: Final = 3


def measure(engine: Engine, workers: int, cores: int) -> int:
    """Sessions at once with windows of 3 s, one a second; takes less than half a second.

    Args:
        engine: loaded.
        workers: inference threads; that many windows are judged side by side, as under load.
        cores: that this process may use.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="measure") as pool:
        judged = list(pool.map(lambda _: _median_s(engine, vad=False), range(workers)))
        heard = list(pool.map(lambda _: _median_s(engine, vad=True), range(workers)))
    judging_s, listening_s = statistics.median(judged), statistics.median(heard)
    session_s = SPEECH_SHARE * judging_s + listening_s + LOOP_S
    return max(1, math.floor(BUSY_SHARE * cores / session_s))


def _median_s(engine: Engine, vad: bool) -> float:
    """CPU time of a window: what else the machine does now says nothing about its capacity."""
    window = _silence(1.0, vad=True) if vad else _silence(WINDOW_S, vad=False)
    clock = time.perf_counter if engine.device == "cuda" else time.thread_time
    times = []
    for _ in range(ROUNDS):
        start = clock()
        engine.judge(window)
        times.append(clock() - start)
    return statistics.median(times)


def _silence(seconds: float, *, vad: bool) -> Window:
    """A window in which nobody speaks: with voice activity, it is listened to and not judged."""
    samples = round(seconds * SAMPLE_RATE)
    pcm = np.zeros(samples, np.int16)
    return Window(
        channel="",
        start=0,
        end=samples,
        pcm=pcm,
        extra=False,
        received_at=0.0,
        track=VoiceTrack.begin() if vad else None,
        unheard=pcm if vad else pcm[:0],
        baseline=None,
        counted=0,
    )
