"""The three graphs as torch modules, each with exactly the inputs and outputs it is served with.

    encoder     waveform [B, N]                    -> embedding [B, D]
    classifier  embedding, mean, inv_std [B, D]    -> probabilities [B, 8], traits [B, K]
    monitor     waveform [B, N]                    -> probabilities [B, 8], embedding [B, D]

Traits are there where the recipe has some. Inputs and outputs are float32 in every precision: a
half-precision graph casts inside.
"""

import copy
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from emotion.contract import Graph
from train.encoder import Embedder
from train.head import Head

INPUTS: Final[dict[Graph, tuple[str, ...]]] = {
    "encoder": ("waveform",),
    "classifier": ("embedding", "mean", "inv_std"),
    "monitor": ("waveform",),
}

OUTPUTS: Final[dict[Graph, tuple[str, ...]]] = {
    "encoder": ("embedding",),
    "classifier": ("probabilities",),
    "monitor": ("probabilities", "embedding"),
}


class Encoder(nn.Module):
    """waveform float32 [B, N] -> embedding float32 [B, D]."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, waveform: Tensor) -> Tensor:
        embedding: Tensor = self.embedder(waveform)
        return embedding


class Classifier(nn.Module):
    """embedding, mean, inv_std float32 [B, D] -> probabilities float32 [B, 8], traits float32 [B, K]."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, embedding: Tensor, mean: Tensor, inv_std: Tensor) -> tuple[Tensor, ...]:
        logits: Tensor = self.head(embedding, mean, inv_std)
        probabilities = logits.softmax(dim=1)
        if not self.head.projection.shape[1]:
            return (probabilities,)
        return probabilities, self.head.traits(embedding, mean, inv_std)


class Monitor(nn.Module):
    """waveform float32 [B, N] -> probabilities float32 [B, 8], embedding float32 [B, D]."""

    def __init__(self, embedder: Embedder, head: Head) -> None:
        super().__init__()
        self.embedder, self.head = embedder, head

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        embedding: Tensor = self.embedder(waveform)
        return self.head(embedding).softmax(dim=1), embedding


@dataclass(frozen=True)
class Networks:
    """A trained model's two halves, in evaluation mode, float32."""

    embedder: Embedder
    head: Head

    def outputs(self, name: Graph) -> tuple[str, ...]:
        """Names of what one of the graphs gives."""
        traits = name == "classifier" and self.head.projection.shape[1] > 0
        return (*OUTPUTS[name], "traits") if traits else OUTPUTS[name]

    def graph(self, name: Graph) -> nn.Module:
        """One of the three graphs; it shares the weights."""
        graphs: dict[Graph, nn.Module] = {
            "encoder": Encoder(self.embedder),
            "classifier": Classifier(self.head),
            "monitor": Monitor(self.embedder, self.head),
        }
        return graphs[name].eval()

    def half(self) -> "Networks":
        """A copy whose encoder layers compute in float16.

        What needs the range or the precision stays float32: the front end (a power spectrum spans
        more than float16 holds), pooling (sums over time), the head and its statistics.
        """
        embedder = copy.deepcopy(self.embedder)
        embedder.conv1 = nn.Sequential(_Cast(torch.float16), embedder.conv1.half())
        embedder.conv2.half()
        embedder.layers.half()
        embedder.positions.data = embedder.positions.data.half()
        embedder.norm = nn.Sequential(_Cast(torch.float32), embedder.norm)
        return Networks(embedder, self.head)


class _Cast(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, value: Tensor) -> Tensor:
        return value.to(self.dtype)
