"""Running statistics of a channel's embeddings.

Most of what is lost between rooms, telephones and speakers is an offset of the embedding. A channel's
own mean and standard deviation take it away, without labels. They start at the training corpus's, which
weigh like `prior_s` seconds of speech, so that the first seconds of a call do not swing the result.

The sums are West's weighted incremental ones ("Updating mean and variance estimates", CACM 1979), with
seconds of new speech for weights: overlapping windows count each second once.

When another person takes over, the first one's statistics do harm. So each window is asked whether the
corpus explains it about as well as the channel's own statistics do, and where that goes on for some
seconds the channel starts afresh from what it heard meanwhile: Page's cumulative sum ("Continuous
inspection schemes", Biometrika 1954) over a ratio of likelihoods. It needs no labels and no threshold in
the embedding's units, so it does not have to be set again for another encoder. A burst of emotion can be
taken for another voice; then what is lost is what was learnt, and the corpus's statistics hold again.

Until that is settled there are two voices that it could be, the channel's and a stranger's, and a window
is judged as both: the answer is the mixture of the two, by how much speaks for the stranger. Where the
model has traits, prototypes recognise their voice besides (`prototypes.py`), and often sooner. Without
both the first ten clips of a second speaker were judged worse than without any adaptation.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from emotion.prototypes import Prototypes, Voices

Vector = npt.NDArray[np.float32]

TYPICAL: Final = 0.8
"""Where doubt begins: a window that is as the channel's statistics expect scores -1, one that the corpus
explains as well 0, and what lies above -`TYPICAL` speaks for another voice. Chosen as recipes are
(`benchmarks/choose_recipe.py`), with `PATIENCE_S`; 0.7 to 0.9 and 3 to 4 s did about as well."""

PATIENCE_S: Final = 3.0
"""Doubt at which a channel starts afresh. A second of speech adds at most `TYPICAL`, however strange it
is, so it takes some 4 s of another voice, and no single window of the default length can do it."""

STRANGER: Final = 0.1
"""Probability of the same voice, by its prototypes, below which the channel starts afresh at once."""

MIN_DIVERGENCE: Final = 0.02
"""Nats a dimension, by which a channel must differ from the corpus before scores mean anything."""


@dataclass(frozen=True)
class Statistics:
    """Weighted mean and variance of embeddings; immutable.

    Attributes:
        mean: float32 [D].
        variance: float32 [D].
        weight_s: seconds of speech behind them.
    """

    mean: Vector
    variance: Vector
    weight_s: float

    @property
    def inv_std(self) -> Vector:
        """One over the standard deviation: float32 [D]."""
        return (1.0 / np.sqrt(self.variance)).astype(np.float32)

    def including(self, embedding: Vector, speech_s: float) -> "Statistics":
        """With one more embedding, float32 [D], that weighs `speech_s`, above 0."""
        weight = self.weight_s + speech_s
        share = np.float32(speech_s / weight)
        offset = embedding - self.mean
        mean = self.mean + share * offset
        variance = (1 - share) * self.variance + share * offset * (embedding - mean)
        return Statistics(mean, variance, weight)

    def score(self, embedding: Vector, corpus: "Statistics") -> float:
        """How strange an embedding is to these statistics beside the corpus's.

        The mean log-likelihood ratio of independent normal distributions, corpus over channel, in
        units of its own expectation (the divergence of Kullback and Leibler): -1 for what the channel
        expects, 0 where the corpus explains it as well, above 0 where better.
        """
        spread = np.log(self.variance) - np.log(corpus.variance)
        own = np.square(embedding - self.mean) / self.variance
        common = np.square(embedding - corpus.mean) / corpus.variance
        apart = self.variance + np.square(self.mean - corpus.mean)
        divergence = float(np.mean(apart / corpus.variance - 1 - spread))
        ratio = float(np.mean(spread + own - common))
        return ratio / max(divergence, 2 * MIN_DIVERGENCE)


@dataclass(frozen=True)
class Baseline:
    """A channel's statistics so far; immutable, so that a judgement can be thrown away.

    Attributes:
        corpus: the training corpus's, which weigh `prior_s`.
        channel: those that judge: the corpus's and what was heard of this voice.
        since: the corpus's and what was heard since the doubt began: a stranger's, if it is one.
        doubt_s: how much speaks for another voice, in seconds.
        patience_s: the doubt at which `since` takes the place of `channel`; infinite: never.
        prototypes: what emotions sound like in this voice; None where the model has no traits.
    """

    corpus: Statistics
    channel: Statistics
    since: Statistics
    doubt_s: float = 0.0
    patience_s: float = PATIENCE_S
    prototypes: Prototypes | None = None

    @classmethod
    def prior(
        cls,
        mean: Vector,
        std: Vector,
        prior_s: float,
        patience_s: float = PATIENCE_S,
        voices: Voices | None = None,
    ) -> "Baseline":
        """The training corpus's statistics, before anything was heard.

        Args:
            mean: float32 [D].
            std: float32 [D], all positive.
            prior_s: seconds of speech that they weigh, above 0.
            patience_s: seconds of doubt after which another voice is taken for granted.
            voices: what the model's traits are like in the corpus; None where it has none.
        """
        corpus = Statistics(mean, np.square(std), prior_s)
        prototypes = None if voices is None else Prototypes.none(voices)
        return cls(corpus, corpus, corpus, patience_s=patience_s, prototypes=prototypes)

    @property
    def suspicion(self) -> float:
        """How much speaks for a stranger: 0 to 1, where `since` takes the place of `channel`."""
        return self.doubt_s / self.patience_s

    @property
    def adapted_s(self) -> float:
        """Seconds of the present voice's own speech behind the statistics."""
        return self.channel.weight_s - self.corpus.weight_s

    def including(self, embedding: Vector, speech_s: float) -> "Baseline":
        """The statistics with one more embedding.

        Args:
            embedding: float32 [D].
            speech_s: its weight, the seconds of speech in it that were not counted before; 0 leaves
                the statistics as they are.
        """
        if speech_s <= 0:
            return self
        channel = self.channel.including(embedding, speech_s)
        strange = min(self.channel.score(embedding, self.corpus), 0.0)
        doubt = self.doubt_s + (strange + TYPICAL) * speech_s
        if doubt <= 0:
            return replace(self, channel=channel, since=self.corpus, doubt_s=0.0)
        since = self.since.including(embedding, speech_s)
        if doubt <= self.patience_s:
            return replace(self, channel=channel, since=since, doubt_s=doubt)
        return replace(self, since=since)._anew()

    def judged(
        self,
        start: int,
        end: int,
        probabilities: Vector,
        traits: Vector,
        speech_s: float,
        strangers: Vector | None = None,
    ) -> tuple[Vector, "Baseline"]:
        """What a window is taken for by all that is known of the voice, and the baseline it leaves.

        Args:
            start: the window's first sample.
            end: one past its last one.
            probabilities: the classifier's, of the embedding as `channel` normalises it: float32 [8].
            traits: likewise: float32 [K].
            speech_s: seconds of speech in the window that were not counted before.
            strangers: the classifier's, of the embedding as `since` normalises it: float32 [8]; may be
                None where nothing speaks for a stranger.

        Returns:
            float32 [8], and the baseline with what was learnt.
        """
        known = self.prototypes and self.prototypes.before(start)
        if known is not None:
            known = known.recognising(probabilities, traits, speech_s)
            probabilities = known.corrected(probabilities, traits)
        if strangers is not None:
            share = np.float32(self.suspicion)
            probabilities = (1 - share) * probabilities + share * strangers
        if known is None:
            return probabilities, self
        after = self._anew() if known.same < STRANGER else replace(self, prototypes=known)
        learnt = after.prototypes and after.prototypes.including(
            end, probabilities, traits, speech_s
        )
        return probabilities, replace(after, prototypes=learnt)

    def _anew(self) -> "Baseline":
        """Of the voice that was heard since the doubt began, if it did."""
        prototypes = self.prototypes and Prototypes.none(self.prototypes.voices)
        return replace(
            self, channel=self.since, since=self.corpus, doubt_s=0.0, prototypes=prototypes
        )
