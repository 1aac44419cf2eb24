"""The same encoder with fewer and larger matrix products, which is what integer arithmetic is good at.

Nothing changes in float32 beyond rounding:

    the convolutions   become linears over three frames side by side: integers multiply those too
    between them       loud channels are divided and the weights that read them multiplied (smooth.py)
    q, k and v         become one linear: what they hear is quantized once
    attention          becomes one operator, which copies less than the six that it is made of
    loud neurons       of an MLP become an MLP of their own beside the others, which stays in float32
    the DFT            takes half its products (spectrum.py)

A handful of a layer's 2,048 neurons may be ten times louder than all the rest. With one scale for all,
the others fall between two steps (LLM.int8(), Dettmers et al. 2022, arXiv 2208.07339, does this with
channels); an MLP is a sum over its neurons, so these can go their own way at no cost worth naming.
"""

import copy
import re
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.onnx import ops

from export.clips import Waveform
from export.smooth import loudest, scales
from export.spectrum import HalvedMelPower
from train.encoder import Embedder

EXACT: Final = re.compile(r"\.loud[12]\b")
"""Linears, by their names, that are left out of int8."""

WIDTH: Final = 3
"""Frames that Whisper's convolutions hear at once."""

LOUD: Final = 2.0
"""A neuron is loud that reaches so many times what one in `ORDINARY` neurons reaches."""
ORDINARY: Final = 64
STEP: Final = 16
"""Loud neurons are counted up to a multiple of this, which is what vector units hold."""


def rewire(embedder: Embedder, waveforms: Iterable[Waveform]) -> Embedder:
    """A copy that computes the same.

    Args:
        embedder: float32, as trained or smoothed.
        waveforms: float32 [samples] each, 16 kHz: what the neurons' loudness is measured on.
    """
    embedder = copy.deepcopy(embedder)
    heard = loudest(embedder, waveforms)
    layers: Any = embedder.layers
    for layer in layers:
        _split_mlp(layer, loud_neurons(heard[layer.fc2]))
        layer.self_attn = _Attention(layer.self_attn)
    embedder.log_mel.mel_power = HalvedMelPower(embedder.config.num_mel_bins)
    # GELU stands between the convolutions, so their channels cannot be divided where they are made.
    evened = _Evened(embedder.conv2, heard[embedder.conv2])
    embedder.conv1 = nn.Sequential(_Transposed(), _Unfolded(embedder.conv1))
    embedder.conv2 = nn.Sequential(evened, _Unfolded(embedder.conv2), _Transposed())
    return embedder


def loud_neurons(loudness: Tensor) -> Tensor:
    """Which neurons are to have an MLP of their own.

    Args:
        loudness: float32 [n], the largest magnitude of each.

    Returns:
        int64 [k], the loudest ones; k is a multiple of `STEP`, 0 where none stands out.
    """
    order = loudness.argsort(descending=True)
    ordinary = loudness[order[len(order) // ORDINARY]]
    count = int((loudness > LOUD * ordinary).sum())
    return order[: -(-count // STEP) * STEP]


class _Evened(nn.Module):
    """Divides channels [B, T, C] and multiplies the weights of the convolution that reads them.

    Args:
        conv: the convolution, which is changed.
        loudness: float32 [C], the largest magnitude of each channel.
    """

    inverse: Tensor

    def __init__(self, conv: nn.Conv1d, loudness: Tensor) -> None:
        super().__init__()
        scale = scales(loudness, conv.weight.abs().amax(dim=(0, 2)))
        conv.weight.data = conv.weight * scale.unsqueeze(1)
        self.register_buffer("inverse", 1 / scale, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        return frames * self.inverse


class _Unfolded(nn.Module):
    """A convolution over three frames, as a linear: [B, T, C] -> [B, ceil(T / stride), outputs]."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        self._stride = int(conv.stride[0])
        self.linear = _linear(conv.weight.permute(0, 2, 1).flatten(1), conv.bias)

    def forward(self, frames: Tensor) -> Tensor:
        padded, end = F.pad(frames, (0, 0, 1, 1)), frames.shape[1]
        parts = [padded[:, first : first + end : self._stride] for first in range(WIDTH)]
        output: Tensor = self.linear(torch.cat(parts, dim=2))
        return output


class _Transposed(nn.Module):
    """[B, C, T] -> [B, T, C] and back."""

    def forward(self, value: Tensor) -> Tensor:
        return value.transpose(1, 2)


class _Attention(nn.Module):
    """Whisper's self-attention, whose four projections are two; called as Whisper's layer calls it."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
        self._heads: int = attention.num_heads
        # Whisper's k has no bias; softmax does not hear one.
        bias = torch.cat([q.bias * attention.scaling, torch.zeros_like(q.bias), v.bias])
        self.qkv = _linear(torch.cat([q.weight * attention.scaling, k.weight, v.weight]), bias)
        self.out_proj = attention.out_proj

    def forward(self, hidden_states: Tensor, **_: object) -> tuple[Tensor, None]:
        q, k, v = self.qkv(hidden_states).chunk(3, dim=2)
        heads = self._heads
        # q is scaled already.
        mixed = ops.attention(q, k, v, q_num_heads=heads, kv_num_heads=heads, scale=1.0)[0]
        output: Tensor = self.out_proj(mixed)
        return output, None


class _SplitMlp(nn.Module):
    """[B, T, d] -> [B, T, d]: two MLPs of one layer, added."""

    def __init__(self, layer: Any, loud: Tensor) -> None:
        super().__init__()
        chosen = torch.zeros(layer.fc1.out_features, dtype=torch.bool)
        chosen[loud] = True
        self.fc1, self.fc2 = _neurons(layer, ~chosen, layer.fc2.bias)
        self.loud1, self.loud2 = _neurons(layer, chosen, None)
        self.activation = layer.activation_fn

    def forward(self, hidden: Tensor) -> Tensor:
        quiet: Tensor = self.fc2(self.activation(self.fc1(hidden)))
        loud: Tensor = self.loud2(self.activation(self.loud1(hidden)))
        return quiet + loud


def _split_mlp(layer: Any, loud: Tensor) -> None:
    if len(loud):
        layer.fc2 = _SplitMlp(layer, loud)
        layer.fc1 = layer.activation_fn = nn.Identity()


def _neurons(layer: Any, chosen: Tensor, bias: Tensor | None) -> tuple[nn.Linear, nn.Linear]:
    first = _linear(layer.fc1.weight[chosen], layer.fc1.bias[chosen])
    return first, _linear(layer.fc2.weight[:, chosen], bias)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight = nn.Parameter(weight.detach().clone(), False)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone(), False)
    return linear
