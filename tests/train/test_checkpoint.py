"""Runs on disk: whole, verified, self-contained."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from emotion.errors import ModelError, ModelNotFoundError
from train.checkpoint import (
    ClipNames,
    load_checkpoint,
    load_clip_names,
    save_checkpoint,
    save_clip_names,
    save_encoder,
)
from train.encoder import Embedder, load_whisper
from train.head import Head
from train.recipe import Recipe

WAVEFORM = 0.1 * torch.randn(2, 4_000, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def parts(whisper_encoder: Path, recipe: Recipe) -> tuple[Embedder, Head]:
    embedder = Embedder(load_whisper(str(whisper_encoder)), recipe).eval()
    torch.manual_seed(0)
    head = Head(embedder.dim, recipe).eval()
    head.mean.normal_()
    head.temperature.fill_(0.8)
    return embedder, head


@pytest.fixture
def run(parts: tuple[Embedder, Head], recipe: Recipe, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "run", recipe, *parts, {"random": {"accuracy": 0.5}})
    return tmp_path / "run"


def test_what_is_loaded_answers_bit_for_bit_like_what_was_saved(
    run: Path, parts: tuple[Embedder, Head], recipe: Recipe
) -> None:
    loaded = load_checkpoint(run)
    with torch.inference_mode():
        expected = parts[1](parts[0](WAVEFORM))
        assert torch.equal(loaded.head(loaded.embedder(WAVEFORM)), expected)
    assert loaded.recipe == recipe
    assert loaded.metrics == {"random": {"accuracy": 0.5}}


def test_half_precision_weights_are_stored_as_such(run: Path) -> None:
    stored = load_file(run / "encoder.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert not any(name.startswith("layers.2") for name in stored)


def test_full_precision_weights_keep_it(whisper: Path, recipe: Recipe, tmp_path: Path) -> None:
    embedder = Embedder(load_whisper(str(whisper)), recipe).eval()
    save_checkpoint(tmp_path, recipe, embedder, Head(embedder.dim, recipe), {})
    with torch.inference_mode():
        assert torch.equal(load_checkpoint(tmp_path).embedder(WAVEFORM), embedder(WAVEFORM))


def test_loading_takes_the_encoder_from_whisper_when_told(run: Path, whisper_encoder: Path) -> None:
    (run / "encoder.safetensors").unlink()
    assert load_checkpoint(run, str(whisper_encoder)).embedder.dim == 128


def test_another_whisper_than_the_runs_is_refused(run: Path, whisper: Path) -> None:
    with pytest.raises(ModelError, match="encoder's weights have the digest"):
        load_checkpoint(run, str(whisper))


def test_folds_share_the_encoder_of_the_folder_above(
    parts: tuple[Embedder, Head], recipe: Recipe, tmp_path: Path
) -> None:
    save_encoder(tmp_path, parts[0])
    save_checkpoint(tmp_path / "fold-1", recipe, *parts, {}, shared_encoder=True)
    assert not (tmp_path / "fold-1" / "encoder.safetensors").exists()
    assert load_checkpoint(tmp_path / "fold-1").embedder.dim == 128


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no finished run there \(no run.json\)"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["head.safetensors", "encoder.safetensors"])
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(ModelNotFoundError, match=name):
        load_checkpoint(run)


@pytest.mark.parametrize("name", ["head.safetensors", "encoder.safetensors", "run.json"])
def test_a_truncated_file_is_named(run: Path, name: str) -> None:
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=name):
        load_checkpoint(run)


def test_weights_of_another_run_are_noticed(run: Path, parts: tuple[Embedder, Head]) -> None:
    other = run.parent / "other"
    parts[1].mean.zero_()
    save_checkpoint(other, load_checkpoint(run).recipe, *parts, {})
    (run / "head.safetensors").write_bytes((other / "head.safetensors").read_bytes())
    with pytest.raises(ModelError, match="head's weights have the digest"):
        load_checkpoint(run)


@pytest.mark.parametrize(
    ("key", "value"),
    [("format", 2), ("recipe", {"name": "x", "unknown": 1}), ("encoder", {"d_model": "wide"})],
)
def test_a_run_json_that_does_not_fit_is_refused(run: Path, key: str, value: object) -> None:
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(content | {key: value}))
    with pytest.raises(ModelError, match=r"run\.json"):
        load_checkpoint(run)


def test_a_run_interrupted_while_it_is_replaced_never_loads(
    run: Path, parts: tuple[Embedder, Head], recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("train.checkpoint.save_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(run, recipe, *parts, {})
    with pytest.raises(ModelNotFoundError):
        load_checkpoint(run)
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_clip_names_come_back(run: Path) -> None:
    assert load_clip_names(run) == ClipNames((), ())
    save_clip_names(run, ClipNames(("a",), ("b", "c")))
    assert load_clip_names(run) == ClipNames(("a",), ("b", "c"))
