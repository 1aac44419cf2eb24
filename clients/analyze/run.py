"""All recordings, over all cores: a thread a core.

Threads rather than processes: 96 % of the work is ONNX Runtime's, which releases the GIL, and threads
share one model. On a machine of more than about twenty cores the other 4 % become the limit; two runs
over halves of the recordings then do more.
"""

import threading
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from clients.analyze.found import Found
from clients.analyze.judge import Settings, judge_file
from clients.analyze.rows import Row, Summary
from clients.analyze.store import Store
from emotion.engine import Engine
from emotion.errors import EmotionError

CHUNK: Final = 512  # rows that are kept together, at least


@dataclass(frozen=True)
class Outcome:
    """What came of one recording.

    Attributes:
        found: which.
        audio_s: seconds of it that were judged.
        error: why it was skipped; None where it was not.
    """

    found: Found
    audio_s: float
    error: str | None


class _Stopped(Exception):
    """The run ends before the recording does."""


def judge_all(
    recordings: Iterable[Found], settings: Settings, engine: Engine, store: Store, *, jobs: int
) -> Generator[Outcome]:
    """Judges recordings, so many at a time, and yields what came of each as it is finished.

    Where the caller stops iterating, the recordings under way are left unfinished.

    Args:
        recordings: that are not finished yet.
        settings: how.
        engine: the model, shared by all threads.
        store: keeps the results.
        jobs: threads.
    """
    stop = threading.Event()
    waiting = iter(recordings)
    with ThreadPoolExecutor(jobs, thread_name_prefix="analyze") as pool:

        def started(count: int) -> set[Future[Outcome]]:
            taken = islice(waiting, count)
            return {pool.submit(_judge, one, settings, engine, store, stop) for one in taken}

        running = started(2 * jobs)  # so that no thread waits for the next one
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= started(len(done))
                for future in done:
                    yield future.result()
        finally:
            stop.set()
            for future in running:
                future.cancel()


def _judge(
    found: Found, settings: Settings, engine: Engine, store: Store, stop: threading.Event
) -> Outcome:
    number = store.begin(found)
    rows = list[Row]()
    try:
        for said in judge_file(Path(found.path), settings, engine):
            if stop.is_set():
                raise _Stopped
            if isinstance(said, Summary):
                store.keep(number, rows)
                store.finish(number, said)
                return Outcome(found, said.duration_s, None)
            rows += said
            if len(rows) >= CHUNK:
                store.keep(number, rows)
                rows.clear()
    except (EmotionError, OSError) as error:
        return Outcome(found, 0.0, " ".join(str(error).split()))
    raise AssertionError("a recording ends with its summary")
