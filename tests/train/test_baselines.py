"""Channels made of training clips: the very statistics that a session would have."""

import numpy as np
import pytest
import torch

from emotion.adapt import Baseline
from train.baselines import LEAST_VARIANCE, Actors

CLIPS = 48


@pytest.fixture
def actors() -> Actors:
    index = torch.arange(CLIPS)
    seconds = 1 + torch.rand(CLIPS, generator=torch.Generator().manual_seed(0))
    return Actors(index % 8, index // 16, seconds)


def _sets(actors: Actors, repeats: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.arange(CLIPS).repeat(repeats)
    return rows, actors.random_sets(rows, torch.Generator().manual_seed(seed))


def test_a_set_holds_the_actors_other_clips_and_never_the_clip_itself(actors: Actors) -> None:
    rows, sets = _sets(actors, 20)
    strangers = actors.actors[rows].unsqueeze(1) != actors.actors
    assert not sets[strangers].any()
    assert not sets[torch.arange(len(rows)), rows].any()


def test_sets_are_of_all_sizes_also_empty(actors: Actors) -> None:
    sizes = _sets(actors, 50)[1].sum(dim=1)
    assert sizes.min() == 0 and sizes.max() == 15
    assert (sizes < 3).float().mean() > 0.2


def test_sets_are_unbalanced(actors: Actors) -> None:
    sets = _sets(actors, 50)[1]
    some = sets[sets.sum(dim=1) == 4]
    counts = torch.zeros(len(some), 8).index_add_(1, actors.emotions, some)
    assert counts.amax(dim=1).mean() > 1.5  # of 2 clips that each emotion has
    quiet = (some[:, actors.emotions < 2].sum(dim=1) >= 3).float().mean()
    loud = (some[:, actors.emotions >= 6].sum(dim=1) >= 3).float().mean()
    assert quiet > 2 * loud  # calls are mostly neutral and calm


def test_the_statistics_are_those_of_a_session(actors: Actors) -> None:
    random = np.random.default_rng(0)
    # Far from the corpus, as channels are: nothing makes the session doubt that it is one voice.
    others = torch.from_numpy((2 + 0.3 * random.normal(size=(CLIPS, 6))).astype(np.float32))
    rows, sets = _sets(actors, 1)
    mean, std = actors.statistics(rows, others, sets, others, prior_s=6.0)
    for row in (0, 20, 47):
        baseline = Baseline.prior(np.zeros(6, np.float32), np.ones(6, np.float32), 6.0)
        for heard in [*sets[row].nonzero().flatten().tolist(), row]:
            baseline = baseline.including(others[heard].numpy(), float(actors.seconds[heard]))
        np.testing.assert_allclose(mean[row], baseline.channel.mean, atol=1e-5)
        np.testing.assert_allclose(1 / std[row], baseline.channel.inv_std, rtol=1e-4)


def test_a_variance_never_vanishes(actors: Actors) -> None:
    still = torch.zeros(CLIPS, 3)
    rows, sets = _sets(actors, 1)
    _, std = actors.statistics(rows, still, sets, still, prior_s=1e-9)
    assert (std >= LEAST_VARIANCE**0.5 - 1e-6).all()
