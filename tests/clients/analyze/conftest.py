"""A folder of recordings, and the command."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.analyze.recordings import Client, write
from tests.clients.conftest import Ran


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings, one of them stereo, in folders."""
    place = tmp_path_factory.mktemp("spoken")
    for number, name in enumerate(("a.wav", "b.flac", "inner/c.wav")):
        write(place / name, 2.0 + number, seed=number)
    write(place / "inner" / "stereo.wav", 3.2, channels=2, seed=9)
    return place


@pytest.fixture
def folder(spoken: Path, tmp_path: Path) -> Path:
    """The test's own copy of them."""
    return Path(shutil.copytree(spoken, tmp_path / "calls"))


@pytest.fixture
def analyze(client: Client, model_folder: Path) -> Callable[..., Ran]:
    def start(*arguments: object) -> Ran:
        return client("analyze", *arguments, "--model", model_folder)

    return start
