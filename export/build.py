"""A trained model to its graphs, in one precision, written to a folder."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from emotion.contract import Graph, Precision
from export.clips import speech_like
from export.convert import GRAPHS, contract_of, convert, write
from export.graphs import Networks
from export.quantize import Target, quantize, store_half
from export.smooth import smooth

SMOOTHING_CLIPS = 8


@dataclass(frozen=True)
class Settings:
    """How to export.

    Attributes:
        precision: number format of the weights.
        target: instruction set for int8; ignored otherwise.
    """

    precision: Precision = "fp32"
    target: Target = "avx2"


def build(
    networks: Networks, settings: Settings, graphs: Iterable[Graph] = GRAPHS
) -> dict[Graph, onnx.ModelProto]:
    """The graphs as ONNX models, without contracts yet.

    The channels' loudness for int8 is measured on made-up sounds: which channels are loud hardly
    depends on what is said, and so a run gives the same file with or without recordings.

    Raises:
        ConfigurationError: the exporter could not follow a graph.
    """
    if settings.precision == "fp16":
        halved = networks.half()
        models = {graph: convert(halved, graph) for graph in graphs}
        for model in models.values():
            store_half(model)
        return models
    if settings.precision == "int8":
        even = smooth(networks.embedder, speech_like(SMOOTHING_CLIPS))
        evened = Networks(even, networks.head)
        return {graph: quantize(convert(evened, graph), settings.target) for graph in graphs}
    return {graph: convert(networks, graph) for graph in graphs}


def save(
    models: Mapping[Graph, onnx.ModelProto],
    networks: Networks,
    settings: Settings,
    metrics: dict[str, Any],
    folder: Path,
) -> dict[Graph, Path]:
    """Writes the models with their contracts as `folder/GRAPH.onnx`, checked.

    Args:
        models: from `build`.
        networks: what they were built from.
        settings: with which settings.
        metrics: figures on clips that the model never trained on.
        folder: made where it is missing.

    Returns:
        Each graph's file.
    """
    paths: dict[Graph, Path] = {}
    target = settings.target if settings.precision == "int8" else ""
    for graph, model in models.items():
        contract = contract_of(
            graph, networks, metrics, precision=settings.precision, target=target
        )
        paths[graph] = folder / f"{graph}.onnx"
        write(model, contract, paths[graph])
    return paths
