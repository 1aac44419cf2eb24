"""Torch modules to ONNX files: one file each, dynamic batch and length, the contract inside."""

import logging
import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import onnx
import onnx_ir
import torch
from torch import Tensor
from torch.export import Dim

from emotion.contract import SAMPLE_RATE, Contract, Graph, Precision, to_metadata
from emotion.errors import ConfigurationError
from emotion.labels import EMOTIONS
from export.graphs import INPUTS, Networks
from train import files
from train.corpora import is_ravdess_name
from train.encoder import CONTEXT_SAMPLES
from train.live import statistics
from train.recipe import Recipe

OPSET: Final = 20
"""Gelu as one operator came with 20; ONNX Runtime and its web build have kernels for all of it."""
ATTENTION_OPSET: Final = 23
"""Attention as one operator came with 23; ONNX Runtime has it for CPUs from 1.23 on, and so has
its web build, of which 1.30 was tried."""

MIN_SAMPLES: Final = SAMPLE_RATE // 4
MAX_SAMPLES: Final = CONTEXT_SAMPLES
MAX_BATCH: Final = 1024

GRAPHS: Final[tuple[Graph, ...]] = ("encoder", "classifier", "monitor")

RAVDESS_LICENCE: Final = (
    "Encoder: OpenAI Whisper, MIT. Classifier: trained on RAVDESS (Livingstone and Russo 2018), "
    "CC BY-NC-SA 4.0, so for non-commercial use; retrain it on other recordings for any other."
)
OWN_LICENCE: Final = (
    "Encoder: OpenAI Whisper, MIT. Classifier: on the terms of the recordings it was trained on."
)
RAVDESS_DATA: Final = (
    "RAVDESS: {clips} clips of acted North American English, {channels}, {actors} professional "
    "actors (doi 10.1371/journal.pone.0196391)"
)
OWN_DATA: Final = "{clips} clips of a corpus that is not RAVDESS"


def contract_of(
    graph: Graph,
    networks: Networks,
    metrics: dict[str, Any],
    *,
    data: str = "",
    licence: str = RAVDESS_LICENCE,
    precision: Precision = "fp32",
    target: str = "",
    opset: int = OPSET,
    version: str = "1",
) -> Contract:
    """What a graph says about itself.

    Args:
        graph: which of the three.
        networks: where the recipe and the corpus's statistics come from.
        metrics: figures on clips that the model never trained on.
        data: what it trained on, for people.
        licence: terms of the weights.
        precision: number format of the weights.
        target: instruction set of an int8 file, empty otherwise.
        opset: ONNX operator set.
        version: the model's version, for people.
    """
    recipe: Recipe = networks.embedder.recipe
    return Contract(
        graph=graph,
        name=f"emotion-monitor {recipe.name}",
        version=version,
        labels=EMOTIONS,
        sample_rate=SAMPLE_RATE,
        min_samples=MIN_SAMPLES,
        max_samples=MAX_SAMPLES,
        **statistics(networks.embedder, networks.head),
        precision=precision,
        target=target,
        opset=opset,
        recipe=msgspec.to_builtins(recipe),
        metrics=metrics,
        licence=licence,
        data=data,
    )


def training_data(names: Collection[str]) -> str:
    """What a run trained on, in words.

    Args:
        names: its clips; RAVDESS's are named `modality-channel-...-actor`.
    """
    if not names:
        return "not recorded"
    if not all(map(is_ravdess_name, names)):
        return OWN_DATA.format(clips=len(names))
    heard = {name.split("-")[1] for name in names}
    channels = [word for code, word in (("01", "speech"), ("02", "song")) if code in heard]
    actors = len({name.rsplit("-", 1)[-1] for name in names})
    return RAVDESS_DATA.format(clips=len(names), channels=" and ".join(channels), actors=actors)


def licence_of(names: Collection[str]) -> str:
    """Terms of a run's weights: RAVDESS's, too, where it is not recorded what it trained on.

    Args:
        names: its clips.
    """
    return RAVDESS_LICENCE if all(map(is_ravdess_name, names)) else OWN_LICENCE


def convert(networks: Networks, graph: Graph, opset: int = OPSET) -> onnx.ModelProto:
    """One graph as an ONNX model, without a contract yet.

    Node names are the torch modules' (`embedder.layers.3.fc2/MatMul`), so that quantization can be
    told what to leave alone and an ONNX viewer shows where one is.

    Raises:
        ConfigurationError: the exporter could not follow the graph.
    """
    # The exporter takes one tensor given twice for one input.
    shape = (2, networks.embedder.dim if graph == "classifier" else 3 * SAMPLE_RATE)
    example: tuple[Tensor, ...] = tuple(torch.zeros(shape) for _ in INPUTS[graph])
    batch, samples = Dim("batch", max=MAX_BATCH), Dim("samples", min=MIN_SAMPLES, max=MAX_SAMPLES)
    dynamic = {0: batch} if graph == "classifier" else {0: batch, 1: samples}
    with quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            networks.graph(graph),
            example,
            dynamo=True,
            opset_version=opset,
            input_names=INPUTS[graph],
            output_names=networks.outputs(graph),
            dynamic_shapes={name: dynamic for name in INPUTS[graph]},
            verbose=False,
        )
    if program is None:
        raise ConfigurationError(f"{graph}: torch's exporter returned nothing")
    return _tidy(program.model)


def write(model: onnx.ModelProto, contract: Contract, path: Path) -> None:
    """Puts the contract into a model, checks it and saves it as one file.

    The same model and contract give the same bytes.

    Raises:
        onnx.checker.ValidationError: the model is not valid ONNX.
        onnx.shape_inference.InferenceError: its shapes contradict each other.
    """
    onnx.helper.set_model_props(model, to_metadata(contract))
    model.producer_name, model.producer_version = "emotion-export", ""
    model.graph.name = contract.graph
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    files.write(path, lambda temporary: temporary.write_bytes(content))


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Hides what torch's exporter says about itself; its failures are still raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch.export's own use of what it deprecates.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            # The classifier's three inputs share one batch axis, as they should.
            warnings.filterwarnings("ignore", message="# The axis name", category=UserWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _tidy(model: onnx_ir.Model) -> onnx.ModelProto:
    """Names nodes by their modules and drops the exporter's notes, which hold paths and source."""
    seen: Counter[str] = Counter()
    for node in model.graph:
        scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]")
        module = next((s for s in reversed(_names(scopes)[:-1]) if s), "")
        name = f"{module}/{node.op_type}"
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
        node.metadata_props.clear()
        node.doc_string = None
    model.graph.metadata_props.clear()
    model.metadata_props.clear()
    for value in [*model.graph.inputs, *model.graph.outputs]:
        value.metadata_props.clear()
    proto: onnx.ModelProto = onnx_ir.to_proto(model)
    # Shape inference makes these again; the quantizer stumbles over those of weights it replaces.
    del proto.graph.value_info[:]
    return proto


def _names(scopes: str) -> list[str]:
    """The exporter writes the scopes as a Python list of strings."""
    return [part.strip().strip("'\"") for part in scopes.strip("[]").split(",")]
