"""Reads the settings: flags over `EMOTION_*` variables over a TOML file over defaults.

What there is to set is `Config`'s to say. A setting `idle_timeout_s` is `idle_timeout_s = 30` in the
file, `EMOTION_IDLE_TIMEOUT_S=30` in the environment and `--idle-timeout 30` on the command line. Tables,
such as `[[tokens]]`, are in the file only. Relative paths are relative to the file they stand in.
"""

import dataclasses
import difflib
import logging
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from emotion.errors import ConfigurationError
from emotion.parsing import nearest
from stream_server.config import Config, check_range

PREFIX: Final = "EMOTION_"
TRUTHS: Final = {"1": True, "true": True, "yes": True, "on": True}
FALSEHOODS: Final = {"0": False, "false": False, "no": False, "off": False}
TABLES: Final = ("tokens", "jwt", "twilio", "audiohook", "alerts", "webhook")
MAX_FILE_BYTES: Final = 1 << 20

log = logging.getLogger(__name__)


def load(
    flags: Mapping[str, str | bool], environment: Mapping[str, str], file: Path | None = None
) -> Config:
    """The settings in effect.

    Args:
        flags: by setting's name, what was said on the command line.
        environment: the process's; empty variables do not count.
        file: a TOML file; the one that `EMOTION_CONFIG` names where None.

    Raises:
        ConfigurationError: a value cannot be used; names the setting and where it was set.
    """
    if file is None and environment.get(f"{PREFIX}CONFIG"):
        file = Path(environment[f"{PREFIX}CONFIG"])
    hints = typing.get_type_hints(Config)
    values = {} if file is None else _of_file(file, hints)
    for item in settings():
        variable, flag = variable_of(item.name), flag_of(item.name)
        if environment.get(variable):
            values[item.name] = _of_text(item, hints[item.name], environment[variable], variable)
        if item.name in flags:
            values[item.name] = _of_text(item, hints[item.name], flags[item.name], flag)
    _doubt(environment)
    return Config(**values)


def settings() -> list["Field[Any]"]:
    """The fields of `Config` that flags and variables reach: all but the tables."""
    return [item for item in dataclasses.fields(Config) if item.name not in TABLES]


def flag_of(name: str) -> str:
    """`idle_timeout_s` -> `--idle-timeout`"""
    return "--" + name.removesuffix("_s").replace("_", "-")


def variable_of(name: str) -> str:
    """`idle_timeout_s` -> `EMOTION_IDLE_TIMEOUT_S`"""
    return PREFIX + name.upper()


def _doubt(environment: Mapping[str, str]) -> None:
    """Names variables that are probably misspelt; other programs may own EMOTION_* variables too."""
    known = [variable_of(item.name) for item in settings()]
    for name in environment:
        if name.startswith(PREFIX) and name not in (*known, f"{PREFIX}CONFIG"):
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            if close:
                log.warning("%s is not a setting: did you mean %s?", name, close[0])


# --- text: flags and variables ---


def _of_text(item: "Field[Any]", hint: Any, text: str | bool, source: str) -> Any:
    value: Any = text
    if isinstance(text, str):
        if hint is bool:
            value = (TRUTHS | FALSEHOODS).get(text.strip().lower(), text)
        elif typing.get_origin(hint) is tuple:
            value = [part.strip() for part in text.split(",") if part.strip()]
        elif hint in (int, float):
            value = _number(text, hint)
    return _checked(item, hint, value, source, Path())


def _number(text: str, kind: type[int] | type[float]) -> int | float | str:
    try:
        return kind(text)
    except ValueError:
        return text  # said to be none where it is checked


# --- TOML: the file ---


def _of_file(path: Path, hints: Mapping[str, Any]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ConfigurationError(f"{path}: expected at most {MAX_FILE_BYTES} bytes")
        table = tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not TOML ({error})") from error
    return _fields(Config, table, str(path), path.parent)


def _table(kind: type, value: Any, source: str, folder: Path) -> Any:
    """A nested dataclass from a TOML table."""
    if not isinstance(value, dict):
        raise ConfigurationError(f"{source}: expected a table, found {type(value).__name__}")
    fields = _fields(kind, value, source, folder)
    for item in dataclasses.fields(kind):
        if item.default is dataclasses.MISSING and item.name not in fields:
            raise ConfigurationError(f"{source}: {item.name} is missing")
    try:
        return kind(**fields)
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from error


def _fields(kind: type, table: Mapping[str, Any], source: str, folder: Path) -> dict[str, Any]:
    known = {item.name: item for item in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for name in table:
        if name not in known:
            raise ConfigurationError(
                f"{source}: unknown setting '{name}'{nearest(name, list(known))}"
            )
    return {
        name: _checked(known[name], hints[name], value, source, folder)
        for name, value in table.items()
    }


# --- both ---


def _checked(item: "Field[Any]", hint: Any, value: Any, source: str, folder: Path) -> Any:
    """A value in its setting's type and range.

    Raises:
        ConfigurationError: it is neither; names the setting and the source.
    """
    inner = _dataclass_in(hint)
    if inner is not None and typing.get_origin(hint) is tuple:
        rows = value if isinstance(value, list) else [value]
        where = f"{source}: {item.name}"
        return tuple(_table(inner, row, f"{where}[{i}]", folder) for i, row in enumerate(rows))
    if inner is not None:
        return _table(inner, value, f"{source}: {item.name}", folder)
    try:
        found = msgspec.convert(value, hint, dec_hook=lambda _, text: _path(folder, text))
        check_range(item, found)
    except (msgspec.ValidationError, TypeError) as error:
        raise ConfigurationError(
            f"{item.name} is {value!r}: expected {_expected(hint)} (from {source})"
        ) from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{error} (from {source})") from error
    return found


def _path(folder: Path, text: object) -> Path:
    if not isinstance(text, str) or not text:
        raise TypeError("no path")
    return folder / text


def _expected(hint: Any) -> str:
    """What a type is called in an error."""
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"a list of texts, each {_expected(typing.get_args(hint)[0])}"
    kinds = [kind for kind in (*typing.get_args(hint), hint) if kind is not types.NoneType]
    names = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
    return names.get(kinds[0], "a text")


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass that a type is or contains."""
    for kind in (hint, *typing.get_args(hint)):
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            return kind
    return None
