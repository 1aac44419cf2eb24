"""Which recordings are meant: files as they are named, folders with all that is audio in them."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Final, NamedTuple

from emotion.errors import AudioError

EXTENSIONS: Final = frozenset(
    ".wav .wave .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .caf .w64 .rf64".split()
)
"""Of the files that are taken from a folder; one that is named is opened whatever it is called."""

NO_TEXT: Final = re.compile("[\0-\x1f\x7f-\x9f\ufffe\uffff]")

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""With which spreadsheets begin one (OWASP, "CSV Injection")."""


class Found(NamedTuple):
    """A recording that is to be judged.

    Attributes:
        path: as it was given, or below the folder that was given.
        name: relative to what was given, with `/`, another one for each recording; for files beside
            and for people: a control character in it is spelled out.
    """

    path: str
    name: str

    @property
    def key(self) -> bytes:
        """By which the recording is known again, wherever the command runs."""
        return os.fsencode(os.path.abspath(self.path))

    @property
    def shown(self) -> str:
        """The path as text: what is not UTF-8 in it is spelled out.

        It begins like no formula, as which a spreadsheet would run a cell: `./=a.wav`.
        """
        text = os.fsencode(self.path).decode("utf-8", "backslashreplace")
        return f"./{text}" if text.startswith(FORMULA) else text


def find(paths: Sequence[Path], unreadable: Callable[[str], None]) -> list[Found]:
    """The recordings, each once, those of a folder in the order of their names.

    Args:
        paths: files and folders.
        unreadable: told of each folder that cannot be read, in a line.

    Raises:
        AudioError: there is no such file or folder, or no recording in any of them.
    """
    found, keys, names = list[Found](), set[bytes](), dict[str, int]()
    for path in paths:
        _check_there(path)
        for each in _within(path, unreadable) if path.is_dir() else [path]:
            one = Found(str(each), _name(each, path))
            if one.key not in keys:
                keys.add(one.key)
                found.append(one._replace(name=_distinct(one.name, names)))
    if not found:
        places = ", ".join(map(str, paths))
        raise AudioError(f"{places}: no recordings; expected {', '.join(sorted(EXTENSIONS))}")
    return found


def _check_there(path: Path) -> None:
    """
    Raises:
        AudioError: there is nothing, or it may not be looked at.
    """
    try:
        path.stat()
    except (
        FileNotFoundError,
        NotADirectoryError,
        ValueError,
    ) as error:  # of a name with a zero in it
        raise AudioError(f"{path}: no such file or folder") from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from error


def _within(folder: Path, unreadable: Callable[[str], None]) -> Iterator[Path]:
    """All recordings below a folder; hidden ones, such as macOS's `._a.wav`, are none."""

    def tell(error: OSError) -> None:
        unreadable(f"{error.filename}: cannot be read ({error.strerror})")

    for where, folders, files in os.walk(folder, onerror=tell):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and PurePath(name).suffix.lower() in EXTENSIONS:
                yield Path(where, name)


def _name(path: Path, given: Path) -> str:
    relative = path.relative_to(given).as_posix() if path != given else path.name
    return spelled_out(os.fsencode(relative).decode("utf-8", "backslashreplace"))


def spelled_out(text: str) -> str:
    """The text with no character that could command a terminal, or that XML forbids."""
    return NO_TEXT.sub(lambda found: ascii(found[0])[1:-1], text)


def _distinct(name: str, taken: dict[str, int]) -> str:
    """Takes the name, with a number where another recording has it.

    Args:
        name: that would be right.
        taken: names, and the number that each of them was given last.
    """
    stem, dot, suffix = name.rpartition(".")
    wanted, number = name, taken.get(name, 1)
    while wanted in taken:
        number += 1
        wanted = f"{stem or suffix} ({number}){dot if stem else ''}{suffix if stem else ''}"
    taken[name] = number
    taken.setdefault(wanted, 1)
    return wanted
