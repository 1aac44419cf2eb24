"""The cache of tuned encoders: what is in it is not tuned again."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from train import tuned as cached
from train.encoder import Embedder, load_whisper
from train.recipe import Recipe
from train.tune import Lessons
from train.tuned import tuned_encoder


@pytest.fixture
def before(whisper: Path, tuned: Recipe) -> Embedder:
    return Embedder(load_whisper(str(whisper)), tuned).eval()


def test_another_head_takes_the_encoder_that_is_there(
    before: Embedder,
    lessons: Lessons,
    tuned: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = tuned_encoder(before, lessons, tuned, 1, tmp_path / "run", tmp_path / "cache")
    monkeypatch.setattr(cached, "tune", None)
    before.train().requires_grad_(True)
    other = msgspec.structs.replace(tuned, epochs=99, weight_decay=0.5)
    again = tuned_encoder(before, lessons, other, 1, tmp_path / "other", tmp_path / "cache")
    assert not again.training and not any(weight.requires_grad for weight in again.parameters())
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert not torch.equal(again.conv1.weight, before.conv1.weight)


def test_another_seed_is_tuned_by_itself(
    before: Embedder, lessons: Lessons, tuned: Recipe, tmp_path: Path
) -> None:
    one, other = (
        tuned_encoder(before, lessons, tuned, seed, tmp_path / "run", tmp_path / "cache")
        for seed in (1, 2)
    )
    assert not torch.equal(one.conv1.weight, other.conv1.weight)
    assert len(list((tmp_path / "cache" / "tuned").iterdir())) == 2


def _cut_short(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:1000])


def _of_other_weights(entry: Path) -> None:
    weights = load_file(entry)
    save_file({name: value + 1 for name, value in weights.items()}, entry)


@pytest.mark.parametrize("damage", [_cut_short, _of_other_weights])
def test_a_damaged_entry_is_tuned_again(
    damage: Callable[[Path], None],
    before: Embedder,
    lessons: Lessons,
    tuned: Recipe,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = tuned_encoder(before, lessons, tuned, 1, tmp_path / "run", tmp_path / "cache")
    (entry,) = (tmp_path / "cache" / "tuned").glob("*/encoder.safetensors")
    damage(entry)
    again = tuned_encoder(before, lessons, tuned, 1, tmp_path / "other", tmp_path / "cache")
    assert "damaged cache entry" in caplog.text
    assert torch.equal(first.conv1.weight, again.conv1.weight)


def test_an_entry_that_was_not_finished_is_tuned_again(
    before: Embedder, lessons: Lessons, tuned: Recipe, tmp_path: Path
) -> None:
    first = tuned_encoder(before, lessons, tuned, 1, tmp_path / "run", tmp_path / "cache")
    (entry,) = (tmp_path / "cache" / "tuned").iterdir()
    (entry / cached.DIGEST).unlink()
    again = tuned_encoder(before, lessons, tuned, 1, tmp_path / "run", tmp_path / "cache")
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert (entry / cached.DIGEST).is_file()
