"""Linears in int8 whose rows do not hear each other: each row of a batch has a scale of its own.

The head's first layer reads 2 million weights for one row, and in float32 that is a matter of memory
alone: integers take an eighth of the time. ONNX's dynamic quantization takes one scale over all rows of
a batch, which would make a classifier's answer depend on its neighbours; for a row or a few, a scale a
row costs next to nothing.
"""

import re
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

LARGE: Final = 16_384
"""Elements of a weight; smaller linears stay float32."""

STEPS: Final = 127
"""That a row's largest value takes, to either side of zero."""

CONSTANTS: Final = {
    "rows/steps": np.array(STEPS, np.float32),
    "rows/smallest": np.array(1e-12, np.float32),  # a row of zeros has a scale, too
    "rows/middle": np.array(STEPS + 1, np.float32),
    "rows/zero": np.array(STEPS + 1, np.uint8),
    "rows/channels": np.array([-1]),
}


def quantize_rows(model: onnx.ModelProto, chosen: re.Pattern[str], steps: int) -> onnx.ModelProto:
    """A copy with the large linears of some names in int8.

    Args:
        model: float32 where the names fit.
        chosen: of the nodes, MatMul or Gemm.
        steps: the largest weight of each output takes so many.
    """
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in copied.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if _fits(node, chosen, weights):
            weight = weights[node.input[1]]
            nodes.extend(_linear(node))
            copied.graph.initializer.remove(weight)
            copied.graph.initializer.extend(_rounded(weight, _transposed(node), steps))
        else:
            nodes.append(node)
    if len(nodes) > len(model.graph.node):
        constants = (numpy_helper.from_array(value, name) for name, value in CONSTANTS.items())
        copied.graph.initializer.extend(constants)
    del copied.graph.node[:]
    copied.graph.node.extend(nodes)
    return copied


def _fits(
    node: onnx.NodeProto, chosen: re.Pattern[str], weights: dict[str, onnx.TensorProto]
) -> bool:
    if node.op_type not in {"MatMul", "Gemm"} or not chosen.search(node.name):
        return False
    weight = weights.get(node.input[1])
    if weight is None or weight.data_type != TensorProto.FLOAT:
        return False
    return int(np.prod(weight.dims)) >= LARGE


def _transposed(node: onnx.NodeProto) -> bool:
    return any(a.name == "transB" and a.i for a in node.attribute)


def _rounded(weight: onnx.TensorProto, transposed: bool, steps: int) -> Iterator[onnx.TensorProto]:
    """int8 [inputs, outputs] and float32 [outputs]."""
    values: npt.NDArray[np.float32] = numpy_helper.to_array(weight)
    values = values.T if transposed else values
    scale = np.maximum(np.abs(values).max(axis=0) / steps, 1e-12).astype(np.float32)
    whole = np.ascontiguousarray(np.rint(values / scale).astype(np.int8))
    yield numpy_helper.from_array(whole, f"{weight.name}_int8")
    yield numpy_helper.from_array(scale, f"{weight.name}_scale")


def _linear(old: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """[rows, inputs] -> [rows, outputs], with the bias where there is one."""
    inputs, weight, *bias = old.input
    name = old.name

    def node(kind: str, inputs: list[str], output: str, **attributes: int) -> onnx.NodeProto:
        made = helper.make_node(kind, inputs, [output], f"{output}/{kind}", **attributes)
        return made

    scale, whole = f"{name}/row_scale", f"{name}/whole"
    yield node("Abs", [inputs], f"{name}/size")
    yield node("ReduceMax", [f"{name}/size", "rows/channels"], f"{name}/largest", keepdims=1)
    yield node("Max", [f"{name}/largest", "rows/smallest"], f"{name}/heard")
    yield node("Div", [f"{name}/heard", "rows/steps"], scale)
    yield node("Div", [inputs, scale], f"{name}/steps")
    yield node("Round", [f"{name}/steps"], f"{name}/rounded")
    yield node("Add", [f"{name}/rounded", "rows/middle"], f"{name}/unsigned")
    yield node("Cast", [f"{name}/unsigned"], whole, to=TensorProto.UINT8)
    yield node("MatMulInteger", [whole, f"{weight}_int8", "rows/zero"], f"{name}/sum")
    yield node("Cast", [f"{name}/sum"], f"{name}/float", to=TensorProto.FLOAT)
    yield node("Mul", [f"{name}/float", scale], f"{name}/scaled")
    output = old.output[0]
    yield node("Mul", [f"{name}/scaled", f"{weight}_scale"], f"{name}/product" if bias else output)
    if bias:
        yield node("Add", [f"{name}/product", bias[0]], output)
