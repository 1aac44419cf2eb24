"""Faster operators: the same numbers, and what is not meant is left alone."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.operators import faster, means_as_products, squares_as_products
from export.parity import Session


def averaging(axes: list[int], keepdims: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x", "axes"], ["mean"], "mean", keepdims=keepdims)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "time", 5])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(axes), "axes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.mark.parametrize(("rows", "frames"), [(1, 1), (1, 150), (3, 1500)])
def test_a_mean_over_time_is_a_product_and_the_same(rows: int, frames: int) -> None:
    model = means_as_products(averaging([1], 0))
    assert "ReduceMean" not in [node.op_type for node in model.graph.node]
    x = np.random.default_rng(0).normal(size=(rows, frames, 5)).astype(np.float32)
    mean = Session(model.SerializeToString())(x=x)["mean"]
    np.testing.assert_allclose(mean, x.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(("axes", "keepdims"), [([2], 0), ([1], 1), ([1, 2], 0)])
def test_other_means_stay_what_they_are(axes: list[int], keepdims: int) -> None:
    model = averaging(axes, keepdims)
    assert means_as_products(model) == model


@pytest.mark.parametrize(("exponent", "kind"), [(2.0, "Mul"), (3.0, "Pow")])
def test_a_square_is_a_product_and_another_power_is_not(exponent: float, kind: str) -> None:
    graph = helper.make_graph(
        [helper.make_node("Pow", ["x", "exponent"], ["power"], "power")],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("power", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(exponent, np.float32), "exponent")],
    )
    opset = [helper.make_opsetid("", 20)]
    model = squares_as_products(helper.make_model(graph, opset_imports=opset, ir_version=9))
    assert [node.op_type for node in model.graph.node] == [kind]
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    power = Session(model.SerializeToString())(x=x)["power"]
    np.testing.assert_allclose(power, x**exponent, rtol=1e-6)


def test_no_constant_is_left_that_nobody_reads(monitor_fp32: onnx.ModelProto) -> None:
    model = faster(monitor_fp32)
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read


def test_the_model_it_was_given_is_left_alone(monitor_fp32: onnx.ModelProto) -> None:
    before = monitor_fp32.SerializeToString()
    after = faster(monitor_fp32)
    assert monitor_fp32.SerializeToString() == before
    assert after != monitor_fp32
