"""The embedder against transformers' Whisper."""

from pathlib import Path

import msgspec
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from emotion.errors import ConfigurationError
from train.encoder import VARIANCE_FLOOR, Embedder, load_whisper, merged
from train.recipe import Recipe

PADDED = Recipe(name="padded", context="padded", layers=(3,), final_norm=True, standardize=False)


def test_padded_mean_is_the_mean_of_whispers_last_hidden_state(whisper: Path) -> None:
    waveform = 0.1 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    features = WhisperFeatureExtractor()(
        waveform.numpy(), sampling_rate=16_000, return_tensors="pt"
    )
    with torch.inference_mode():
        model = WhisperModel.from_pretrained(whisper).eval()
        expected = model.encoder(features.input_features).last_hidden_state.mean(dim=1)
        found = Embedder(load_whisper(str(whisper)), PADDED).eval()(waveform[None])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_an_encoder_alone_gives_what_the_full_model_gives(
    whisper: Path, whisper_encoder: Path
) -> None:
    waveform = 0.1 * torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))
    full = Embedder(load_whisper(str(whisper)).half().float(), PADDED)
    alone = Embedder(load_whisper(str(whisper_encoder)), PADDED)
    with torch.inference_mode():
        torch.testing.assert_close(alone(waveform), full(waveform), rtol=0, atol=1e-6)


def test_layers_and_statistics_are_concatenated_in_order(whisper: Path, recipe: Recipe) -> None:
    embedder = Embedder(load_whisper(str(whisper)), recipe).eval()
    waveform = 0.1 * torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        states = embedder.hidden_states(embedder.log_mel(waveform))
        found = embedder(waveform)[0]
    expected = [
        (s[0].mean(dim=0), (s[0].var(dim=0, correction=0) + VARIANCE_FLOOR).sqrt()) for s in states
    ]
    assert [len(states), states[0].shape[1], embedder.dim] == [2, 50, len(found)]
    parts = torch.cat([part for pair in expected for part in pair])
    torch.testing.assert_close(found, parts, rtol=0, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("length", [1, 2, 5, 6, 7])
def test_merged_frames_are_averaged_and_the_last_stands_for_those_missing(
    length: int, frames: int
) -> None:
    hidden = torch.randn(2, length, 4, generator=torch.Generator().manual_seed(0))
    whole = hidden[:, [min(i, length - 1) for i in range(-(-length // frames) * frames)]]
    expected = torch.nn.functional.avg_pool1d(whole.transpose(1, 2), frames).transpose(1, 2)
    torch.testing.assert_close(merged(hidden, frames), expected)


def test_layers_from_where_frames_are_merged_hear_fewer_of_them(
    whisper: Path, recipe: Recipe
) -> None:
    encoder, waveform = load_whisper(str(whisper)), torch.zeros(1, 16_160)
    merging = Embedder(encoder, msgspec.structs.replace(recipe, merge=(1, 2)))
    plain = Embedder(encoder, recipe)
    with torch.inference_mode():
        first, second = merging.hidden_states(merging.log_mel(waveform))
        both = plain.hidden_states(plain.log_mel(waveform))
    assert [first.shape[1], second.shape[1]] == [51, 26]
    torch.testing.assert_close(first, both[0])


def test_unused_layers_are_dropped(whisper: Path, recipe: Recipe) -> None:
    assert len(Embedder(load_whisper(str(whisper)), recipe).layers) == 2


def test_a_layer_that_is_not_there_is_named(whisper: Path, recipe: Recipe) -> None:
    deep = msgspec.structs.replace(recipe, layers=(2, 7))
    with pytest.raises(ConfigurationError, match=r"layers \[2, 7\], but the encoder has 3"):
        Embedder(load_whisper(str(whisper)), deep)


@pytest.mark.parametrize("name", ["/nowhere/at-all", "./nowhere", "nowhere"])
def test_a_missing_folder_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no such folder"):
        load_whisper(name)


def test_a_folder_with_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigurationError, match="a bert model, not Whisper"):
        load_whisper(str(tmp_path))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    WhisperConfig().save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match=str(tmp_path)):
        load_whisper(str(tmp_path))
