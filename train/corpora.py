"""Dataset folders to clips: who says what, in which emotion.

RAVDESS (Livingstone and Russo 2018, doi 10.1371/journal.pone.0196391) says it all in a file's name:
`modality-channel-emotion-intensity-statement-repetition-actor`. Any other corpus says it in a manifest,
`clips.csv`, in UTF-8:

    path,emotion,speaker
    monday/0001.wav,neutral,anna
    monday/0002.wav,angry,customer 17

A column `channel`, `speech` or `song`, may follow; without it all is speech.
"""

import csv
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from emotion.errors import CorpusError
from emotion.labels import EMOTIONS

SUFFIXES: Final = (".wav", ".flac", ".ogg", ".mp3")

NAMED: Final = 20
"""How many skipped files are named before the rest is only counted."""

MANIFEST: Final = "clips.csv"
COLUMNS: Final = ("path", "emotion", "speaker")
CHANNELS: Final = ("speech", "song")

_NAME: Final = re.compile(r"03-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        path: the file.
        emotion: index into EMOTIONS.
        actor: the speaker: RAVDESS's number, 1 to 24, or the place, from 1 on, of `speaker` among the
            manifest's.
        channel: `speech` or `song`.
        speaker: as the manifest says it; empty for RAVDESS.
        listed: the manifest's path without its ending; empty for RAVDESS.
    """

    path: Path
    emotion: int
    actor: int
    channel: str
    speaker: str = ""
    listed: str = ""

    @property
    def name(self) -> str:
        """The file's name without its ending, with its folders in a manifest's corpus; unique there."""
        return self.listed or self.path.stem


def load_corpus(folder: Path) -> list[Clip]:
    """Every clip of a corpus: those that its manifest lists, or else RAVDESS by the files' names.

    Raises:
        CorpusError: as `load_manifest`, or as `load_ravdess` where there is no manifest.
    """
    manifest = folder / MANIFEST
    return load_manifest(manifest) if manifest.is_file() else load_ravdess(folder)


def load_manifest(path: Path) -> list[Clip]:
    """The clips that a manifest lists, ordered by speaker, then name, whatever the order of its lines.

    Raises:
        CorpusError: the manifest cannot be read, a line of it is no clip or one more of the same
            name, a file is outside the manifest's folder or missing, or no clip is listed.
    """
    lines: dict[str, int] = {}
    clips: list[Clip] = []
    for line, row in _rows(path):
        clip = _listed(path, line, row)
        if clip.name in lines:
            found = f"path {row['path']!r} again after line {lines[clip.name]}, endings aside"
            raise _wrong(path, line, found, "each recording once")
        lines[clip.name] = line
        clips.append(clip)
    if not clips:
        raise CorpusError(f"{path}: no clips, expected a line for each below {','.join(COLUMNS)}")
    numbers = {who: n for n, who in enumerate(sorted({clip.speaker for clip in clips}), start=1)}
    numbered = [replace(clip, actor=numbers[clip.speaker]) for clip in clips]
    return sorted(numbered, key=lambda clip: (clip.actor, clip.name))


def load_ravdess(folder: Path) -> list[Clip]:
    """Every clip under a folder, ordered by actor, then name, wherever the files lie.

    Takes the archives as published (`Actor_NN/*.wav`, speech and song side by side or in folders of
    their own) and anything else that keeps the files' names. Files with other names and second
    copies are named in the log and left out.

    Raises:
        CorpusError: there is no such folder, or no clip in it.
    """
    if not folder.is_dir():
        raise CorpusError(
            f"--data {folder}: no such folder; emotion-train download fetches RAVDESS"
        )
    clips: dict[str, Clip] = {}
    skipped: list[str] = []
    for path in _recordings(folder):
        clip = _parse(path)
        if clip is None:
            skipped.append(f"{path.relative_to(folder)}: not a RAVDESS name")
        elif clip.name in clips:
            other = clips[clip.name].path.relative_to(folder)
            skipped.append(f"{path.relative_to(folder)}: a second copy of {other}")
        else:
            clips[clip.name] = clip
    report_skipped(skipped)
    if not clips:
        raise CorpusError(
            f"--data {folder}: no RAVDESS recordings there (expected Actor_NN/03-01-...-NN.wav); "
            f"list recordings of your own in {MANIFEST}: {','.join(COLUMNS)}"
        )
    return sorted(clips.values(), key=lambda clip: (clip.actor, clip.name))


def is_ravdess_name(name: str) -> bool:
    """Whether a clip's name is one of RAVDESS's."""
    return _NAME.fullmatch(name) is not None


def require_ravdess(clips: Sequence[Clip], what: str) -> None:
    """Refuses what only RAVDESS's actors make sense for.

    Raises:
        CorpusError: the clips come from a manifest.
    """
    if any(clip.speaker for clip in clips):
        raise CorpusError(
            f"{what} is for RAVDESS and its 24 actors; for the recordings of a {MANIFEST} use "
            "emotion-train crossval --folds speakers"
        )


def missing_emotions(clips: Sequence[Clip]) -> list[str]:
    """Labels that no clip has, in EMOTIONS order."""
    found = {clip.emotion for clip in clips}
    return [label for index, label in enumerate(EMOTIONS) if index not in found]


def emotions_of(clips: Sequence[Clip]) -> npt.NDArray[np.int64]:
    """Indices into EMOTIONS: int64 [clips]."""
    return np.array([clip.emotion for clip in clips], dtype=np.int64)


def speakers_of(clips: Sequence[Clip]) -> npt.NDArray[np.int64]:
    """Who speaks, as numbers: int64 [clips]."""
    return np.array([clip.actor for clip in clips], dtype=np.int64)


def report_skipped(reasons: list[str]) -> None:
    """Names what was left out and says how much it was."""
    for reason in reasons[:NAMED]:
        _log.warning("skipped %s", reason)
    if len(reasons) > NAMED:
        _log.warning("skipped %d more", len(reasons) - NAMED)
    if reasons:
        _log.warning("%d files skipped", len(reasons))


def _recordings(folder: Path) -> Iterator[Path]:
    """Audio files in a fixed order, without what macOS leaves in archives (`._x.wav`)."""
    for path in sorted(folder.rglob("*")):
        hidden = path.name.startswith(".") or "__MACOSX" in path.parts
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path


def _parse(path: Path) -> Clip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    channel, emotion, *_, actor = (int(field) for field in match.groups())
    if emotion > len(EMOTIONS):
        return None
    return Clip(path, emotion - 1, actor, CHANNELS[channel - 1])


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """A manifest's lines: the number of each and its fields by column, without blanks around them."""
    try:
        # utf-8-sig: what spreadsheets save begins with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = [field.strip() for field in next(reader, [])]
            _check_columns(path, columns)
            for row in reader:
                if not row:
                    continue
                if len(row) != len(columns):
                    found = f"{len(row)} fields"
                    raise _wrong(path, reader.line_num, found, f"{len(columns)} between commas")
                fields = (field.strip() for field in row)
                yield reader.line_num, dict(zip(columns, fields, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: cannot be read ({error}); save it as CSV in UTF-8") from error


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in columns]
    unknown = [name for name in columns if name not in (*COLUMNS, "channel")]
    if missing or unknown or len(set(columns)) < len(columns):
        faults = [f"no column {name!r}" for name in missing]
        faults += [f"an unknown column {name!r}" for name in unknown]
        found = ", ".join(faults) or "a column twice"
        expected = f"{','.join(COLUMNS)} and, if you like, channel"
        raise _wrong(path, 1, f"{found} in {','.join(columns)!r}", expected)


def _listed(path: Path, line: int, row: Mapping[str, str]) -> Clip:
    """A manifest's line as a clip, its speaker not numbered yet."""
    given, emotion, speaker = (row[name] for name in COLUMNS)
    channel = row.get("channel") or CHANNELS[0]
    if emotion not in EMOTIONS:
        raise _wrong(path, line, f"emotion {emotion!r}", f"one of {', '.join(EMOTIONS)}")
    if not speaker:
        raise _wrong(path, line, "no speaker", "any name that all clips of the speaker share")
    if channel not in CHANNELS:
        raise _wrong(path, line, f"channel {channel!r}", f"{' or '.join(CHANNELS)}, or nothing")
    inside = Path(os.path.normpath(given))
    if inside.is_absolute() or ".." in inside.parts:
        place = f"a path inside {path.parent}, relative to it; move or link the recordings there"
        raise _wrong(path, line, f"path {given!r}", place)
    file = path.parent / inside
    if not file.is_file():
        raise _wrong(path, line, f"path {given!r}", f"a file in {path.parent}, but there is none")
    name = inside.with_suffix("").as_posix()
    return Clip(file, EMOTIONS.index(emotion), 0, channel, speaker, name)


def _wrong(path: Path, line: int, found: str, expected: str) -> CorpusError:
    return CorpusError(f"{path}, line {line}: found {found}, expected {expected}; correct the line")
