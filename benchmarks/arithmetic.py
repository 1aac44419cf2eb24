"""How fast a graph could be at best: its multiplications, and how many a core does at its best.

A multiply-accumulate counts once. What is not a matrix product (layer norms, GELU, softmax, the
quantization itself) counts nothing here, so no graph reaches its share of 100 %.
"""

import time
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, ...]

SHAPES: Final = ((150, 512, 2048), (150, 2048, 512), (256, 512, 2048), (1024, 1024, 1024))
"""M, K, N of the products whose best is the peak: an encoder layer's own, and larger ones."""

TRIES: Final = 40
OPSET: Final = 20
PRODUCTS: Final = ("MatMul", "MatMulInteger", "Gemm", "Attention")


def multiplications(model: onnx.ModelProto, samples: int) -> int:
    """Multiply-accumulates of one row of a graph.

    Args:
        model: takes `waveform` float32 [batch, samples].
        samples: length of the row.
    """
    products = [node for node in model.graph.node if node.op_type in (*PRODUCTS, "Conv")]
    shapes = _shapes(model, products, samples)
    return sum(_of_node(node, shapes) for node in products)


def peak() -> float:
    """8-bit multiply-accumulates a second of one core: the best product of two libraries."""
    return max(_per_s(make(*shape), shape) for make in (_mlas, _onednn) for shape in SHAPES)


def _shapes(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], samples: int
) -> dict[str, Shape]:
    """Of all that the nodes read and write: taken from a run, as inference gives up on some."""
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    names = {name for node in nodes for name in (*node.input, *node.output) if name}
    wanted = sorted(names - weights.keys())
    spied = onnx.ModelProto()
    spied.CopyFrom(model)
    del spied.graph.output[:]
    spied.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    session = _session(spied, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    values = session.run(wanted, {"waveform": np.zeros((1, samples), np.float32)})
    return weights | {name: value.shape for name, value in zip(wanted, values, strict=True)}


def _of_node(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    out, first, second = (shapes[name] for name in (node.output[0], *node.input[:2]))
    if node.op_type == "Conv":  # the kernel is [out, in / groups, width...]
        return prod(out) * prod(second[1:])
    if node.op_type == "Attention":
        # q by k and weights by v; q and k are [batch, time, channels], or heads stand before the time.
        return 2 * prod(first) * second[-2]
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return prod(out) * first[-2 if transposed else -1]


def _session(
    model: onnx.ModelProto,
    level: Any = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = level
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


def _per_s(multiply: Callable[[], object], shape: Sequence[int]) -> float:
    best = float("inf")
    for _ in range(TRIES):
        begun = time.process_time()
        multiply()
        best = min(best, time.process_time() - begun)
    return prod(shape) / best


def _mlas(rows: int, inner: int, columns: int) -> Callable[[], object]:
    """ONNX Runtime's: unsigned activations by signed weights of 7 bits, which are right everywhere."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-64, 65, (inner, columns)).astype(np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "peak",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [rows, inner])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [rows, columns])],
        [numpy_helper.from_array(weights, "b")],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    session = _session(model)
    feeds = {"a": rng.integers(0, 256, (rows, inner)).astype(np.uint8)}
    return lambda: session.run(None, feeds)


def _onednn(rows: int, inner: int, columns: int) -> Callable[[], object]:
    """What PyTorch brings along: signed by signed."""
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.randint(-127, 128, shape, dtype=torch.int8, generator=generator)
        for shape in ((rows, inner), (inner, columns))
    )
    return lambda: torch._int_mm(left, right)
