"""What is finished, beside the output: an SQLite file, so that an interrupted run can go on.

A recording's rows come in chunks while it is judged and count only once its summary is there. SQLite
survives a `kill -9` at any moment; what is lost then is the recordings under way.
"""

import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from clients.analyze.found import Found
from clients.analyze.rows import ROWS, Row, Summary
from emotion.errors import ConfigurationError

VERSION: Final = 1  # of what is in the file
SUFFIX: Final = ".progress"
TABLES: Final = """
create table if not exists settings (version integer, fields text);
create table if not exists recordings (
  id integer primary key, key blob unique, size integer, mtime_ns integer, summary text);
create table if not exists chunks (recording integer, rows blob);
create index if not exists of_recording on chunks (recording);
"""


class Stamp(NamedTuple):
    """By which a file that has changed is told from the one that was judged."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str) -> "Stamp":
        """The file's, now; of one that is not there, none that was ever kept."""
        try:
            status = os.stat(path)
        except OSError:
            return cls(-1, -1)
        return cls(status.st_size, status.st_mtime_ns)


class Store:
    """The finished recordings; made by `open_store`, used by many threads.

    Args:
        database: open.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._lock = threading.Lock()

    def has(self, found: Found) -> bool:
        """Whether the recording is finished and the file is still the same."""
        kept = self._one(
            "select size, mtime_ns from recordings where key = ? and summary is not null", found.key
        )
        return kept is not None and Stamp(*kept) == Stamp.of(found.path)

    def begin(self, found: Found) -> int:
        """Forgets what there is of the recording; what is kept of it now goes by the number given."""
        size, mtime_ns = Stamp.of(found.path)
        with self._lock, self._database:
            self._forget("key = ?", found.key)
            self._database.execute(
                "insert into recordings (key, size, mtime_ns) values (?, ?, ?)",
                (found.key, size, mtime_ns),
            )
            (number,) = self._database.execute("select last_insert_rowid()").fetchone()
        return int(number)

    def keep(self, number: int, rows: Sequence[Row]) -> None:
        """Keeps the rows that follow."""
        chunk = zlib.compress(msgspec.json.encode(rows))
        with self._lock, self._database:
            self._database.execute("insert into chunks values (?, ?)", (number, chunk))

    def finish(self, number: int, summary: Summary) -> None:
        """All rows are there: from now on the recording counts."""
        text = msgspec.json.encode(summary).decode()
        with self._lock, self._database:
            self._database.execute("update recordings set summary = ? where id = ?", (text, number))

    def summary(self, found: Found) -> Summary | None:
        """A recording's summary; None where it is not finished."""
        kept = self._one("select summary from recordings where key = ?", found.key)
        return msgspec.json.decode(kept[0], type=Summary) if kept and kept[0] else None

    def rows(self, found: Found) -> Iterator[Row]:
        """A finished recording's rows, in order."""
        query = (
            "select chunks.rows from chunks join recordings on recordings.id = chunks.recording "
            "where key = ? order by chunks.rowid"
        )
        for (chunk,) in self._database.execute(query, (found.key,)):
            yield from ROWS.decode(zlib.decompress(chunk))

    def forget_unfinished(self) -> None:
        """Drops what a run that was killed has left."""
        with self._lock, self._database:
            self._forget("summary is null")

    def _forget(self, which: str, *values: object) -> None:
        self._database.execute(
            f"delete from chunks where recording in (select id from recordings where {which})",
            values,
        )
        self._database.execute(f"delete from recordings where {which}", values)

    def _one(self, query: str, *values: object) -> Any:
        with self._lock:
            return self._database.execute(query, values).fetchone()


@contextmanager
def open_store(out: Path, settings: dict[str, Any], *, fresh: bool = False) -> Iterator[Store]:
    """The store that belongs to an output.

    Args:
        out: the output; the store is the file beside it.
        settings: of this run; a store of another run's is refused.
        fresh: whether to begin anew.

    Raises:
        ConfigurationError: it belongs to a run with other settings, is in use, is no store, or the
            disk is full.
    """
    path = out.with_name(out.name + SUFFIX)
    if fresh:
        _forget(path)
    elif out.exists() and not path.exists():
        raise ConfigurationError(
            f"{out}: exists, and there is no {path.name} to go on from; "
            "name another --out, or replace it with --fresh"
        )
    try:
        database = sqlite3.connect(path, timeout=0, check_same_thread=False)
        try:
            _prepare(database, path, settings)
            store = Store(database)
            store.forget_unfinished()
            yield store
        finally:
            database.close()
    except sqlite3.Error as error:
        raise ConfigurationError(f"{path}: {_advice(error)}") from error


def _forget(path: Path) -> None:
    """Removes the store of an earlier run.

    Raises:
        ConfigurationError: a run is still using it, or it cannot be removed.
    """
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=0)) as database:
            database.execute("begin exclusive")
            database.rollback()
    except sqlite3.OperationalError as error:
        raise ConfigurationError(f"{path}: {_advice(error)}") from error
    except sqlite3.DatabaseError:
        pass  # no store: whatever it is, --fresh puts one in its place
    try:
        for left in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            left.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be removed ({error.strerror})") from error


def _prepare(database: sqlite3.Connection, path: Path, settings: dict[str, Any]) -> None:
    database.execute("pragma locking_mode = exclusive")
    database.execute("pragma journal_mode = wal")
    database.execute("pragma synchronous = normal")
    database.executescript(TABLES)
    wanted = msgspec.json.encode(settings, order="sorted").decode()
    with database:
        kept = database.execute("select version, fields from settings").fetchone()
        if kept is None:
            database.execute("insert into settings values (?, ?)", (VERSION, wanted))
        elif kept != (VERSION, wanted):
            raise ConfigurationError(_differ(path, msgspec.json.decode(kept[1]), settings))


def _differ(path: Path, before: dict[str, Any], now: dict[str, Any]) -> str:
    """What is not as it was."""
    shown: Callable[[object], str] = lambda value: msgspec.json.encode(value).decode()  # noqa: E731
    differences = [
        f"{name} was {shown(before.get(name))} and is {shown(value)}"
        for name, value in now.items()
        if shown(before.get(name)) != shown(value)
    ]
    return (
        f"{path}: of a run with other settings ({'; '.join(differences) or 'another version'}); "
        "use the same ones, name another --out, or begin anew with --fresh"
    )


def _advice(error: sqlite3.Error) -> str:
    reason = str(error)
    if "locked" in reason:
        return "another run is writing to it; wait for it, or name another --out"
    if "not a database" in reason or "malformed" in reason:
        return f"is no progress of emotion-client analyze ({reason}); begin anew with --fresh"
    return f"cannot be written ({reason}); check the disk, or name another --out"
