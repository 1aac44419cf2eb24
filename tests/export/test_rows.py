"""int8 by row: close to float32, and a row's answer does not depend on its neighbours."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from emotion.contract import Graph
from export.parity import Session
from export.rows import LARGE, quantize_rows

ALL = re.compile("linear")
INPUTS, OUTPUTS = 256, 96


def weight() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(INPUTS, OUTPUTS)).astype(np.float32)


def linear(kind: str) -> onnx.ModelProto:
    """A MatMul, or a Gemm with its weight transposed and a bias."""
    bias = np.linspace(-1, 1, OUTPUTS, dtype=np.float32)
    gemm = kind == "Gemm"
    node = helper.make_node(
        kind,
        ["x", "weight", "bias"] if gemm else ["x", "weight"],
        ["y"],
        "linear",
        **({"transB": 1} if gemm else {}),
    )
    values = np.ascontiguousarray(weight().T) if gemm else weight()
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", OUTPUTS])],
        [numpy_helper.from_array(values, "weight")]
        + ([numpy_helper.from_array(bias, "bias")] if gemm else []),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def both(model: onnx.ModelProto) -> tuple[Session, Session]:
    quantized = quantize_rows(model, ALL, 64)
    onnx.checker.check_model(quantized, full_check=True)
    return Session(model.SerializeToString()), Session(quantized.SerializeToString())


@pytest.mark.parametrize("kind", ["MatMul", "Gemm"])
def test_it_is_close_to_float32(kind: str) -> None:
    exact, quantized = both(linear(kind))
    x = np.random.default_rng(1).normal(size=(3, INPUTS)).astype(np.float32)
    expected = exact(x=x)["y"]
    difference = quantized(x=x)["y"] - expected
    assert 0 < difference.std() < 0.02 * expected.std()


def test_a_quiet_row_beside_a_loud_one_is_what_it_is_alone() -> None:
    _, quantized = both(linear("Gemm"))
    x = np.random.default_rng(2).normal(size=(2, INPUTS)).astype(np.float32)
    x[0] *= 1e4
    np.testing.assert_array_equal(quantized(x=x)["y"][1], quantized(x=x[1:])["y"][0])


def test_a_row_of_zeros_gives_the_bias() -> None:
    exact, quantized = both(linear("Gemm"))
    zeros = np.zeros((1, INPUTS), np.float32)
    np.testing.assert_array_equal(quantized(x=zeros)["y"], exact(x=zeros)["y"])


def test_other_names_and_small_weights_stay_float32() -> None:
    assert INPUTS * OUTPUTS >= LARGE
    model = linear("MatMul")
    assert quantize_rows(model, re.compile("another"), 64) == model
    small = linear("MatMul")
    small.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight()[:, :8], "weight"))
    assert quantize_rows(small, ALL, 64) == small


def test_the_rows_of_an_int8_classifier_do_not_hear_each_other(int8: dict[Graph, Path]) -> None:
    classifier = Session(int8["classifier"])
    dim = onnx.load(int8["classifier"]).graph.input[0].type.tensor_type.shape.dim[1].dim_value
    embedding = np.random.default_rng(3).normal(size=(4, dim)).astype(np.float32)
    embedding[::2] *= 1e3
    statistics = {"mean": np.zeros_like(embedding), "inv_std": np.ones_like(embedding)}
    together = classifier(embedding=embedding, **statistics)["probabilities"]
    for row in range(4):
        feeds = {name: value[row : row + 1] for name, value in statistics.items()}
        alone = classifier(embedding=embedding[row : row + 1], **feeds)["probabilities"]
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)
