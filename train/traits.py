"""Learns the traits that `emotion/prototypes.py` compares voices by.

A linear discriminant analysis of the training clips, each normalised by its actor's own statistics: the
directions in which emotions, and one emotion in different voices, differ most beside what differs
between repetitions of one emotion by one voice, which has variance 1 there, but for the shrinkage.

A window holds a part of what was said, so plain pieces of the clips are learnt from too. A piece is no
new repetition of its clip: pieces of the first cut make voices of their own, those of the second others,
and so on. Whole clips alone gave repetitions less variance than they have elsewhere: the traits had to
be trusted half as much.
"""

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
from sklearn.decomposition import PCA

from emotion.labels import EMOTIONS
from train.features import Features
from train.head import Head

COMPONENTS: Final = 160
"""Principal components that are looked at; a covariance of more could not be told from so few clips."""
SHRINKAGE: Final = 0.1  # of the repetitions' covariance towards a sphere (Ledoit and Wolf 2004)
LEAST: Final = 1e-3  # of a voice's variance

Array = npt.NDArray[np.float64]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Scatter:
    """Covariances: of repetitions, of voices around an emotion, of emotions: float64 [C, C] each."""

    repetitions: Array
    voices: Array
    emotions: Array


@dataclass(frozen=True)
class _Repetitions:
    """What is compared.

    Attributes:
        rows: embeddings as a channel that has heard all of its voice normalises them: float32 [n, D].
        emotions: int64 [n].
        groups: row numbers of each voice's repetitions of each emotion.
    """

    rows: npt.NDArray[np.float32]
    emotions: npt.NDArray[np.int64]
    groups: list[npt.NDArray[np.int64]]


def learn_traits(
    head: Head, train: Features, speech_s: npt.NDArray[np.float32], prior_s: float, plain: int = 0
) -> None:
    """Fills a head's projection, the emotions' traits and the voices' variance.

    They stay at 0, and correct nothing, where hardly a voice repeats an emotion.

    Args:
        head: fitted.
        train: the clips it was fitted to.
        speech_s: seconds of speech in each: float32 [clips].
        prior_s: seconds that the corpus's statistics weigh.
        plain: so many of each clip's pieces, the first ones, are learnt from too.
    """
    count = head.projection.shape[1]
    if not count:
        return
    groups = _groups(train)
    found = len(train) - len(groups)
    learnt = _repetitions(head, train, speech_s, prior_s, plain, groups)
    size = min(COMPONENTS, *learnt.rows.shape)
    if found < 2 * count or size < count:
        _log.warning("no traits: %d repetitions of an emotion by a voice are too few", found)
        return
    # An exact one takes ten times as long, and differs in components of little variance.
    pca = PCA(size, svd_solver="randomized", random_state=0)
    axes = pca.fit(learnt.rows).components_.T
    components = (learnt.rows @ axes).astype(np.float64)
    scatter = _scatter(components, learnt.emotions, learnt.groups)
    _, directions = scipy.linalg.eigh(scatter.emotions + scatter.voices, scatter.repetitions)
    best = directions[:, ::-1][:, :count]
    traits = components @ best
    variance = np.diag(best.T @ scatter.voices @ best).clip(LEAST)
    head.projection.copy_(torch.from_numpy(axes @ best))
    head.emotion_traits.copy_(torch.from_numpy(_means(traits, learnt.emotions)))
    head.voice_variance.copy_(torch.from_numpy(variance))


def _repetitions(
    head: Head,
    train: Features,
    speech_s: npt.NDArray[np.float32],
    prior_s: float,
    plain: int,
    groups: list[npt.NDArray[np.int64]],
) -> _Repetitions:
    """The clips and their plain pieces; in a voice's statistics a piece weighs what its clip does."""
    pieces = () if train.pieces is None else np.moveaxis(train.pieces[:, :plain], 1, 0)
    views = [train.embeddings, *pieces]
    return _Repetitions(
        np.concatenate([_adapted(head, v, train.actors, speech_s, prior_s) for v in views]),
        np.tile(train.emotions, len(views)),
        [group + len(train) * view for view in range(len(views)) for group in groups],
    )


def _groups(train: Features) -> list[npt.NDArray[np.int64]]:
    """Row numbers of each actor's clips of each emotion."""
    key = train.actors * len(EMOTIONS) + train.emotions
    return [np.flatnonzero(key == each) for each in np.unique(key)]


def _adapted(
    head: Head,
    embeddings: npt.NDArray[np.float32],
    actors: npt.NDArray[np.int64],
    speech_s: npt.NDArray[np.float32],
    prior_s: float,
) -> npt.NDArray[np.float32]:
    """As a channel that has heard all of its actor's clips normalises them: float32 [clips, D]."""
    normal = (embeddings - head.mean.numpy()) / head.std.numpy()
    for actor in np.unique(actors):
        rows = np.flatnonzero(actors == actor)
        weights = speech_s[rows, np.newaxis] / (prior_s + speech_s[rows].sum())
        rest = prior_s / (prior_s + speech_s[rows].sum())
        mean = (weights * normal[rows]).sum(axis=0)
        variance = rest + (weights * np.square(normal[rows])).sum(axis=0) - np.square(mean)
        normal[rows] = (normal[rows] - mean) / np.sqrt(variance)
    return np.asarray(normal, dtype=np.float32)


def _means(rows: Array, emotions: npt.NDArray[np.int64]) -> Array:
    """Each emotion's mean, that of all rows where there is none of it: float64 [8, K]."""
    chosen = (emotions == index for index in range(len(EMOTIONS)))
    return np.stack([rows[own if own.any() else slice(None)].mean(axis=0) for own in chosen])


def _scatter(
    components: Array, emotions: npt.NDArray[np.int64], groups: list[npt.NDArray[np.int64]]
) -> _Scatter:
    size = components.shape[1]
    means = _means(components, emotions)
    centres = np.stack([components[rows].mean(axis=0) for rows in groups])
    apart = np.concatenate(
        [components[rows] - centre for rows, centre in zip(groups, centres, strict=True)]
    )
    repetitions = apart.T @ apart / (len(apart) - len(groups))
    offsets = centres - means[[emotions[rows[0]] for rows in groups]]
    occur = np.unique(emotions)
    voices = offsets.T @ offsets / max(1, len(groups) - len(occur))
    # A centre of n repetitions moves by chance too, by their variance over n.
    voices = voices - repetitions * np.mean([1 / len(rows) for rows in groups])
    sphere = np.eye(size) * np.trace(repetitions) / size
    repetitions = (1 - SHRINKAGE) * repetitions + SHRINKAGE * sphere
    return _Scatter(repetitions, voices, np.cov(means[occur].T))
