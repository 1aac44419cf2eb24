"""What each emotion sounds like in one voice, learnt from a channel's own windows, without labels.

Once a channel's offset is taken away (`adapt.py`), people still differ in how they sound when they are,
say, angry. Traits are a few projections of the normalised embedding in which repetitions of one emotion
by one voice have variance 1. Each emotion of the corpus has a mean there, and voices vary around it:
the two-covariance model of speaker recognition (Brummer and de Villiers 2010, "The speaker partitioning
problem"), with a voice and an emotion in the place of a speaker. What was judged as an emotion so far
draws that emotion's prototype towards it, by as much as was judged so and no further than voices vary,
and the next judgement is corrected by how much better the prototypes explain its traits than the corpus
does. Before anything was heard the correction is exactly nothing.

A window that overlaps the one before shares most of its sound, so what a window taught counts only for
windows that begin after it has ended.

Another person's windows are explained worse by the prototypes than by the corpus, whatever the emotion
is. How likely it is that the same voice still speaks is followed window by window, as in change-point
detection (Adams and MacKay 2007, arXiv 0710.3742, with two hypotheses); what prototypes say counts by as
much, and where it gets unlikely the channel starts afresh (`adapt.py`).
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]

UTTERANCE_S: Final = 2.0
"""Seconds of speech that count as one repetition: a clip of RAVDESS, which the variances come from."""

CHANGE: Final = 0.05
"""Probability that another voice takes over between two utterances, before anything is known.
0.01 to 0.05 did about as well (docs/results)."""

MOST_EVIDENCE: Final = 50.0  # nats from one window: more would overflow, and says no more
LEAST: Final = 1e-7  # of a probability, before its logarithm


@dataclass(frozen=True)
class Voices:
    """What the training corpus says of voices.

    Attributes:
        means: each emotion's traits: float32 [8, K].
        variance: of voices around them, where repetitions have 1: float32 [K].
        trust: weight of the correction: traits are not independent, so their evidence counts in part.
        change: probability that another voice takes over between two utterances; 0: never.
    """

    means: Vector
    variance: Vector
    trust: float
    change: float = CHANGE


@dataclass(frozen=True)
class _Lesson:
    """What a window has taught, until no window overlaps it any more."""

    end: int
    shares: Vector
    traits: Vector


@dataclass(frozen=True)
class Prototypes:
    """A voice's emotions so far; immutable, so that a judgement can be thrown away.

    Attributes:
        voices: what they start from.
        counts: repetitions of each emotion: float32 [8].
        sums: of their traits' distances from the corpus's means: float32 [8, K].
        fresh: lessons that do not count yet.
        same: probability that who speaks now is the voice that they are of.
    """

    voices: Voices
    counts: Vector
    sums: Vector
    fresh: tuple[_Lesson, ...] = ()
    same: float = 1.0

    @classmethod
    def none(cls, voices: Voices) -> "Prototypes":
        """Of a voice that was not heard yet."""
        means = voices.means
        return cls(voices, np.zeros(len(means), np.float32), np.zeros_like(means))

    def before(self, start: int) -> "Prototypes":
        """What may judge a window that begins at `start`: all lessons that ended by then count."""
        due = [lesson for lesson in self.fresh if lesson.end <= start]
        if not due:
            return self
        counts, sums = self.counts.copy(), self.sums.copy()
        for lesson in due:
            counts += lesson.shares
            sums += lesson.shares[:, np.newaxis] * (lesson.traits - self.voices.means)
        return replace(self, counts=counts, sums=sums, fresh=self.fresh[len(due) :])

    def recognising(self, probabilities: Vector, traits: Vector, speech_s: float) -> "Prototypes":
        """With how likely the same voice is after one more window.

        Args:
            probabilities: the classifier's: float32 [8].
            traits: float32 [K].
            speech_s: seconds of speech in the window that were not counted before.
        """
        if speech_s <= 0 or not self.counts.any():
            return self
        utterances = speech_s / UTTERANCE_S
        own, common = self._log_densities(traits)
        prior = np.log(np.maximum(probabilities, LEAST))
        ratio = np.logaddexp.reduce(prior + own) - np.logaddexp.reduce(prior + common)
        same = self.same * (1 - self.voices.change) ** utterances
        other = (1 - same) * np.exp(-np.clip(utterances * ratio, -MOST_EVIDENCE, MOST_EVIDENCE))
        return replace(self, same=float(same / (same + other)))

    def corrected(self, probabilities: Vector, traits: Vector) -> Vector:
        """Probabilities float32 [8] in the light of the prototypes, as far as they are of this voice.

        Args:
            probabilities: the classifier's: float32 [8].
            traits: float32 [K].
        """
        if not self.counts.any():
            return probabilities
        own, common = self._log_densities(traits)
        logits = np.log(np.maximum(probabilities, LEAST)) + own - common
        likelihoods = np.exp(logits - logits.max())
        mixed = self.same * likelihoods / likelihoods.sum() + (1 - self.same) * probabilities
        return np.asarray(mixed, dtype=np.float32)

    def _log_densities(self, traits: Vector) -> tuple[Vector, Vector]:
        """Of traits, by prototypes and by the corpus, but for a constant, times trust: float32 [8]."""
        variance = self.voices.variance
        # What is still unsure of each prototype; its mean lies by unsure x sums from the corpus's.
        unsure = variance / (1 + self.counts[:, np.newaxis] * variance)
        distance = traits - self.voices.means
        own = np.square(distance - unsure * self.sums) / (1 + unsure) + np.log(1 + unsure)
        common = np.square(distance) / (1 + variance) + np.log(1 + variance)
        half = -0.5 * self.voices.trust
        return half * own.sum(axis=1), half * common.sum(axis=1)

    def including(
        self, end: int, probabilities: Vector, traits: Vector, speech_s: float
    ) -> "Prototypes":
        """With what a window teaches.

        Args:
            end: one past its last sample.
            probabilities: as it was judged: float32 [8].
            traits: float32 [K].
            speech_s: seconds of speech in it that were not counted before.
        """
        if speech_s <= 0:
            return self
        shares = np.asarray(probabilities * (speech_s / UTTERANCE_S), dtype=np.float32)
        return replace(self, fresh=(*self.fresh, _Lesson(end, shares, traits)))
