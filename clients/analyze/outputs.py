"""One file of everything: JSON Lines or CSV here, Parquet and EmotionML in modules of their own.

An output is written whole beside its name and then takes it: whoever looks sees the one from before or
the finished one, never half of it.
"""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

import msgspec

from clients.analyze.found import Found
from clients.analyze.rows import Judged, Row, Summary
from emotion.errors import ConfigurationError
from emotion.labels import EMOTIONS
from emotion.parsing import nearest

FORMATS: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".emotionml": "emotionml",
    ".xml": "emotionml",
}
"""By the output's suffix."""
WITH_SUMMARY: Final = ("csv", "parquet")
"""Tables, whose summary is a table of its own, in a file beside."""

EVENT_COLUMNS: Final = (
    *("path", "channel", "seq", "start_s", "end_s", "type", "label", "confidence"),
    *EMOTIONS,
    "smoothed_label",
    *(f"smoothed_{label}" for label in EMOTIONS),
    *("speech_ratio", "adapted_s"),
)
SUMMARY_COLUMNS: Final = (
    *("path", "channel", "duration_s", "sample_rate", "windows", "inferred", "silent"),
    *("speech_share", "dominant"),
    *EMOTIONS,
)

Record = dict[str, Any]


class Output(Protocol):
    """Takes one recording after the other: `begin`, its rows, `end`."""

    def begin(self, found: Found, summary: Summary) -> None:
        """The rows that follow are this recording's."""

    def row(self, row: Row) -> None:
        """The next window."""

    def end(self) -> None:
        """That were all of them."""

    def close(self) -> None:
        """That were all recordings."""


def format_of(out: Path, asked: str | None) -> str:
    """The format that was asked for, or that the output's suffix says.

    Raises:
        ConfigurationError: there is no such format, or the suffix says none.
    """
    known = sorted(set(FORMATS.values()))
    if asked is not None:
        if asked not in known:
            raise ConfigurationError(f"format {asked}: unknown{nearest(asked, known)}")
        return asked
    if out.suffix.lower() not in FORMATS:
        raise ConfigurationError(
            f"{out}: expected a name that ends in {', '.join(FORMATS)}, or --format ({'|'.join(known)})"
        )
    return FORMATS[out.suffix.lower()]


def summary_path(out: Path) -> Path:
    """Where a table's summary goes: `calls.summary.csv` beside `calls.csv`."""
    return out.with_name(f"{out.stem}.summary{out.suffix}")


def check_output(out: Path, asked: str | None) -> str:
    """Says before hours of work that its result could not be written.

    Args:
        out: the output.
        asked: the format that was asked for, if any.

    Returns:
        the output's format.

    Raises:
        ConfigurationError: it could not.
    """
    if out.is_dir():
        raise ConfigurationError(f"{out}: a folder; expected a file, such as {out}/emotions.jsonl")
    if out.exists() and not out.is_file():
        raise ConfigurationError(f"{out}: a device or a pipe; the output replaces a file, name one")
    if not out.parent.is_dir():
        raise ConfigurationError(f"{out}: there is no folder {out.parent}; make it first")
    if not os.access(out.parent, os.W_OK):
        raise ConfigurationError(f"{out}: the folder {out.parent} may not be written to")
    form = format_of(out, asked)
    beside = summary_path(out)
    if form in WITH_SUMMARY and beside.exists() and not out.exists():
        raise ConfigurationError(
            f"{beside}: exists, and the summaries would replace it; name another --out, or move it away"
        )
    if form == "parquet":
        from clients.analyze.parquet import check_parquet

        check_parquet()
    return form


@contextmanager
def open_output(out: Path, form: str) -> Iterator[Output]:
    """An output; it takes its place when the context is left without an error.

    Raises:
        ConfigurationError: it cannot be written.
    """
    paths = [out, summary_path(out)] if form in WITH_SUMMARY else [out]
    try:
        with _replacing(paths) as parts:
            output = _make(form, parts)
            try:
                yield output
            finally:
                output.close()
    except OSError as error:
        raise ConfigurationError(
            f"{out}: cannot be written ({error.strerror or error}); what was judged is kept"
        ) from error


