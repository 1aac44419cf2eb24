"""Smoothing over audio time."""

import numpy as np
import pytest

from emotion.smoothing import HALF_LIFE_S, Smoothing

A, B = np.eye(8, dtype=np.float32)[:2]


def test_the_first_window_is_taken_as_it_is():
    assert np.array_equal(Smoothing().including(A, 1.0).probabilities, A)


def test_after_a_half_life_the_past_weighs_half():
    smoothed = Smoothing().including(A, 1.0).including(B, 1.0 + HALF_LIFE_S)
    assert smoothed.probabilities[:2].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("hop", [0.25, 0.5, 1.0, 2.0])
def test_the_weight_of_the_past_does_not_depend_on_the_hop(hop):
    smoothed = Smoothing().including(A, 1.0)
    for end in np.arange(1 + hop, 5 + hop / 2, hop):
        smoothed = smoothed.including(B, float(end))
    assert smoothed.probabilities[0] == pytest.approx(0.5 ** (4 / HALF_LIFE_S), abs=1e-6)


def test_probabilities_go_on_summing_to_one():
    random = np.random.default_rng(0)
    smoothed = Smoothing()
    for end in range(1, 500):
        smoothed = smoothed.including(random.dirichlet(np.ones(8)).astype(np.float32), end)
    assert smoothed.probabilities.dtype == np.float32
    assert smoothed.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_including_leaves_the_earlier_state_as_it_was():
    first = Smoothing().including(A, 1.0)
    first.including(B, 2.0)
    assert np.array_equal(first.probabilities, A) and first.end_s == 1.0
