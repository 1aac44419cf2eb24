"""Dataset folders to clips: who says what, in which emotion.

RAVDESS (Livingstone and Russo 2018, doi 10.1371/journal.pone.0196391) says it all in a file's name:
`modality-channel-emotion-intensity-statement-repetition-actor`.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from emotion.errors import CorpusError
from emotion.labels import EMOTIONS

SUFFIXES: Final = (".wav", ".flac", ".ogg", ".mp3")

NAMED: Final = 20
"""How many skipped files are named before the rest is only counted."""

_NAME: Final = re.compile(r"03-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        path: the file.
        emotion: index into EMOTIONS.
        actor: 1 to 24; also the speaker.
        channel: `speech` or `song`.
    """

    path: Path
    emotion: int
    actor: int
    channel: str

    @property
    def name(self) -> str:
        """The file's name without its ending; unique within the corpus."""
        return self.path.stem


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
            f"--data {folder}: no RAVDESS recordings there (expected Actor_NN/03-01-...-NN.wav)"
        )
    return sorted(clips.values(), key=lambda clip: (clip.actor, clip.name))


def emotions_of(clips: Sequence[Clip]) -> npt.NDArray[np.int64]:
    """Indices into EMOTIONS: int64 [clips]."""
    return np.array([clip.emotion for clip in clips], dtype=np.int64)


def speakers_of(clips: Sequence[Clip]) -> npt.NDArray[np.int64]:
    """Who speaks, the actors' numbers: int64 [clips]."""
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
    return Clip(path, emotion - 1, actor, ("speech", "song")[channel - 1])
