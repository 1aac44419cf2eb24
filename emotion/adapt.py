"""Running statistics of a channel's embeddings.

Most of what is lost between rooms, telephones and speakers is an offset of the embedding. A channel's
own mean and standard deviation take it away, without labels. They start at the training corpus's, which
weigh like `prior_s` seconds of speech, so that the first seconds of a call do not swing the result.

The sums are West's weighted incremental ones ("Updating mean and variance estimates", CACM 1979), with
seconds of new speech for weights: overlapping windows count each second once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Baseline:
    """A channel's statistics so far; immutable, so that a judgement can be thrown away.

    Attributes:
        mean: float32 [D].
        variance: float32 [D].
        weight_s: seconds of speech behind them, the prior included.
        prior_s: seconds that the prior weighs.
    """

    mean: Vector
    variance: Vector
    weight_s: float
    prior_s: float

    @classmethod
    def prior(cls, mean: Vector, std: Vector, prior_s: float) -> "Baseline":
        """The training corpus's statistics, before anything was heard.

        Args:
            mean: float32 [D].
            std: float32 [D], all positive.
            prior_s: seconds of speech that they weigh, above 0.
        """
        return cls(mean, np.square(std), prior_s, prior_s)

    @property
    def adapted_s(self) -> float:
        """Seconds of the channel's own speech behind the statistics."""
        return self.weight_s - self.prior_s

    @property
    def inv_std(self) -> Vector:
        """One over the standard deviation: float32 [D]."""
        return (1.0 / np.sqrt(self.variance)).astype(np.float32)

    def including(self, embedding: Vector, speech_s: float) -> "Baseline":
        """The statistics with one more embedding.

        Args:
            embedding: float32 [D].
            speech_s: its weight, the seconds of speech in it that were not counted before; 0 leaves
                the statistics as they are.
        """
        if speech_s <= 0:
            return self
        weight = self.weight_s + speech_s
        share = np.float32(speech_s / weight)
        offset = embedding - self.mean
        mean = self.mean + share * offset
        variance = (1 - share) * self.variance + share * offset * (embedding - mean)
        return Baseline(mean, variance, weight, self.prior_s)
