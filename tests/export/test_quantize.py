"""int8: which numbers, where, and that no x86 adds them up wrong."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import QuantType

from emotion.contract import Graph, from_metadata
from export.build import Settings, build, prepared
from export.clips import speech_like
from export.graphs import Networks
from export.parity import Session, row_dependence
from export.quantize import TARGETS, Target, computed, quantization_config, quantize, store_half
from tests.export.conftest import tiny_networks
from train.recipe import load_recipe

SHIPPED = Path(__file__).parents[2] / "emotion" / "models" / "default"
SHIPPED_BYTES = 25_000_000

Integers = npt.NDArray[np.int32]


def integer_weights(model: onnx.ModelProto) -> dict[str, Integers]:
    """The weights of every MatMulInteger: [K, N] by node name."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        node.name: numpy_helper.to_array(weights[node.input[1]]).astype(np.int32)
        for node in model.graph.node
        if node.op_type == "MatMulInteger"
    }


def worst_pairs(weight: Integers) -> Integers:
    """What VPMADDUBSW adds before it saturates, for the activations that make it largest.

    It multiplies unsigned activations by signed weights and adds neighbours along K in 16 bits.
    """
    even, odd = weight[0::2], weight[1::2]
    rise = 255 * (np.maximum(even, 0) + np.maximum(odd, 0))
    fall = 255 * (np.minimum(even, 0) + np.minimum(odd, 0))
    return np.stack([rise, fall])


def saturates(weight: Integers) -> bool:
    pairs = worst_pairs(weight)
    return bool((pairs > 32_767).any() or (pairs < -32_768).any())


def models(int8: dict[Graph, Path]) -> list[onnx.ModelProto]:
    shipped = [path for path in SHIPPED.glob("*.onnx")]
    return [onnx.load(path) for path in [*int8.values(), *shipped]]


def test_the_default_cannot_saturate_on_an_x86_without_vnni(int8: dict[Graph, Path]) -> None:
    checked = 0
    for model in models(int8):
        for name, weight in integer_weights(model).items():
            assert not saturates(weight), name
            assert np.abs(weight).max() <= 64
            checked += 1
    assert checked >= 11


def test_full_range_weights_would_saturate(monitor_fp32: onnx.ModelProto) -> None:
    weights = integer_weights(quantize(monitor_fp32, "avx512_vnni"))
    assert any(saturates(weight) for weight in weights.values())


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_signed_weights_a_channel_at_a_time(target: Target) -> None:
    config = quantization_config(target, ["a"])
    assert config.weights_dtype == QuantType.QInt8
    assert config.activations_dtype == QuantType.QUInt8
    assert config.per_channel
    assert config.weights_symmetric
    assert not config.is_static
    assert config.nodes_to_quantize == ["a"]
    assert config.reduce_range == (target == "avx2")


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_makes_a_graph_that_runs(
    target: Target, monitor_fp32: onnx.ModelProto
) -> None:
    monitor = Session(quantize(monitor_fp32, target).SerializeToString())
    heard = monitor(waveform=speech_like(1)[0][None])
    assert np.isfinite(heard["probabilities"]).all()


def test_exactly_the_chosen_nodes_compute_in_integers(monitor_fp32: onnx.ModelProto) -> None:
    chosen = computed(monitor_fp32)
    names = integer_weights(quantize(monitor_fp32, "avx2")).keys()
    assert {name for name in names if name.endswith("_quant")} == {f"{n}_quant" for n in chosen}
    linears = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
    assert len(chosen) == 4 * len(linears)
    assert all(f"{name}/MatMul" in " ".join(chosen) for name in linears)


def test_all_of_a_rewired_encoder_computes_in_integers_but_what_is_loud() -> None:
    networks = tiny_networks(load_recipe("stream"))
    networks.embedder.layers[2].fc1.weight[5] *= 40
    model = build(networks, Settings("int8"), ["monitor"], clips=speech_like(4))["monitor"]
    weights = {tensor.name for tensor in model.graph.initializer}
    names = integer_weights(model).keys()
    for linear in ("conv1.1.linear", "conv2.1.linear", "layers.0.self_attn.qkv", "layers.3.fc2"):
        assert any(name.startswith(f"embedder.{linear}/") for name in names)
    assert not any("log_mel" in name or "loud" in name for name in names)
    floats = [n.name for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    encoders = {name for name in floats if name.startswith("embedder.") and "log_mel" not in name}
    assert encoders == {f"embedder.layers.2.fc2.loud{part}/MatMul" for part in (1, 2)}


def test_quantizing_leaves_the_model_it_was_given(monitor_fp32: onnx.ModelProto) -> None:
    before = monitor_fp32.SerializeToString()
    quantize(monitor_fp32, "avx2")
    store_half(monitor_fp32)
    assert monitor_fp32.SerializeToString() == before


def test_rounded_weights_are_what_the_quantizer_finds_again(
    stream: Networks, int8: dict[Graph, Path]
) -> None:
    fitted = prepared(stream, Settings("int8"), speech_like(4))
    model = onnx.load(int8["monitor"])
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    product = "embedder.layers.1.fc1/MatMul_quant"
    (steps,) = (n.input[1] for n in model.graph.node if n.name == product)
    (scale,) = (n.input[1] for n in model.graph.node if n.name == f"{product}_scales_mul")
    found = values[steps] * values[scale]
    expected = fitted.embedder.get_submodule("layers.1.fc1").weight.numpy()
    np.testing.assert_allclose(found.T, expected, atol=1e-6)


def test_the_front_end_stays_float32(int8: dict[Graph, Path], fp16: dict[Graph, Path]) -> None:
    # The DFT and the filters; int8's are in two halves.
    for path, count in ((int8["monitor"], 4), (fp16["monitor"], 2)):
        model = onnx.load(path)
        weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        constants = [
            weights[name]
            for node in model.graph.node
            if node.op_type in ("Conv", "MatMul") and node.name.startswith("embedder.log_mel.")
            for name in node.input
            if name in weights
        ]
        assert constants == count * [TensorProto.FLOAT]


def test_an_int8_monitor_and_its_classifier_say_the_same(int8: dict[Graph, Path]) -> None:
    properties = onnx.load(int8["monitor"]).metadata_props
    contract = from_metadata({entry.key: entry.value for entry in properties})
    heard = Session(int8["monitor"])(waveform=speech_like(1)[0][None])
    judged = Session(int8["classifier"])(
        embedding=heard["embedding"],
        mean=contract.mean()[None],
        inv_std=(1 / contract.std())[None],
    )
    difference = np.abs(judged["probabilities"] - heard["probabilities"]).max()
    assert difference <= 1e-5


def test_rows_of_a_float32_batch_do_not_hear_each_other_and_those_of_dynamic_int8_do(
    fp32: dict[Graph, Path], int8: dict[Graph, Path]
) -> None:
    loud_and_quiet = [row * level for row, level in zip(speech_like(4), (1, 1e-3) * 2, strict=True)]
    apart, together = (
        row_dependence(Session(paths["monitor"]), loud_and_quiet, "embedding")
        for paths in (fp32, int8)
    )
    assert apart <= 1e-5
    assert together > 10 * apart


def test_the_shipped_pair_is_small_enough_to_ship() -> None:
    paths = [SHIPPED / "monitor.onnx", SHIPPED / "classifier.onnx"]
    if not all(path.is_file() for path in paths):
        pytest.skip("the default model has not been exported here")
    assert sum(path.stat().st_size for path in paths) <= SHIPPED_BYTES