def _make(form: str, parts: Sequence[Path]) -> Output:
    if form == "parquet":
        from clients.analyze.parquet import ParquetTable

        return Tables(ParquetTable, *parts)
    if form == "emotionml":
        from clients.analyze.emotionml import EmotionML

        return EmotionML(*parts)
    return Tables(CsvTable, *parts) if form == "csv" else JsonLines(*parts)


@contextmanager
def _replacing(paths: Sequence[Path]) -> Iterator[list[Path]]:
    parts = [path.with_name(f".{path.name}.part") for path in paths]
    try:
        yield parts
        for part in parts:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        for part, path in zip(parts, paths, strict=True):
            part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


class JsonLines:
    """A line a window, as on the wire with `path` in front, and a `summary` after each recording."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._shown = b""
        self._summary: Record = {}

    def begin(self, found: Found, summary: Summary) -> None:
        self._shown = b'"path":' + msgspec.json.encode(found.shown) + b","
        fields = msgspec.to_builtins(summary)
        self._summary = {"type": "summary", "path": found.shown} | fields

    def row(self, row: Row) -> None:
        kind, comma, rest = msgspec.json.encode(row).partition(b",")
        self._file.write(kind + comma + self._shown + rest + b"\n")

    def end(self) -> None:
        self._file.write(msgspec.json.encode(self._summary) + b"\n")

    def close(self) -> None:
        self._file.close()


class Table(Protocol):
    """Takes one row after the other."""

    def write(self, record: Record) -> None:
        """The next row: a value for each of its columns."""

    def close(self) -> None:
        """That were all of them."""


class Tables:
    """Two tables: a row a window, and a row a channel of each recording.

    Args:
        table: makes one, of a path and the names of its columns.
        path: of the windows'.
        summary: of the recordings'.
    """

    def __init__(
        self, table: Callable[[Path, Sequence[str]], Table], path: Path, summary: Path
    ) -> None:
        self._events = table(path, EVENT_COLUMNS)
        self._summaries = table(summary, SUMMARY_COLUMNS)
        self._shown = ""

    def begin(self, found: Found, summary: Summary) -> None:
        self._shown = found.shown
        for record in summary_records(found.shown, summary):
            self._summaries.write(record)

    def row(self, row: Row) -> None:
        self._events.write(event_record(self._shown, row))

    def end(self) -> None:
        pass

    def close(self) -> None:
        self._events.close()
        self._summaries.close()


class CsvTable:
    """A table as CSV."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, columns, lineterminator="\n")
        self._writer.writeheader()

    def write(self, record: Record) -> None:
        self._writer.writerow(record)

    def close(self) -> None:
        self._file.close()


def event_record(shown: str, row: Row) -> Record:
    """A window as a row of a table: every one of `EVENT_COLUMNS`."""
    record: Record = dict.fromkeys(EVENT_COLUMNS) | {
        "path": shown,
        "channel": row.channel,
        "seq": row.seq,
        "start_s": row.start_s,
        "end_s": row.end_s,
        "speech_ratio": row.speech_ratio,
    }
    if not isinstance(row, Judged):
        return record | {"type": "silence"}
    record |= {"type": "emotion", "label": row.label, "confidence": row.confidence}
    record |= row.probabilities
    record |= {f"smoothed_{name}": p for name, p in row.smoothed.probabilities.items()}
    return record | {"smoothed_label": row.smoothed.label, "adapted_s": row.adapted_s}


def summary_records(shown: str, summary: Summary) -> Iterator[Record]:
    """A recording as rows of a table, one a channel: every one of `SUMMARY_COLUMNS`."""
    for channel in summary.channels:
        fields: Record = msgspec.to_builtins(channel)
        means = fields.pop("probabilities") or dict.fromkeys(EMOTIONS)
        whole = {"duration_s": summary.duration_s, "sample_rate": summary.sample_rate}
        yield {"path": shown} | whole | fields | means
