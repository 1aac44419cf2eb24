"""Smoothing: nothing changes in float32, and the loud channels are less loud."""

import torch
from torch import Tensor

from export.clips import speech_like
from export.graphs import Networks
from export.smooth import smooth


def spread(networks: Networks) -> float:
    """How much louder the loudest channel that fc1 hears is than the median one."""
    heard: list[Tensor] = []
    linear = networks.embedder.layers[0].fc1
    hook = linear.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    networks.embedder(torch.from_numpy(speech_like(1)[0])[None])
    hook.remove()
    loudness = heard[0].abs().amax(dim=(0, 1))
    return float(loudness.max() / loudness.median())


def test_a_smoothed_encoder_computes_the_same(stream: Networks) -> None:
    waveform = torch.from_numpy(speech_like(1, 1.0)[0])[None]
    even = smooth(stream.embedder, speech_like(2))
    torch.testing.assert_close(even(waveform), stream.embedder(waveform), atol=1e-4, rtol=1e-4)


def test_a_loud_channel_is_evened_out_and_the_original_left_alone(stream: Networks) -> None:
    norm = stream.embedder.layers[0].final_layer_norm
    before = norm.weight.clone()
    norm.weight[5] *= 50
    try:
        louder = spread(stream)
        even = Networks(smooth(stream.embedder, speech_like(2)), stream.head)
        assert spread(even) < louder / 3
        assert spread(stream) == louder
    finally:
        norm.weight.copy_(before)
