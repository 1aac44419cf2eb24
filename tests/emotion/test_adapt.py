"""Running statistics of a channel's embeddings."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion.adapt import PATIENCE_S, Baseline, Statistics

MEAN, STD = np.array([1.0, -2.0], np.float32), np.array([0.5, 2.0], np.float32)
PRIOR = Baseline.prior(MEAN, STD, 6.0)
STEADFAST = Baseline.prior(MEAN, STD, 6.0, patience_s=math.inf)

DIM = 64
CORPUS = Baseline.prior(np.zeros(DIM, np.float32), np.ones(DIM, np.float32), 6.0)


def talk(speaker: int, windows: int, spread: float = 0.6, seed: int = 0) -> np.ndarray:
    """Embeddings of one voice: around a place of its own in the corpus."""
    place = np.random.default_rng(speaker).normal(0, 0.8, DIM)
    random = np.random.default_rng([speaker, seed])
    return (place + spread * random.normal(size=(windows, DIM))).astype(np.float32)


def heard(baseline: Baseline, embeddings: np.ndarray, speech_s: float = 1.0) -> Baseline:
    for embedding in embeddings:
        baseline = baseline.including(embedding, speech_s)
    return baseline


def test_before_anything_is_heard_the_corpus_statistics_hold():
    assert np.array_equal(PRIOR.channel.mean, MEAN)
    assert PRIOR.channel.inv_std == pytest.approx(1 / STD)
    assert PRIOR.channel.inv_std.dtype == np.float32
    assert PRIOR.adapted_s == 0


@given(weights=st.lists(st.floats(0.03, 3), min_size=1, max_size=30), seed=st.integers(0, 100))
def test_the_sums_equal_numpys_weighted_statistics_with_the_prior_as_two_points(weights, seed):
    embeddings = np.random.default_rng(seed).normal(3, 2, (len(weights), 2)).astype(np.float32)
    baseline = STEADFAST
    for embedding, weight in zip(embeddings, weights, strict=True):
        baseline = baseline.including(embedding, weight)
    # The prior is worth 6 s at mean - std and mean + std together.
    points = np.concatenate([[MEAN - STD, MEAN + STD], embeddings]).astype(np.float64)
    heavy = np.array([3.0, 3.0, *weights])
    mean = np.average(points, axis=0, weights=heavy)
    variance = np.average((points - mean) ** 2, axis=0, weights=heavy)
    assert baseline.channel.mean == pytest.approx(mean, rel=1e-4, abs=1e-4)
    assert baseline.channel.inv_std == pytest.approx(1 / np.sqrt(variance), rel=1e-4)
    assert baseline.adapted_s == pytest.approx(sum(weights))


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_new_speech_leaves_the_statistics_as_they_are(seconds):
    assert PRIOR.including(np.zeros(2, np.float32), seconds) is PRIOR


def test_including_leaves_the_earlier_statistics_as_they_were():
    PRIOR.including(np.full(2, 100, np.float32), 5.0)
    assert np.array_equal(PRIOR.channel.mean, MEAN) and PRIOR.adapted_s == 0


def test_a_constant_offset_is_learnt_within_a_minute():
    random = np.random.default_rng(0)
    baseline = PRIOR
    for _ in range(60):
        baseline = baseline.including((MEAN + 5 + STD * random.normal(size=2)).astype("f4"), 1.0)
    assert np.abs(baseline.channel.mean - MEAN - 5).max() < 1


@pytest.mark.parametrize("prior", [PRIOR, STEADFAST])
def test_the_variance_stays_positive_over_an_hour_of_the_same_embedding(prior):
    baseline = prior
    for _ in range(14_400):
        baseline = baseline.including(MEAN, 0.25)
    assert np.isfinite(baseline.channel.inv_std).all() and np.isfinite(baseline.channel.mean).all()


def test_what_a_channel_expects_scores_minus_one_and_what_the_corpus_explains_as_well_nothing():
    random = np.random.default_rng(0)
    corpus = Statistics(np.zeros(4_096, np.float32), np.ones(4_096, np.float32), 6.0)
    mean, variance = random.normal(0, 0.7, 4_096), random.uniform(0.3, 0.9, 4_096)
    channel = Statistics(mean.astype("f4"), variance.astype("f4"), 60.0)
    own = mean + np.sqrt(variance) * random.normal(size=(50, 4_096))
    scores = [channel.score(embedding, corpus) for embedding in own.astype("f4")]
    assert np.mean(scores) == pytest.approx(-1, abs=0.03)
    assert corpus.score(own[0].astype("f4"), corpus) == pytest.approx(0, abs=1e-6)
    elsewhere = random.normal(0, 1, (50, 4_096)).astype("f4")
    assert min(channel.score(embedding, corpus) for embedding in elsewhere) > 0


def test_another_voice_takes_the_first_ones_place_within_seconds():
    first = heard(CORPUS, talk(1, 60))
    assert first.adapted_s == pytest.approx(60)
    both = heard(first, talk(2, 10))
    assert both.adapted_s <= 10
    mixed = heard(
        Baseline.prior(CORPUS.channel.mean, np.ones(DIM, "f4"), 6.0, math.inf), talk(1, 60)
    )
    mixed = heard(mixed, talk(2, 10))
    place = talk(2, 500).mean(axis=0)
    assert (
        np.abs(both.channel.mean - place).mean() < 0.7 * np.abs(mixed.channel.mean - place).mean()
    )


def test_what_was_heard_of_the_other_voice_before_it_was_believed_is_kept():
    first, second = heard(CORPUS, talk(1, 60)), talk(2, 30)
    for count in range(1, 31):
        first = first.including(second[count - 1], 1.0)
        if first.adapted_s < 60:
            break
    alone = heard(CORPUS, second[:count])
    assert 3 < count < 12
    assert first.adapted_s == pytest.approx(count)
    assert first.channel.mean == pytest.approx(alone.channel.mean, abs=1e-5)


def test_one_voice_is_not_forgotten():
    baseline = CORPUS
    for minute in range(30):
        baseline = heard(baseline, talk(3, 60, seed=minute))
    assert baseline.adapted_s == pytest.approx(1_800)


def test_while_it_is_not_settled_a_window_is_judged_as_either_voices():
    known = heard(CORPUS, talk(1, 60))
    own, strangers = np.eye(8, dtype=np.float32)[:2]
    assert known.suspicion == 0
    said, _ = known.judged(0, 1, own, np.zeros(0, np.float32), 1.0, strangers)
    assert said == pytest.approx(own)
    shares = []
    for embedding in talk(2, 30):
        known = known.including(embedding, 1.0)
        if known.adapted_s < 60:
            break
        said, _ = known.judged(0, 1, own, np.zeros(0, np.float32), 1.0, strangers)
        assert said.dtype == np.float32 and said.sum() == pytest.approx(1)
        assert said[1] == pytest.approx(known.doubt_s / PATIENCE_S)
        shares.append(said[1])
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] < 1


def test_who_never_forgets_knows_no_stranger():
    known = heard(STEADFAST, np.full((60, 2), 5, np.float32))
    assert heard(known, np.full((60, 2), -50, np.float32)).suspicion == 0


def test_one_strange_window_is_not_another_voice():
    baseline = heard(CORPUS, talk(1, 60))
    shout = talk(1, 1)[0] + np.float32(2.0)
    assert heard(baseline.including(shout, 1.0), talk(1, 20, seed=1)).adapted_s == pytest.approx(81)
