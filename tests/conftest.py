"""Fixtures for every room: a small real model, and an engine that has loaded it."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from emotion.engine import Engine, load_engine
from tests.fakes import write_model

# No example is judged by its time: the machine may be busy with something else.
settings.register_profile("project", parent=settings(), deadline=None)
settings.load_profile("project")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small monitor.onnx and classifier.onnx."""
    pytest.importorskip("onnx", reason="onnx builds the small models (pip install '.[export]')")
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def engine(model_folder: Path) -> Engine:
    """That model in ONNX Runtime, with the real voice activity."""
    return load_engine(model_folder, "cpu")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recordings, `$EMOTION_DATA` or ../shared/data; skips where there is none."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EMOTION_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no recordings in {folder}: set EMOTION_DATA")
    return folder
