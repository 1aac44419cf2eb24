"""Running statistics of a channel's embeddings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion.adapt import Baseline

MEAN, STD = np.array([1.0, -2.0], np.float32), np.array([0.5, 2.0], np.float32)
PRIOR = Baseline.prior(MEAN, STD, 6.0)


def test_before_anything_is_heard_the_corpus_statistics_hold():
    assert np.array_equal(PRIOR.mean, MEAN)
    assert PRIOR.inv_std == pytest.approx(1 / STD)
    assert PRIOR.inv_std.dtype == np.float32
    assert PRIOR.adapted_s == 0


@given(weights=st.lists(st.floats(0.03, 3), min_size=1, max_size=30), seed=st.integers(0, 100))
def test_the_sums_equal_numpys_weighted_statistics_with_the_prior_as_two_points(weights, seed):
    embeddings = np.random.default_rng(seed).normal(3, 2, (len(weights), 2)).astype(np.float32)
    baseline = PRIOR
    for embedding, weight in zip(embeddings, weights, strict=True):
        baseline = baseline.including(embedding, weight)
    # The prior is worth 6 s at mean - std and mean + std together.
    points = np.concatenate([[MEAN - STD, MEAN + STD], embeddings]).astype(np.float64)
    heavy = np.array([3.0, 3.0, *weights])
    mean = np.average(points, axis=0, weights=heavy)
    variance = np.average((points - mean) ** 2, axis=0, weights=heavy)
    assert baseline.mean == pytest.approx(mean, rel=1e-4, abs=1e-4)
    assert baseline.variance == pytest.approx(variance, rel=1e-4)
    assert baseline.adapted_s == pytest.approx(sum(weights))


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_new_speech_leaves_the_statistics_as_they_are(seconds):
    assert PRIOR.including(np.zeros(2, np.float32), seconds) is PRIOR


def test_including_leaves_the_earlier_statistics_as_they_were():
    PRIOR.including(np.full(2, 100, np.float32), 5.0)
    assert np.array_equal(PRIOR.mean, MEAN) and PRIOR.weight_s == 6.0


def test_a_constant_offset_is_learnt_within_a_minute():
    random = np.random.default_rng(0)
    baseline = PRIOR
    for _ in range(60):
        baseline = baseline.including((MEAN + 5 + STD * random.normal(size=2)).astype("f4"), 1.0)
    assert np.abs(baseline.mean - MEAN - 5).max() < 1


def test_the_variance_stays_positive_over_an_hour_of_the_same_embedding():
    baseline = PRIOR
    for _ in range(14_400):
        baseline = baseline.including(MEAN, 0.25)
    assert (baseline.variance > 0).all() and np.isfinite(baseline.inv_std).all()
