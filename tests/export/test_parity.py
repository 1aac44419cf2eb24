"""Parity: what agrees passes, what does not is named."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from emotion.contract import Graph, Precision
from export import parity
from export.build import Settings, save
from export.clips import Sound, awkward_sounds, speech_like
from export.convert import MAX_SAMPLES, MIN_SAMPLES, convert
from export.graphs import Networks
from tests.export.conftest import tiny_networks
from train.recipe import load_recipe

FEW = (MIN_SAMPLES, 8_001, 16_159, 48_000)


def few_sounds() -> list[Sound]:
    return [sound for sound in awkward_sounds() if len(sound.waveform) in (*FEW, 16_000)]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_precision_passes_on_awkward_sounds(
    precision: Precision, stream: Networks, request: pytest.FixtureRequest
) -> None:
    paths = request.getfixturevalue(precision)
    checks = parity.compare(paths, stream, precision, few_sounds())
    assert [str(check) for check in checks if not check.passed] == []
    assert {check.graph for check in checks} == set(paths)


def test_the_padded_recipe_exports_and_passes(seed: Networks, tmp_path: Path) -> None:
    graphs: tuple[Graph, ...] = ("monitor", "classifier")
    models = {graph: convert(seed, graph) for graph in graphs}
    paths = save(models, seed, Settings(), {}, tmp_path)
    sounds = [few_sounds()[0], Sound("30 s", speech_like(1, 30.0)[0])]
    checks = parity.compare(paths, seed, "fp32", sounds)
    assert [str(check) for check in checks if not check.passed] == []


def test_a_recipe_that_merges_frames_exports_and_passes(tmp_path: Path) -> None:
    merging = msgspec.structs.replace(load_recipe("stream"), merge=(1, 3, 1, 2))
    networks = tiny_networks(merging)
    graphs: tuple[Graph, ...] = ("monitor", "classifier")
    models = {graph: convert(networks, graph) for graph in graphs}
    paths = save(models, networks, Settings(), {}, tmp_path)
    checks = parity.compare(paths, networks, "fp32", few_sounds())
    assert [str(check) for check in checks if not check.passed] == []


def test_int8_rows_in_a_batch_are_reported_but_not_limited(
    stream: Networks, int8: dict[Graph, Path]
) -> None:
    checks = parity.compare(int8, stream, "int8", few_sounds()[:2])
    batched = next(check for check in checks if "batch" in check.compared)
    assert batched.limit is None
    assert batched.passed


def test_a_graph_that_says_something_else_is_named_with_its_output_and_the_clip(
    stream: Networks, fp32: dict[Graph, Path], tmp_path: Path
) -> None:
    wrong = onnx.load(fp32["classifier"])
    bias = next(t for t in wrong.graph.initializer if list(t.dims) == [8])
    changed = numpy_helper.to_array(bias) + np.arange(8, dtype=np.float32)
    bias.CopyFrom(numpy_helper.from_array(changed, bias.name))
    path = tmp_path / "classifier.onnx"
    onnx.save(wrong, path)
    sounds = [Sound("clip-7", speech_like(1)[0])]
    checks = parity.compare(fp32 | {"classifier": path}, stream, "fp32", sounds)
    failed = [check for check in checks if not check.passed]
    assert {check.graph for check in failed} == {"classifier"}
    assert all(check.output == "probabilities" and check.clip == "clip-7" for check in failed)
    assert "classifier.onnx, probabilities against PyTorch: worst" in str(failed[0])


def test_not_a_number_does_not_pass() -> None:
    worst = parity._Worst()
    worst(("monitor", "probabilities", "PyTorch"), np.array([0, np.nan], np.float32), 1e-4, "x")
    assert not worst.checks()[0].passed


def test_awkward_sounds_span_what_a_graph_takes() -> None:
    lengths = {len(sound.waveform) for sound in awkward_sounds()}
    assert min(lengths) == MIN_SAMPLES
    assert max(lengths) == MAX_SAMPLES
    assert len({sound.name for sound in awkward_sounds()}) == len(awkward_sounds())


def test_made_up_speech_is_the_same_every_time() -> None:
    for first, second in zip(speech_like(2), speech_like(2), strict=True):
        np.testing.assert_array_equal(first, second)
        assert torch.from_numpy(first).abs().max() <= 1
