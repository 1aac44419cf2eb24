"""What an idle session costs."""

import sys

import pytest

from benchmarks.idle_memory import measure


@pytest.mark.skipif(sys.platform != "linux", reason="not in CI: resident memory is read from /proc")
def test_an_idle_session_costs_at_most_256_kib() -> None:
    assert 0 < measure(60) <= 256
