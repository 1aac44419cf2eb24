"""Which clips are trained on and which are held out.

A random split puts the same actors on both sides and flatters by 15 to 20 points; EmoBox's folds
(Ma et al. 2024, arXiv 2406.07162) hold out whole actors, speech only. Every report says which of
them it shows. Recordings of one's own have other speakers: `speakers` holds out those likewise.
"""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from emotion.errors import CorpusError
from emotion.labels import EMOTIONS
from train.corpora import Clip, emotions_of, missing_emotions, require_ravdess, speakers_of

Protocol = Literal["random", "emobox", "speakers", "other"]
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

MOST_FOLDS: Final = 6
"""Of a corpus's speakers: as many as EmoBox has."""

_log = logging.getLogger(__name__)


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
        CorpusError: there are fewer than two classes, or one is too small to be on both sides.
    """
    emotions = [clip.emotion for clip in clips]
    _check_classes(clips, range(len(clips)), f"seed {seed}")
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
        CorpusError: the clips are not RAVDESS's, an actor is on both sides, no clip is held out, or
            there are fewer than two classes to train on.
    """
    require_ravdess(clips, "--folds emobox")
    return [
        _fold(clips, f"fold-{number}", actors, songs)
        for number, actors in enumerate(EMOBOX_FOLDS, start=1)
    ]


def speaker_splits(clips: Sequence[Clip], songs: bool = False) -> list[Split]:
    """Up to six folds of any corpus: each tests the speech of speakers that were not trained on.

    Every speaker is tested once. Who goes together is as scikit-learn's `StratifiedGroupKFold` finds
    it, so that each fold has of each class about as much; the same clips give the same folds.

    Args:
        clips: speech, and songs if there are any.
        songs: also train on the songs of the training speakers; songs are never tested.

    Raises:
        CorpusError: there is one speaker or none, hardly a clip of each class, or as `emobox_splits`.
    """
    speech = [clip for clip in clips if clip.channel == "speech"]
    emotions, speakers = emotions_of(speech), speakers_of(speech)
    folds = min(MOST_FOLDS, len(set(speakers.tolist())))
    if folds < 2:
        raise CorpusError(
            f"speech of {folds} speakers, expected at least 2: one is held out from the others"
        )
    try:
        with warnings.catch_warnings():
            # Of a class with fewer clips than folds; what a fold has to do without is named below.
            warnings.filterwarnings("ignore", message="The least populated class")
            drawn = list(StratifiedGroupKFold(folds).split(emotions, emotions, speakers))
    except ValueError as error:
        raise CorpusError(
            f"{len(speech)} clips of speech cannot be dealt into {folds} folds: {error}"
        ) from error
    return [
        _fold(clips, f"fold-{number}", frozenset(speakers[test].tolist()), songs)
        for number, (_, test) in enumerate(drawn, start=1)
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
    require_ravdess(clips, "what chooses a recipe")
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
        CorpusError: there are fewer than two classes.
    """
    train = [i for i, clip in enumerate(clips) if songs or clip.channel == "speech"]
    _check_classes(clips, train, "all actors")
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
    _check_classes(clips, train, name)
    return Split(name, np.array(train), np.array(test))


def _assert_disjoint(
    clips: Sequence[Clip], train: Sequence[int], test: Sequence[int], name: str
) -> None:
    shared = {clips[i].actor for i in train} & {clips[i].actor for i in test}
    if shared:
        raise CorpusError(f"{name}: actors {sorted(shared)} are both trained on and held out")


def _check_classes(clips: Sequence[Clip], rows: Sequence[int], name: str) -> None:
    """Refuses to train on one class; names those of the corpus that are not trained on."""
    missing = missing_emotions([clips[row] for row in rows])
    if len(missing) > len(EMOTIONS) - 2:
        found = [label for label in EMOTIONS if label not in missing]
        raise CorpusError(
            f"{name}: {' '.join(found) or 'nothing'} to train on, expected at least two emotions; "
            "give recordings of others too"
        )
    lost = [label for label in missing if label not in missing_emotions(clips)]
    if lost:
        _log.warning("%s: no recording to train on for %s", name, ", ".join(lost))
