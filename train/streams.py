"""Streams of clips as one caller's call: what the monitor says as it gets to know a voice.

The statistics are `emotion.adapt.Baseline` itself, fed as the engine feeds it: each clip stands for a
window whose speech is all new; it is counted in first and judged then. Adapted and unadapted figures
are of the very same head on the very same clips at the very same positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from emotion.adapt import Baseline, Statistics
from emotion.labels import EMOTIONS
from train.head import Head

SETTLED: Final = 20
"""Clips after which a balanced stream counts as known: a minute and a quarter of RAVDESS."""

NEUTRAL_SHARE: Final = 0.7
"""Of a call-like stream: neutral and calm together."""

QUIET: Final = tuple(EMOTIONS.index(label) for label in ("neutral", "calm"))

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Voice:
    """One actor's clips.

    Attributes:
        embeddings: float32 [n, D].
        emotions: indices into EMOTIONS: int64 [n].
        speech_s: seconds of speech in each clip: float64 [n].
    """

    embeddings: npt.NDArray[np.float32]
    emotions: Rows
    speech_s: npt.NDArray[np.float64]

    def __getitem__(self, rows: Rows) -> "Voice":
        """Some of the clips, in this order."""
        return Voice(self.embeddings[rows], self.emotions[rows], self.speech_s[rows])

    def then(self, other: "Voice") -> "Voice":
        """These clips and, behind them, another's: a hand-over."""
        return Voice(
            np.concatenate([self.embeddings, other.embeddings]),
            np.concatenate([self.emotions, other.emotions]),
            np.concatenate([self.speech_s, other.speech_s]),
        )


@dataclass(frozen=True)
class Answers:
    """What was said of the clips of some streams, stream after stream.

    Attributes:
        truth: int64 [m].
        position: place in the stream, from 0: int64 [m].
        probabilities: float32 [m, 8].
    """

    truth: Rows
    position: Rows
    probabilities: npt.NDArray[np.float32]

    def __getitem__(self, rows: npt.NDArray[np.bool_]) -> "Answers":
        return Answers(self.truth[rows], self.position[rows], self.probabilities[rows])

    def ua(self) -> float:
        """Mean recall of the classes that occur, all answers pooled."""
        hits = self.probabilities.argmax(axis=1) == self.truth
        return float(np.mean([hits[self.truth == label].mean() for label in np.unique(self.truth)]))


def pooled(parts: Sequence[Answers]) -> Answers:
    """The answers of several sets of streams as one."""
    return Answers(
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.position for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
    )


def by_position(said: Answers) -> list[float]:
    """UA at each place in the stream, from the first on."""
    return [said[said.position == place].ua() for place in range(said.position.max() + 1)]


def balanced(emotions: Rows, random: np.random.Generator) -> Rows:
    """All of an actor's clips in a random order: int64 [n]."""
    return random.permutation(len(emotions))


def neutral_heavy(emotions: Rows, random: np.random.Generator) -> Rows:
    """All neutral and calm clips, and as many others as make up 30 %, in a random order.

    Nothing is drawn twice within a stream. An actor of RAVDESS has 12 and 48, so a stream is 12
    and 5; many draws together hear all 48.
    """
    quiet = np.isin(emotions, QUIET)
    others = round(quiet.sum() * (1 - NEUTRAL_SHARE) / NEUTRAL_SHARE)
    drawn = random.permutation(np.flatnonzero(~quiet))[:others]
    return random.permutation(np.concatenate([np.flatnonzero(quiet), drawn]))


def hand_over(first: Voice, second: Voice, clips: int, random: np.random.Generator) -> Voice:
    """Some clips of one actor, then as many of another."""
    one, other = (
        voice[random.permutation(len(voice.emotions))[:clips]] for voice in (first, second)
    )
    return one.then(other)


def answers(head: Head, streams: Sequence[Voice], prior: Baseline | None = None) -> Answers:
    """Judges streams, each from its beginning.

    Args:
        head: in evaluation mode.
        streams: each a caller's clips in the order in which they are heard.
        prior: what every stream's statistics start from; None: without adaptation.
    """
    parts = list(_judged(head, streams, prior))
    return Answers(
        np.concatenate([stream.emotions for stream in streams]),
        np.concatenate([np.arange(len(stream.emotions)) for stream in streams]),
        np.concatenate(parts),
    )


def _judged(
    head: Head, streams: Sequence[Voice], prior: Baseline | None
) -> Iterator[npt.NDArray[np.float32]]:
    for stream in streams:
        with torch.inference_mode():
            if prior is None:
                yield head(torch.from_numpy(stream.embeddings)).softmax(dim=1).numpy()
            else:
                yield _adapted(head, stream, prior)


def _adapted(head: Head, stream: Voice, baseline: Baseline) -> npt.NDArray[np.float32]:
    """float32 [n, 8]: clip by clip, as `Engine.judge` does it."""
    said = []
    clips = zip(stream.embeddings, stream.speech_s.tolist(), strict=True)
    for place, (embedding, speech_s) in enumerate(clips):
        baseline = baseline.including(embedding, speech_s)
        probabilities, traits = _classified(head, embedding, baseline.channel)
        strangers = None
        if baseline.suspicion:
            strangers, _ = _classified(head, embedding, baseline.since)
        row, baseline = baseline.judged(
            place, place + 1, probabilities, traits, speech_s, strangers
        )
        said.append(row)
    return np.stack(said)


def _classified(
    head: Head, embedding: npt.NDArray[np.float32], voice: Statistics
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Probabilities float32 [8] and traits float32 [K], as `Engine.classify` gives them."""
    row, mean, inv_std = (
        torch.from_numpy(each[np.newaxis]) for each in (embedding, voice.mean, voice.inv_std)
    )
    probabilities = head(row, mean, inv_std).softmax(dim=1)
    return probabilities[0].numpy(), head.traits(row, mean, inv_std)[0].numpy()
