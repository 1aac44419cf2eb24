"""int8 weights, and where integer arithmetic is used: chosen by accuracy, right on every x86.

Three kinds of numbers stand side by side in one file:

    dynamic int8  the encoder: MatMulInteger, one scale for all that a linear hears in a run. Fast.
    int8 by row   the head's large linears: a scale a row (rows.py), so that the classifier, which has
                  no other int8, stays independent of a batch's other rows.
    float16       what else is large: float32 in memory, because the conversion is a constant that
                  ONNX Runtime folds when it loads.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, get_args

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import QuantType
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig, QuantizationConfig
from transformers import PretrainedConfig

from export.operators import faster
from export.rewire import EXACT
from export.rows import LARGE, quantize_rows

Target = Literal["avx2", "avx512_vnni", "arm64"]

TARGETS: Final[tuple[Target, ...]] = get_args(Target)

BY_ROW: Final = re.compile(r"^head\b")
"""Linears that are quantized a row at a time."""


def quantization_config(target: Target, nodes: list[str]) -> QuantizationConfig:
    """How optimum quantizes for an instruction set.

    `avx2` is the default and right on every x86. Its kernels for u8 activations by s8 weights add
    two products in 16 bits with saturation (VPMADDUBSW): 255 * 127 * 2 does not fit, 255 * 64 * 2
    does, so weights take 7 bits. Unsigned weights would not saturate either, but ONNX Runtime runs
    them through VNNI only where there is AVX-VNNI-INT8: at half the speed on most servers.

    Args:
        target: the instruction set.
        nodes: names of the MatMul nodes that compute in int8.
    """
    options = {"is_static": False, "operators_to_quantize": ["MatMul"], "nodes_to_quantize": nodes}
    if target == "arm64":
        return AutoQuantizationConfig.arm64(**options)
    if target == "avx512_vnni":
        return AutoQuantizationConfig.avx512_vnni(**options)
    config = AutoQuantizationConfig.avx2(**options, reduce_range=True)
    config.weights_dtype = QuantType.QInt8
    return config


def quantize(model: onnx.ModelProto, target: Target) -> onnx.ModelProto:
    """An int8 model of a float32 one.

    Args:
        model: one of the graphs, as `convert` made it; left as it is.
        target: the instruction set.
    """
    quantized = _compute_int8(model, target) if computed(model) else model
    return store_half(quantize_rows(faster(quantized), BY_ROW, steps(target)))


def steps(target: Target) -> int:
    """How many steps of its scale a weight may take, to either side."""
    return 64 if target == "avx2" else 127


def computed(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that compute in int8: the encoder's linears but the few in `EXACT`.

    Whisper's convolutions are among them once `rewire` has made linears of them.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul"
        and node.input[1] in weights
        and node.name.startswith("embedder.")
        and "log_mel" not in node.name
        and not EXACT.search(node.name)
    ]


def store_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with large float32 weights stored as float16, the front end's excepted.

    Whisper's own were published as float16, so that loses nothing of them.
    """
    model = _copy(model)
    for node in list(model.graph.node):
        for position, name in enumerate(node.input):
            weight = _large_weight(model, name)
            if weight is not None and "log_mel" not in node.name:
                _store_half(model, node, position, weight)
    return model


def _compute_int8(model: onnx.ModelProto, target: Target) -> onnx.ModelProto:
    with TemporaryDirectory() as folder, _quiet_optimum():
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        # A configuration of its own keeps the quantizer from looking for one beside the file.
        quantizer = ORTQuantizer(path, config=PretrainedConfig())
        quantizer.quantize(quantization_config(target, computed(model)), folder, file_suffix="int8")
        return onnx.load(path.with_name("model_int8.onnx"))


def _store_half(
    model: onnx.ModelProto, node: onnx.NodeProto, position: int, weight: onnx.TensorProto
) -> None:
    name = weight.name
    half = numpy_helper.to_array(weight).astype(np.float16)
    model.graph.initializer.remove(weight)
    model.graph.initializer.append(numpy_helper.from_array(half, f"{name}_half"))
    cast = onnx.helper.make_node(
        "Cast", [f"{name}_half"], [f"{name}_float"], f"{name}/Cast", to=onnx.TensorProto.FLOAT
    )
    _before(model, node, [cast])
    node.input[position] = f"{name}_float"


def _before(model: onnx.ModelProto, node: onnx.NodeProto, new: list[onnx.NodeProto]) -> None:
    at = list(model.graph.node).index(node)
    for offset, added in enumerate(new):
        model.graph.node.insert(at + offset, added)


def _large_weight(model: onnx.ModelProto, name: str) -> onnx.TensorProto | None:
    for tensor in model.graph.initializer:
        is_float = tensor.data_type == onnx.TensorProto.FLOAT
        if tensor.name == name and is_float and np.prod(tensor.dims) >= LARGE:
            return tensor
    return None


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    del copied.graph.value_info[:]
    return copied


@contextmanager
def _quiet_optimum() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("optimum", "root")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
