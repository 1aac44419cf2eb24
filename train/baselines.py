"""Channels that never were: what a head has to bear once sessions adapt, made of the training clips.

In a session the classifier sees embeddings normalised by what the channel has said so far, whatever that
was: two clips or a hundred, mostly neutral or all angry. So in training a clip is normalised by the
statistics of a random, unbalanced set of the same actor's other clips, and its own, together with the
prior, with the formulas of `emotion.adapt.Baseline`. Only what a clip weighs differs a little: the
seconds from its first to its last speech here, those of the frames that are speech there.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from emotion.labels import EMOTIONS

MOST: Final = 58
"""Other clips in a set, at most; an actor of RAVDESS has 59 besides the one that is judged."""
SPREADS: Final = (0.5, 1.5, 3.0)
"""Standard deviations of the logarithms of a set's shares of emotions: from nearly even to one alone."""
CALM_SHARE: Final = 0.3  # of the sets that are mostly neutral and calm, as calls are
CALM_WEIGHTS: Final = tuple(8.0 if name in ("neutral", "calm") else 0.7 for name in EMOTIONS)
LEAST_VARIANCE: Final = 1e-2  # of the corpus's: what a set of very few clips could fall below


@dataclass(frozen=True)
class Actors:
    """Clips that channels can be made of.

    Attributes:
        emotions: int64 [n].
        actors: int64 [n].
        seconds: of speech, what a clip weighs: float32 [n].
    """

    emotions: Tensor
    actors: Tensor
    seconds: Tensor

    def random_sets(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """For each clip, other clips of its actor: how many is drawn log-uniformly, from none on.

        Args:
            rows: int64 [B].
            generator: on the same device.

        Returns:
            float32 [B, n]: 1 for the clips of the set.
        """
        device, count = self.emotions.device, len(rows)
        shape = (count, len(self.emotions))
        index = torch.arange(count, device=device)
        others = self.actors[rows].unsqueeze(1) == self.actors
        others[index, rows] = False
        # Gumbel's trick: the largest sums are a weighted sample without replacement
        # (Vieira 2014; Kool et al. 2019, arXiv 1903.06059).
        noise = torch.rand(shape, device=device, generator=generator).clamp(1e-9, 1 - 1e-7)
        score = self._mixtures(count, generator).log()[:, self.emotions] - (-noise.log()).log()
        score = score.masked_fill(~others, -torch.inf)
        drawn = torch.rand(count, 1, device=device, generator=generator)
        size = (drawn * torch.log(torch.tensor(MOST + 2.0))).exp().long() - 1
        ordered = score.sort(dim=1, descending=True).values
        last = ordered.gather(1, (size - 1).clamp(0, shape[1] - 1))
        return ((score >= last) & (size > 0) & others).float()

    def _mixtures(self, count: int, generator: torch.Generator) -> Tensor:
        """Shares of the emotions: float32 [count, 8]."""
        device = self.emotions.device
        choice = torch.randint(len(SPREADS), (count, 1), device=device, generator=generator)
        spread = torch.tensor(SPREADS, device=device)[choice]
        shape = (count, len(EMOTIONS))
        shares = (spread * torch.randn(shape, device=device, generator=generator)).exp()
        calm = torch.rand(count, 1, device=device, generator=generator) < CALM_SHARE
        return torch.where(calm, shares * torch.tensor(CALM_WEIGHTS, device=device), shares)

    def statistics(
        self, rows: Tensor, embeddings: Tensor, sets: Tensor, others: Tensor, prior_s: float
    ) -> tuple[Tensor, Tensor]:
        """What channels that have heard the sets, and the clips judged, would normalise by.

        All embeddings are normalised by the corpus's statistics, so the prior is mean 0, variance 1.

        Args:
            rows: the clips judged: int64 [B].
            embeddings: theirs: float32 [B, D].
            sets: from `random_sets`: float32 [B, n].
            others: all clips': float32 [n, D].
            prior_s: seconds that the corpus's statistics weigh.

        Returns:
            mean and standard deviation, float32 [B, D] each.
        """
        weights = sets * self.seconds
        own = self.seconds[rows].unsqueeze(1)
        total = prior_s + weights.sum(dim=1, keepdim=True) + own
        if not others.requires_grad:
            weights = weights.to_sparse()  # a set is a dozen of a thousand clips
        mean = (weights @ others + own * embeddings) / total
        square = (prior_s + weights @ others.square() + own * embeddings.square()) / total
        return mean, (square - mean.square()).clamp(min=LEAST_VARIANCE).sqrt()
