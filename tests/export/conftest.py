"""A Whisper small enough to export for every test run, and what comes out of it, made once."""

from pathlib import Path

import msgspec
import onnx
import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from emotion.contract import Graph
from export.build import Settings, build, lowered, save
from export.clips import speech_like
from export.convert import convert
from export.graphs import Networks
from train.encoder import Embedder
from train.head import Head
from train.recipe import Recipe, load_recipe

METRICS = {"emobox": {"ua": 0.76}}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def tiny_networks(recipe: Recipe, depth: int = 4) -> Networks:
    """A random model with statistics that are not 0 and 1 and a temperature that is not 1."""
    torch.manual_seed(3)
    config = WhisperConfig(
        d_model=32, encoder_layers=depth, encoder_attention_heads=2, encoder_ffn_dim=64
    )
    config._attn_implementation = "sdpa"
    embedder = Embedder(WhisperEncoder(config), recipe).eval().requires_grad_(False)
    # Random layers of this size hardly move what they hear; larger weights give them a say.
    for parameter in embedder.parameters():
        parameter.data *= 3 if parameter.dim() > 1 else 1
    head = Head(embedder.dim, recipe).eval().requires_grad_(False)
    if recipe.standardize:
        head.mean.uniform_(-0.5, 0.5)
        head.std.uniform_(0.5, 1.5)
    head.temperature.fill_(0.5)
    head.projection.normal_(std=0.1)
    head.emotion_traits.normal_()
    head.voice_variance.uniform_(0.5, 2.0)
    return Networks(embedder, head)


@pytest.fixture(scope="session")
def stream() -> Networks:
    """As `stream.toml`: context cut to the clip, four layers, mean and std, standardised."""
    return tiny_networks(load_recipe("stream"))


@pytest.fixture(scope="session")
def seed() -> Networks:
    """As `seed.toml`, two layers deep: padded to 30 s, final layer norm, mean."""
    recipe = msgspec.structs.replace(load_recipe("seed"), layers=(2,), hidden=(64, 32, 16))
    return tiny_networks(recipe, depth=2)


@pytest.fixture(scope="session")
def monitor_fp32(stream: Networks) -> onnx.ModelProto:
    return convert(stream, "monitor")


@pytest.fixture(scope="session")
def classifier_fp32(stream: Networks) -> onnx.ModelProto:
    return convert(stream, "classifier")


def write_both(
    folder: Path,
    networks: Networks,
    settings: Settings,
    monitor: onnx.ModelProto,
    classifier: onnx.ModelProto,
) -> dict[Graph, Path]:
    """monitor.onnx and classifier.onnx from converted graphs, in another precision."""
    models: dict[Graph, onnx.ModelProto] = {
        "monitor": lowered(monitor, settings),
        "classifier": lowered(classifier, settings),
    }
    return save(models, networks, settings, METRICS, folder)


@pytest.fixture(scope="session")
def fp32(
    stream: Networks,
    monitor_fp32: onnx.ModelProto,
    classifier_fp32: onnx.ModelProto,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[Graph, Path]:
    folder = tmp_path_factory.mktemp("fp32")
    return write_both(folder, stream, Settings(), monitor_fp32, classifier_fp32)


@pytest.fixture(scope="session")
def int8(stream: Networks, tmp_path_factory: pytest.TempPathFactory) -> dict[Graph, Path]:
    folder = tmp_path_factory.mktemp("int8")
    settings = Settings("int8")
    models = build(stream, settings, ("monitor", "classifier"), clips=speech_like(4))
    return save(models, stream, settings, METRICS, folder)


@pytest.fixture(scope="session")
def fp16(
    stream: Networks,
    classifier_fp32: onnx.ModelProto,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[Graph, Path]:
    folder = tmp_path_factory.mktemp("fp16")
    monitor = convert(stream.half(), "monitor")
    return write_both(folder, stream, Settings("fp16"), monitor, classifier_fp32)
