"""Which clips are trained on and which are held out.

A random split puts the same actors on both sides and flatters by 15 to 20 points; EmoBox's folds
(Ma et al. 2024, arXiv 2406.07162) hold out whole actors, speech only. Every report says which of
them it shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

from emotion.errors import CorpusError
from emotion.labels import EMOTIONS
from train.corpora import Clip

Protocol = Literal["random", "emobox", "other"]
"""`other`: clips that a model happened not to be trained on; no published protocol."""

EMOBOX_FOLDS: Final[tuple[frozenset[int], ...]] = (
    frozenset({1, 11, 20, 21}),
    frozenset({4, 10, 12, 14}),
    frozenset({8, 9, 19, 23}),
    frozenset({3, 5, 7, 24}),
    frozenset({2, 15, 16, 18}),
    frozenset({6, 13, 17, 22}),
)
"""The actors held out in each of EmoBox's folds of RAVDESS."""

VALIDATION_SHARE: Final = 0.2


@dataclass(frozen=True)
class Split:
    """Row numbers into a list of clips.

    Attributes:
        name: `seed-42`, `fold-1`: also the name of the fold's folder.
        train: int64 [n].
        test: int64 [m], disjoint from `train`.
    """

    name: str
    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


def random_split(clips: Sequence[Clip], seed: int) -> Split:
    """Stratified 80/20, as `sklearn.model_selection.train_test_split` draws it.

    Raises:
        CorpusError: a class is missing or too small to be on both sides.
    """
    emotions = [clip.emotion for clip in clips]
    _assert_classes(clips, range(len(clips)), f"seed {seed}")
    try:
        train, test = train_test_split(
            np.arange(len(clips)), test_size=VALIDATION_SHARE, random_state=seed, stratify=emotions
        )
    except ValueError as error:
        raise CorpusError(f"{len(clips)} clips cannot be split 80/20 by class: {error}") from error
    return Split(f"seed-{seed}", train, test)


def emobox_splits(clips: Sequence[Clip], songs: bool = False) -> list[Split]:
    """EmoBox's six folds: each tests the speech of four actors that were not trained on.

    Args:
        clips: speech, and songs if there are any.
        songs: also train on the songs of the training actors; songs are never tested.

    Raises:
        CorpusError: an actor is on both sides, no clip is held out, or a class is missing.
    """
    return [
        _fold(clips, f"fold-{number}", actors, songs)
        for number, actors in enumerate(EMOBOX_FOLDS, start=1)
    ]


def inner_splits(clips: Sequence[Clip], songs: bool = False) -> list[Split]:
    """For choosing a recipe: each sets one of EmoBox's folds aside and judges the next one.

    What tells recipes apart on `fold-2-not-1` has neither trained on fold 1's actors nor seen them.

    Args:
        clips: speech, and songs if there are any.
        songs: also train on the songs of the training actors; songs are never tested.

    Raises:
        CorpusError: as `emobox_splits`.
    """
    inner = []
    for aside, actors in enumerate(EMOBOX_FOLDS, start=1):
        judged = aside % len(EMOBOX_FOLDS) + 1
        name = f"fold-{judged}-not-{aside}"
        inner.append(_fold(clips, name, EMOBOX_FOLDS[judged - 1], songs, aside=actors))
    return inner


def everything(clips: Sequence[Clip], songs: bool = False) -> Split:
    """Trains on all actors and holds out nobody: for the model that ships.

    What it learns from is what EmoBox's folds learn from, so that their figures speak for it.

    Args:
        clips: speech, and songs if there are any.
        songs: also train on the songs.

    Raises:
        CorpusError: a class is missing.
    """
    train = [i for i, clip in enumerate(clips) if songs or clip.channel == "speech"]
    _assert_classes(clips, train, "all actors")
    return Split("all", np.array(train), np.arange(0))


def _fold(
    clips: Sequence[Clip],
    name: str,
    actors: frozenset[int],
    songs: bool,
    aside: frozenset[int] = frozenset(),
) -> Split:
    test = [i for i, c in enumerate(clips) if c.actor in actors and c.channel == "speech"]
    train = [
        i
        for i, c in enumerate(clips)
        if c.actor not in actors | aside and (songs or c.channel == "speech")
    ]
    if not test:
        raise CorpusError(f"{name}: no speech of its actors {sorted(actors)} among the recordings")
    _assert_disjoint(clips, train, test, name)
    _assert_classes(clips, train, name)
    return Split(name, np.array(train), np.array(test))


def _assert_disjoint(
    clips: Sequence[Clip], train: Sequence[int], test: Sequence[int], name: str
) -> None:
    shared = {clips[i].actor for i in train} & {clips[i].actor for i in test}
    if shared:
        raise CorpusError(f"{name}: actors {sorted(shared)} are both trained on and held out")


def _assert_classes(clips: Sequence[Clip], rows: Sequence[int], name: str) -> None:
    present = {clips[i].emotion for i in rows}
    missing = [label for index, label in enumerate(EMOTIONS) if index not in present]
    if missing:
        raise CorpusError(f"{name}: no recording to train on for {', '.join(missing)}")
