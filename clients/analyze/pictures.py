"""A picture of each recording, in a folder."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clients.analyze.course import Course
from clients.analyze.paint_png import check_png, paint_png
from clients.analyze.paint_svg import paint_html, paint_svg
from clients.analyze.rows import Row, Summary
from clients.analyze.timeline import draw
from emotion.errors import ConfigurationError
from emotion.parsing import nearest

FORMATS: Final = ("svg", "html", "png")


@dataclass(frozen=True)
class Pictures:
    """Where pictures go.

    Attributes:
        folder: of them; folders in it mirror those of the recordings.
        form: `svg`, `html` or `png`.
        hop_s: seconds from window to window.
    """

    folder: Path
    form: str
    hop_s: float

    @classmethod
    def to(cls, folder: Path | None, form: str, hop_s: float) -> "Pictures | None":
        """The pictures that were asked for; None where none were.

        Raises:
            ConfigurationError: they could not be drawn.
        """
        if form not in FORMATS:
            raise ConfigurationError(f"timeline format {form}: unknown{nearest(form, FORMATS)}")
        if folder is None:
            return None
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(f"{folder}: a file; expected a folder for the timelines")
        if form == "png":
            check_png()
        return cls(folder, form, hop_s)

    def begin(self, name: str, summary: Summary) -> "Picture":
        """A recording's picture."""
        return Picture(self, name, summary)


MAX_NAME_BYTES: Final = 200
"""Of a file's name: file systems take 255, and what is not whole yet has a longer one."""


def file_name(name: str, form: str) -> str:
    """Of a recording's picture; a name too long for a file is cut, and told apart by its digest."""
    folder, slash, last = name.rpartition("/")
    whole = os.fsencode(last)
    if len(whole) > MAX_NAME_BYTES:
        digest = hashlib.sha256(whole).hexdigest()[:16]
        last = f"{whole[:MAX_NAME_BYTES].decode(errors='ignore')}-{digest}"
    return f"{folder}{slash}{last}.{form}"


class Picture:
    """One recording's: add its rows, then save.

    Args:
        pictures: where to and how.
        name: of the recording, below the folder.
        summary: of it.
    """

    def __init__(self, pictures: Pictures, name: str, summary: Summary) -> None:
        self._pictures = pictures
        self._name = name
        self._summary = summary
        self._course = Course(summary, pictures.hop_s)

    def add(self, row: Row) -> None:
        """The next window."""
        self._course.add(row)

    def save(self) -> None:
        """Draws it.

        Raises:
            ConfigurationError: it cannot be written.
        """
        form = self._pictures.form
        path = self._pictures.folder / file_name(self._name, form)
        part = path.with_name(f".{path.name}.part")
        picture = draw(self._name, self._summary, self._course)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if form == "png":
                paint_png(picture, part)
            elif form == "html":
                part.write_text(paint_html(picture, self._name, self._summary), encoding="utf-8")
            else:
                part.write_text(paint_svg(picture), encoding="utf-8")
            part.replace(path)
        except OSError as error:
            raise ConfigurationError(
                f"{path}: cannot be written ({error.strerror or error}); what was judged is kept"
            ) from error
