"""What the edge's programs are held against."""

import pytest

from emotion.engine import Engine, load_engine


@pytest.fixture(scope="package")
def embedded() -> Engine:
    """The embedded model, as the server runs it."""
    return load_engine(device="cpu")
