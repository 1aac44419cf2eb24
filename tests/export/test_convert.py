"""The files: names, types, shapes, contract, and nothing in them that should not be."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from emotion.contract import Graph, Precision, from_metadata
from emotion.errors import ContractError
from export.build import Settings
from export.convert import (
    MAX_SAMPLES,
    MIN_SAMPLES,
    contract_of,
    convert,
    licence_of,
    training_data,
    write,
)
from export.graphs import INPUTS, Networks
from export.parity import Session


def metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_inputs_and_outputs_are_float32_with_the_agreed_names(
    precision: str, stream: Networks, request: pytest.FixtureRequest
) -> None:
    paths: dict[Graph, Path] = request.getfixturevalue(precision)
    for graph, path in paths.items():
        model = onnx.load(path)
        assert tuple(value.name for value in model.graph.input) == INPUTS[graph]
        assert tuple(value.name for value in model.graph.output) == stream.outputs(graph)
        for value in [*model.graph.input, *model.graph.output]:
            assert value.type.tensor_type.elem_type == TensorProto.FLOAT
            assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_file_is_valid_onnx_and_its_shapes_are_inferred_strictly(
    precision: Precision, request: pytest.FixtureRequest
) -> None:
    for path in request.getfixturevalue(precision).values():
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        opset = Settings(precision).opset
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
        assert from_metadata(metadata(path)).opset == opset


def test_a_file_stands_alone_and_holds_no_paths_of_the_machine_that_made_it(
    fp32: dict[Graph, Path],
) -> None:
    for path in fp32.values():
        assert sorted(path.parent.glob("*.data")) == []
        content = path.read_bytes()
        assert b"site-packages" not in content
        assert str(Path.home()).encode() not in content


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_contract_in_the_file_is_the_one_that_was_written(
    precision: str, stream: Networks, request: pytest.FixtureRequest
) -> None:
    for graph, path in request.getfixturevalue(precision).items():
        contract = from_metadata(metadata(path))
        assert contract.graph == graph
        assert contract.precision == precision
        assert contract.target == ("avx2" if precision == "int8" else "")
        assert contract.adaptable
        assert (contract.min_samples, contract.max_samples) == (MIN_SAMPLES, MAX_SAMPLES)
        assert contract.metrics == {"emobox": {"ua": 0.76}}
        assert contract.recipe["name"] == "stream"
        np.testing.assert_array_equal(contract.mean(), stream.head.mean.numpy())
        np.testing.assert_array_equal(contract.std(), stream.head.std.numpy())


def test_a_recipe_that_does_not_standardise_is_not_adaptable(seed: Networks) -> None:
    assert not contract_of("monitor", seed, {}).adaptable


def test_the_contract_says_what_a_run_trained_on() -> None:
    names = ["03-01-02-01-01-01-07", "03-01-02-01-01-01-08", "03-02-02-01-01-01-08"]
    said = training_data(names)
    assert "3 clips" in said
    assert "speech and song, 2 professional actors" in said
    assert "speech," in training_data(names[:2])
    assert training_data([]) == "not recorded"
    assert "non-commercial" in licence_of(names)
    assert licence_of([]) == licence_of(names)


def test_a_model_of_other_recordings_does_not_claim_ravdess() -> None:
    names = ["monday/0001", "monday/0002"]
    assert training_data(names) == "2 clips of a corpus that is not RAVDESS"
    assert "RAVDESS" not in licence_of(names)


def test_a_file_that_lost_its_contract_is_refused(fp32: dict[Graph, Path]) -> None:
    kept = {key: value for key, value in metadata(fp32["monitor"]).items() if "labels" not in key}
    with pytest.raises(ContractError, match="labels"):
        from_metadata(kept, "monitor.onnx")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize(("rows", "samples"), [(1, MIN_SAMPLES), (3, 48_001), (1, MAX_SAMPLES)])
def test_batch_and_length_are_free(
    precision: str, rows: int, samples: int, stream: Networks, request: pytest.FixtureRequest
) -> None:
    monitor = Session(request.getfixturevalue(precision)["monitor"])
    noise = np.random.default_rng(0).normal(size=(rows, samples)).astype(np.float32) * 0.1
    heard = monitor(waveform=noise)
    assert heard["embedding"].shape == (rows, stream.embedder.dim)
    np.testing.assert_allclose(heard["probabilities"].sum(axis=1), np.ones(rows), atol=1e-5)


def test_the_classifier_takes_other_statistics_for_every_row(fp32: dict[Graph, Path]) -> None:
    classifier = Session(fp32["classifier"])
    dim = from_metadata(metadata(fp32["classifier"])).embedding_dim
    row = np.random.default_rng(0).normal(size=(1, dim)).astype(np.float32)
    both = classifier(
        embedding=np.repeat(row, 2, axis=0),
        mean=np.stack([np.zeros(dim, np.float32), row[0]]),
        inv_std=np.ones((2, dim), np.float32),
    )["probabilities"]
    assert np.abs(both[0] - both[1]).max() > 1e-3


def test_the_same_model_gives_the_same_bytes(
    stream: Networks, classifier_fp32: onnx.ModelProto, tmp_path: Path
) -> None:
    again = convert(stream, "classifier")
    contract = contract_of("classifier", stream, {})
    write(classifier_fp32, contract, tmp_path / "first.onnx")
    write(again, contract, tmp_path / "second.onnx")
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


def test_nodes_are_named_by_their_modules(monitor_fp32: onnx.ModelProto) -> None:
    names = [node.name for node in monitor_fp32.graph.node]
    assert len(set(names)) == len(names)
    assert "embedder.layers.3.fc2/MatMul" in names
    assert "embedder.log_mel.mel_power/Conv" in names


def test_only_a_model_with_traits_gives_them_and_says_what_they_are_like(
    stream: Networks, seed: Networks, fp32: dict[Graph, Path]
) -> None:
    assert stream.outputs("classifier") == ("probabilities", "traits")
    assert stream.outputs("monitor") == ("probabilities", "embedding")
    assert seed.outputs("classifier") == ("probabilities",)
    voices = from_metadata(metadata(fp32["classifier"])).voices()
    assert voices is not None
    assert np.array_equal(voices.means, stream.head.emotion_traits.numpy())
    assert np.array_equal(voices.variance, stream.head.voice_variance.numpy())
    assert contract_of("monitor", seed, {}).voices() is None


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("int8", 0.05)])
def test_traits_are_those_of_the_trained_head(
    precision: str, limit: float, stream: Networks, request: pytest.FixtureRequest
) -> None:
    session = Session(request.getfixturevalue(precision)["classifier"])
    generator = torch.Generator().manual_seed(5)
    embedding, mean = torch.randn(2, 4, stream.embedder.dim, generator=generator)
    inv_std = torch.rand(4, stream.embedder.dim, generator=generator) + 0.5
    expected = stream.head.traits(embedding, mean, inv_std).numpy()
    inputs = {"embedding": embedding, "mean": mean, "inv_std": inv_std}
    found = session(**{name: value.numpy() for name, value in inputs.items()})["traits"]
    assert np.abs(found - expected).max() < limit * np.abs(expected).max()
