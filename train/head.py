"""The head: an embedding in, eight logits out."""

import torch
from torch import Tensor, nn

from emotion.labels import EMOTIONS
from train.recipe import Recipe


class Head(nn.Module):
    """The MLP of the recipe: LayerNorm, then hidden layers, then eight logits.

    The published one is LayerNorm(512) -> 1024 (batch norm, ReLU, dropout 0.4) -> 512 (batch norm,
    ReLU, dropout 0.3) -> 256 (ReLU) -> 8.

    Args:
        dim: D, the length of an embedding.
        recipe: `hidden`, `batch_norm`, `dropout` and `traits` are read.
    """

    mean: Tensor
    std: Tensor
    temperature: Tensor
    projection: Tensor
    emotion_traits: Tensor
    voice_variance: Tensor

    def __init__(self, dim: int, recipe: Recipe) -> None:
        super().__init__()
        # Statistics of the training set's embeddings; they stay at 0 and 1 unless the recipe
        # standardises, and are set before the first step.
        self.register_buffer("mean", Tensor([0.0]).repeat(dim))
        self.register_buffer("std", Tensor([1.0]).repeat(dim))
        # Divides the logits; 1 unless it was fitted so that the probabilities mean what they say.
        self.register_buffer("temperature", Tensor([1.0]))
        # What `emotion/prototypes.py` needs; learnt once the rest is fitted (`train/traits.py`).
        # Runs of before there were traits have no such entries, nor have those without any.
        shapes = {
            "projection": (dim, recipe.traits),
            "emotion_traits": (len(EMOTIONS), recipe.traits),
            "voice_variance": (recipe.traits,),
        }
        for name, shape in shapes.items():
            zeros = Tensor([0.0]).repeat(*shape)
            self.register_buffer(name, zeros, persistent=recipe.traits > 0)
        layers: list[nn.Module] = [nn.LayerNorm(dim)]
        width = dim
        hidden = zip(recipe.hidden, recipe.batch_norm, recipe.dropout, strict=True)
        for size, norm, dropout in hidden:
            layers.append(nn.Linear(width, size))
            if norm:
                layers.append(nn.BatchNorm1d(size))
            layers.append(nn.ReLU())
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = size
        layers.append(nn.Linear(width, len(EMOTIONS)))
        self.mlp = nn.Sequential(*layers)

    def forward(
        self, embedding: Tensor, mean: Tensor | None = None, inv_std: Tensor | None = None
    ) -> Tensor:
        """Logits.

        Args:
            embedding: float32 [B, D].
            mean: float32 [B, D], a channel's own statistics; the training set's where None.
            inv_std: float32 [B, D], one over the standard deviation, likewise.

        Returns:
            float32 [B, 8], in EMOTIONS order, already divided by the temperature.
        """
        mean = self.mean if mean is None else mean
        inv_std = self.std.reciprocal() if inv_std is None else inv_std
        logits: Tensor = self.mlp((embedding - mean) * inv_std)
        return logits / self.temperature

    def traits(self, embedding: Tensor, mean: Tensor, inv_std: Tensor) -> Tensor:
        """What tells a voice's emotions apart: float32 [B, K], K as the recipe says.

        Args:
            embedding: float32 [B, D].
            mean: float32 [B, D], the channel's own.
            inv_std: float32 [B, D], likewise.
        """
        return torch.matmul((embedding - mean) * inv_std, self.projection)
