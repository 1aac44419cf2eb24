"""Where windows lie."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion.grid import Grid

hundredths = st.integers(25, 1_000).map(lambda n: n / 100)


@given(hop=hundredths, count=st.integers(0, 100_000))
def test_every_window_ends_at_a_whole_number_of_hops_to_the_nearest_sample(hop, count):
    grid = Grid(10.0, hop)
    exact = Fraction(Decimal(str(hop)))
    assert grid.first == ceil(1 / exact)
    k = grid.first + count
    assert abs(grid.end(k) - k * exact * 16_000) <= Fraction(1, 2)


@given(hop=st.floats(0.25, 10), window=st.floats(1, 10))
def test_ends_grow_and_the_first_is_at_1_s_or_the_first_hop_after(hop, window):
    grid = Grid(window, hop)
    ends = [grid.end(grid.first + i) for i in range(5)]
    assert ends == sorted(set(ends))
    assert 16_000 <= ends[0] <= max(16_000 * hop, 16_000 * (1 + hop)) + 1
    assert all(0 <= grid.begin(end) < end for end in ends)


@pytest.mark.parametrize(
    ("hop", "ends"),
    [
        (0.25, [1.0, 1.25, 1.5]),
        (0.3, [1.2, 1.5, 1.8]),
        (0.7, [1.4, 2.1, 2.8]),
        (1.0, [1.0, 2.0, 3.0]),
        (1 / 3, [1.0, 4 / 3, 5 / 3]),
        (0.33333333333, [1.0, 4 / 3, 5 / 3]),
        (2.5, [2.5, 5.0, 7.5]),
        (10.0, [10.0, 20.0, 30.0]),
    ],
)
def test_the_grid_of_usual_and_unusual_hops(hop, ends):
    grid = Grid(10.0, hop)
    found = [grid.end(grid.first + i) for i in range(3)]
    assert found == [round(end * 16_000) for end in ends]


def test_a_window_begins_no_earlier_than_the_audio():
    assert [Grid(3.0, 1.0).begin(end) for end in (0, 16_000, 48_000, 48_001)] == [0, 0, 0, 1]
