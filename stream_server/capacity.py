"""How many live sessions this machine carries, measured with the model that is served.

A session costs, for each second of its audio, listening for voices, a window's judgement (with the
channel's own statistics where the model can, as sessions have it by default) for the share of windows
that have speech, and what the event loop spends on its frames. The capacity is what
part of the cores may be busy divided by that: beyond it, waiting times grow without bound.
"""

import math
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from emotion.adapt import Baseline
from emotion.contract import SAMPLE_RATE
from emotion.engine import Engine, Window
from emotion.vad import VoiceTrack

WINDOW_S: Final = 3.0
SPEECH_SHARE: Final = 0.6
"""Of windows that are judged; in a call each side is silent for about half of the time."""
LOOP_S: Final = 0.007
"""CPU time of the event loop and of the kernel for a second of a session's audio in 20 ms frames, as
`benchmarks.load_table` prints it (4.4 ms in frames of 100 ms)."""
BUSY_SHARE: Final = 0.85  # of the cores; the rest is what keeps waiting short
ROUNDS: Final = 3
ENOUGH_S: Final = 0.5
"""After so long no further round begins: a padded window alone takes over a second."""


def measure(
    engine: Engine, workers: int, cores: int, *, clock: Callable[[], float] = time.monotonic
) -> int:
    """Sessions at once with windows of 3 s, one a second.

    The server's start waits for it: each worker judges a window, and listens to another, up to three
    times over, but begins none once that has taken half a second. A window of 60 ms makes it 0.2 s;
    one of 2 s is judged once, so it takes 2 s. A single round has the model's first run in it, which
    is slower than the rest: such a capacity errs on the low side.

    Args:
        engine: loaded.
        workers: inference threads; that many windows are judged side by side, as under load.
        cores: that this process may use.
        clock: monotonic seconds, by which rounds end.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="measure") as pool:
        judged = list(pool.map(lambda _: _median_s(engine, clock, vad=False), range(workers)))
        heard = list(pool.map(lambda _: _median_s(engine, clock, vad=True), range(workers)))
    judging_s, listening_s = statistics.median(judged), statistics.median(heard)
    session_s = SPEECH_SHARE * judging_s + listening_s + LOOP_S
    return max(1, math.floor(BUSY_SHARE * cores / session_s))


def _median_s(engine: Engine, clock: Callable[[], float], *, vad: bool) -> float:
    """CPU time of a window: what else the machine does now says nothing about its capacity."""
    window = _silence(1.0 if vad else WINDOW_S, engine.prior(), vad=vad)
    cost = time.perf_counter if engine.device == "cuda" else time.thread_time
    times: list[float] = []
    begun = clock()
    while not times or (len(times) < ROUNDS and clock() - begun < ENOUGH_S):
        start = cost()
        engine.judge(window)
        times.append(cost() - start)
    return statistics.median(times)


def _silence(seconds: float, baseline: Baseline | None, *, vad: bool) -> Window:
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
        baseline=baseline,
        counted=0,
    )
