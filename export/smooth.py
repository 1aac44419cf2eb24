"""Evening out an encoder's channels before int8, without changing what it computes.

Dynamic quantization gives a whole activation one scale, and in Whisper a few channels are tens of
times louder than the rest, which then fall between two steps. Dividing a channel by s where it is
made (the layer norm, or the value projection) and multiplying the weights that read it by s changes
nothing in float32 and moves the spread into the weights, which have a scale per output channel.

Source: SmoothQuant (Xiao et al. 2023, arXiv 2211.10438).
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from train.encoder import Embedder

STRENGTH: Final = 0.65
"""0 leaves all of the spread in the activations, 1 moves all of it; measured with real clips."""

SMALLEST: Final = 1e-5
"""Below any activation or weight that matters; keeps a dead channel's scale finite."""


def smooth(embedder: Embedder, waveforms: Iterable[npt.NDArray[np.float32]]) -> Embedder:
    """A copy that computes the same in float32 and less wrong in int8.

    Args:
        embedder: float32.
        waveforms: float32 [samples] each, 16 kHz: what the channels' loudness is measured on.
    """
    embedder = copy.deepcopy(embedder)
    heard = loudest(embedder, waveforms)
    layers: Any = embedder.layers
    for layer in layers:
        attention = layer.self_attn
        readers = [attention.q_proj, attention.k_proj, attention.v_proj]
        _move(layer.self_attn_layer_norm, readers, heard[attention.q_proj])
        # Attention mixes times, never channels, so the output projection hears v's channels.
        _move(attention.v_proj, [attention.out_proj], heard[attention.out_proj])
        _move(layer.final_layer_norm, [layer.fc1], heard[layer.fc1])
    return embedder


def scales(loudest: Tensor, weights: Tensor) -> Tensor:
    """What to divide channels by.

    Args:
        loudest: float32 [C], the largest magnitude of each.
        weights: float32 [C], that of the weights which read it.

    Returns:
        float32 [C].
    """
    scale = loudest.clamp(min=SMALLEST).pow(STRENGTH)
    return scale / weights.clamp(min=SMALLEST).pow(1 - STRENGTH)


def _move(maker: nn.LayerNorm | nn.Linear, readers: list[nn.Linear], loudest: Tensor) -> None:
    """Divides what `maker` puts out, channel by channel, and multiplies the readers' weights."""
    weights = torch.stack([reader.weight.abs().amax(dim=0) for reader in readers]).amax(dim=0)
    scale = scales(loudest, weights)
    by_row = scale if isinstance(maker, nn.LayerNorm) else scale.unsqueeze(1)
    maker.weight.data = maker.weight.data / by_row
    maker.bias.data = maker.bias.data / scale
    for reader in readers:
        reader.weight.data = reader.weight.data * scale


def listen(
    embedder: Embedder,
    waveforms: Iterable[npt.NDArray[np.float32]],
    hear: Callable[[nn.Module, Tensor], None],
) -> None:
    """Runs an embedder and shows `hear` each linear, each convolution and what it hears.

    Args:
        embedder: float32.
        waveforms: float32 [samples] each, 16 kHz.
        hear: called for every module of every waveform, with float32 [1, T, inputs].
    """

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        heard = inputs[0].detach()
        hear(module, heard.transpose(1, 2) if isinstance(module, nn.Conv1d) else heard)

    heard = [m for m in embedder.modules() if isinstance(m, nn.Linear | nn.Conv1d)]
    hooks = [module.register_forward_pre_hook(hook) for module in heard]
    try:
        with torch.no_grad():
            for waveform in waveforms:
                embedder(torch.from_numpy(waveform).unsqueeze(0))
    finally:
        for handle in hooks:
            handle.remove()


def loudest(
    embedder: Embedder, waveforms: Iterable[npt.NDArray[np.float32]]
) -> dict[nn.Module, Tensor]:
    """For each linear and convolution, the largest magnitude of each of its input channels."""
    found: dict[nn.Module, Tensor] = {}

    def hear(module: nn.Module, heard: Tensor) -> None:
        now = heard.abs().flatten(0, -2).amax(dim=0)
        found[module] = torch.maximum(found[module], now) if module in found else now

    listen(embedder, waveforms, hear)
    return found
