"""What the evaluation's plots show."""

import numpy as np
import pytest

from tests.train.measured import measured
from train.suite_plots import plot_reliability


def test_each_seed_has_a_line_of_its_own_in_the_reliability_plot() -> None:
    # Right on 80 % and on all at a confidence of 91 %: together they would look well calibrated.
    folds = [measured("fold-1", 0.8), measured("fold-1", 1.0, seed=43)]
    (axes,) = plot_reliability(folds, "two seeds").axes
    _, *seeds = axes.get_lines()  # the first is the diagonal
    points = [np.asarray(line.get_xydata()) for line in seeds]
    assert [line.get_label() for line in seeds] == ["seed 42", "seed 43"]
    assert points == [pytest.approx(np.array([[91.25, right]])) for right in (80, 100)]
    (alone,) = plot_reliability(folds[:1], "one").axes
    assert len(alone.get_lines()) == 2 and alone.get_legend() is None
    assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(100)
