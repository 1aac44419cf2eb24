"""A trained model to its graphs, in one precision, written to a folder."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from onnx.utils import Extractor

from emotion.contract import Graph, Precision
from export.clips import Waveform, roughened, speech_like
from export.convert import (
    ATTENTION_OPSET,
    GRAPHS,
    OPSET,
    RAVDESS_LICENCE,
    contract_of,
    convert,
    write,
)
from export.graphs import INPUTS, OUTPUTS, Networks
from export.quantize import Target, quantize, steps, store_half
from export.rewire import rewire
from export.rounding import rounded
from export.smooth import smooth

MADE_UP: Final = 32
"""Sounds that int8 is fitted to where there are no clips."""


@dataclass(frozen=True)
class Settings:
    """How to export.

    Attributes:
        precision: number format of the weights.
        target: instruction set for int8; ignored otherwise.
    """

    precision: Precision = "fp32"
    target: Target = "avx2"

    @property
    def opset(self) -> int:
        """ONNX operator set: for int8, which is for CPUs alone, that of a rewired encoder's attention.

        The classifier has no attention, and its encoder's set: who can load one can load the other.
        """
        return ATTENTION_OPSET if self.precision == "int8" else OPSET


def build(
    networks: Networks,
    settings: Settings,
    graphs: Collection[Graph] = GRAPHS,
    *,
    clips: Sequence[Waveform] = (),
) -> dict[Graph, onnx.ModelProto]:
    """The graphs as ONNX models, without contracts yet.

    The encoder is cut out of the monitor where both are asked for, so the two cannot differ.

    Args:
        networks: the trained model.
        settings: how to export.
        graphs: which.
        clips: what int8 is fitted to; see `prepared`.

    Raises:
        ConfigurationError: the exporter could not follow a graph.
    """
    if set(graphs) != {"classifier"}:
        networks = prepared(networks, settings, clips)
    cut = "monitor" in graphs and "encoder" in graphs
    models = {
        graph: lowered(convert(networks, graph, settings.opset), settings)
        for graph in graphs
        if not (cut and graph == "encoder")
    }
    if cut:
        inputs, outputs = list(INPUTS["encoder"]), list(OUTPUTS["encoder"])
        models["encoder"] = Extractor(models["monitor"]).extract_model(inputs, outputs)
    return models


def prepared(networks: Networks, settings: Settings, clips: Sequence[Waveform] = ()) -> Networks:
    """What is done to the torch modules before they are converted.

    Args:
        networks: the trained model; left as it is.
        settings: how to export.
        clips: float32 [samples] each, what int8 is fitted to: clips that the model was trained on,
            and none that it will be judged by. Made-up sounds where there are none, which leaves
            more than twice the error.
    """
    if settings.precision == "fp16":
        return networks.half()
    if settings.precision == "int8":
        heard = roughened(clips or speech_like(MADE_UP))
        even = rewire(smooth(networks.embedder, heard), heard)
        return Networks(rounded(even, heard, steps(settings.target)), networks.head)
    return networks


def lowered(model: onnx.ModelProto, settings: Settings) -> onnx.ModelProto:
    """What is done to a converted graph; the model given is left as it is."""
    if settings.precision == "int8":
        return quantize(model, settings.target)
    if settings.precision == "fp16":
        return store_half(model)
    return model


def save(
    models: Mapping[Graph, onnx.ModelProto],
    networks: Networks,
    settings: Settings,
    metrics: dict[str, Any],
    folder: Path,
    *,
    data: str = "",
    licence: str = RAVDESS_LICENCE,
) -> dict[Graph, Path]:
    """Writes the models with their contracts as `folder/GRAPH.onnx`, checked.

    Args:
        models: from `build`.
        networks: what they were built from.
        settings: with which settings.
        metrics: figures on clips that the model never trained on.
        folder: made where it is missing.
        data: what they were trained on, for people.
        licence: terms of the weights.

    Returns:
        Each graph's file.
    """
    paths: dict[Graph, Path] = {}
    target = settings.target if settings.precision == "int8" else ""
    for graph, model in models.items():
        contract = contract_of(
            graph,
            networks,
            metrics,
            data=data,
            licence=licence,
            precision=settings.precision,
            target=target,
            opset=settings.opset,
        )
        paths[graph] = folder / f"{graph}.onnx"
        write(model, contract, paths[graph])
    return paths
