"""Parquet, by pyarrow: two tables like CSV's, with types; the extra `parquet` brings it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from clients.analyze.outputs import Record
from emotion.errors import ConfigurationError
from emotion.package import install_line

GROUP: Final = 16_384  # rows that are written together: some 4 MiB
TEXTS: Final = ("path", "channel", "type", "label", "smoothed_label", "dominant")
WHOLE: Final = ("seq", "sample_rate", "windows", "inferred", "silent")
TIMES: Final = (
    "start_s",
    "end_s",
    "duration_s",
)  # whose float32 would be off by ms after some hours


def check_parquet() -> None:
    """
    Raises:
        ConfigurationError: there is no pyarrow.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"parquet: pyarrow is not installed; {install_line('parquet')} brings it, "
            "or name a .jsonl or .csv"
        ) from error


class ParquetTable:
    """A table as Parquet, written in groups of rows."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        import pyarrow
        import pyarrow.parquet

        self._arrow: Any = pyarrow
        self._schema = pyarrow.schema([(name, self._type(name)) for name in columns])
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._records = list[Record]()

    def write(self, record: Record) -> None:
        self._records.append(record)
        if len(self._records) >= GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._records:
            self._writer.write_table(self._arrow.Table.from_pylist(self._records, self._schema))
            self._records.clear()

    def _type(self, name: str) -> Any:
        if name in TEXTS:
            return self._arrow.string()
        if name in WHOLE:
            return self._arrow.int32()
        return self._arrow.float64() if name in TIMES else self._arrow.float32()
