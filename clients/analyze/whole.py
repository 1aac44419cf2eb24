"""A whole run: finds the recordings, judges those that are not finished, writes the output."""

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from clients.analyze.found import Found, find, spelled_out
from clients.analyze.judge import WITHHELD, Settings
from clients.analyze.outputs import (
    WITH_SUMMARY,
    check_output,
    open_output,
    summary_path,
)
from clients.analyze.pictures import Pictures
from clients.analyze.rows import Summary
from clients.analyze.run import judge_all
from clients.analyze.store import SUFFIX, Store, open_store
from clients.analyze.table import show_table
from emotion.engine import Engine, load_engine
from emotion.progress import console, track, track_done

MOST_NAMED: Final = 20  # skipped recordings that are named at the end


@dataclass(frozen=True, kw_only=True)
class Job:
    """What was asked for; see the command's options."""

    paths: list[Path]
    out: Path
    form: str | None
    settings: Settings
    model: Path | None
    timelines: Path | None
    timeline_format: str
    jobs: int
    fresh: bool


def do(job: Job) -> bool:
    """Does it, and tells of it.

    Returns:
        whether every recording could be judged.

    Raises:
        EmotionError: there is nothing to judge, or nothing to judge it with, or nowhere to write it.
    """
    form = check_output(job.out, job.form)
    pictures = Pictures.to(job.timelines, job.timeline_format, job.settings.hop_s)
    engine = load_engine(job.model, "cpu")
    job.settings.check(engine)
    skipped = list[str]()
    recordings = find(job.paths, skipped.append)
    _tell_withheld(job.settings)
    described = job.settings.described(job.model, engine)
    with open_store(job.out, described, fresh=job.fresh) as store:
        skipped += _judge(job, recordings, engine, store)
        _write(job, form, recordings, store, pictures)
        whole = [one for one in recordings if store.summary(one) is not None]
        show_table(((one.name, _kept(store, one)) for one in whole), len(whole))
    _tell_end(job, form, skipped)
    return not skipped


def _judge(job: Job, recordings: list[Found], engine: Engine, store: Store) -> list[str]:
    """Judges what is not finished; which recordings were skipped, and why."""
    pending = [one for one in recordings if not store.has(one)]
    before = len(recordings) - len(pending)
    if before:
        _say(f"{before} of {len(recordings)} are finished already")
    began, audio_s, skipped = time.monotonic(), 0.0, list[str]()
    outcomes = judge_all(pending, job.settings, engine, store, jobs=job.jobs)
    try:
        with closing(outcomes):
            for outcome in track_done(outcomes, before, len(recordings), "recordings"):
                audio_s += outcome.audio_s
                if outcome.error is not None:
                    skipped.append(outcome.error)
                    _say(f"skipped: {outcome.error}")
    except KeyboardInterrupt:
        _say(f"what is finished is kept in {job.out}{SUFFIX}; the same command goes on from there")
        raise
    took_s = time.monotonic() - began
    if audio_s:
        _say(f"{audio_s:,.0f} s of audio in {took_s:,.1f} s: {audio_s / took_s:.0f} x real time")
    return skipped


def _write(
    job: Job, form: str, recordings: list[Found], store: Store, pictures: Pictures | None
) -> None:
    """Writes the output from what is kept, in the order of the recordings."""
    with open_output(job.out, form) as output:
        for found in track(recordings, "writing"):
            if (summary := store.summary(found)) is None:
                continue
            output.begin(found, summary)
            with_picture = pictures.begin(found.name, summary) if pictures else None
            for row in store.rows(found):
                output.row(row)
                if with_picture:
                    with_picture.add(row)
            output.end()
            if with_picture:
                with_picture.save()


def _kept(store: Store, found: Found) -> Summary:
    summary = store.summary(found)
    assert summary is not None  # only finished ones are asked for
    return summary


def _tell_withheld(settings: Settings) -> None:
    if settings.analyze is None and WITHHELD in (settings.channels or ()):
        _say(
            f"{WITHHELD} is not analysed (in the EU, inferring employees' emotions at work is "
            f"prohibited); where it is allowed: --analyze {','.join(settings.channels or ())}"
        )


def _tell_end(job: Job, form: str, skipped: list[str]) -> None:
    beside = f", summaries in {summary_path(job.out)}" if form in WITH_SUMMARY else ""
    _say(f"written to {job.out}{beside}")
    if skipped:
        _say(f"{len(skipped)} skipped:")
        for line in _few(skipped):
            _say(f"  {line}")


def _few(lines: list[str]) -> Iterator[str]:
    yield from islice(lines, MOST_NAMED)
    if len(lines) > MOST_NAMED:
        yield f"and {len(lines) - MOST_NAMED} more"


def _say(line: str) -> None:
    line = spelled_out(line)  # a stranger's file names are in it
    if console().is_terminal:
        console().print(line, highlight=False, markup=False, soft_wrap=True)
    else:
        sys.stderr.write(line + "\n")
