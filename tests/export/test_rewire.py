"""The rewired encoder: the same numbers from fewer and larger products."""

import msgspec
import pytest
import torch
from torch import nn

from export.clips import speech_like
from export.graphs import Networks
from export.rewire import LOUD, ORDINARY, STEP, loud_neurons, rewire
from tests.export.conftest import tiny_networks
from train.recipe import load_recipe


@pytest.mark.parametrize("samples", [8_000, 8_160, 16_159, 48_000])
def test_a_rewired_encoder_computes_the_same(samples: int, stream: Networks) -> None:
    waveforms = torch.stack([torch.from_numpy(sound[:samples]) for sound in speech_like(2)])
    other = rewire(stream.embedder, speech_like(2))
    torch.testing.assert_close(other(waveforms), stream.embedder(waveforms), atol=1e-4, rtol=1e-4)


def test_so_does_one_that_merges_frames(stream: Networks) -> None:
    recipe = msgspec.structs.replace(load_recipe("stream"), merge=(2, 1, 3, 1))
    networks = tiny_networks(recipe)
    waveform = torch.from_numpy(speech_like(1, 1.0)[0])[None]
    other = rewire(networks.embedder, speech_like(2))
    expected = networks.embedder(waveform)
    torch.testing.assert_close(other(waveform), expected, atol=1e-4, rtol=1e-4)


def test_the_original_is_left_alone(stream: Networks) -> None:
    before = {name: value.clone() for name, value in stream.embedder.state_dict().items()}
    rewire(stream.embedder, speech_like(1))
    after = stream.embedder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_q_k_and_v_are_one_linear_and_the_convolutions_are_linears(stream: Networks) -> None:
    other = rewire(stream.embedder, speech_like(1))
    assert not [module for module in other.modules() if isinstance(module, nn.Conv1d)]
    assert other.get_submodule("layers.0.self_attn.qkv").out_features == 3 * 32


def test_a_channel_between_the_convolutions_far_above_the_others_is_evened_out() -> None:
    networks = tiny_networks(load_recipe("stream"))
    networks.embedder.conv1.weight[5] *= 100
    networks.embedder.conv1.bias[5] = 40
    other = rewire(networks.embedder, speech_like(2))

    def spread(heard: torch.Tensor) -> float:
        loudness = heard.abs().amax(dim=0)
        return float(loudness.max() / loudness.median())

    spreads: list[float] = []
    other.conv2[0].register_forward_hook(
        lambda _, given, made: spreads.extend((spread(given[0][0]), spread(made[0])))
    )
    waveform = torch.from_numpy(speech_like(1, 1.0)[0])[None]
    expected = networks.embedder(waveform)
    torch.testing.assert_close(other(waveform), expected, atol=1e-3, rtol=1e-3)
    before, after = spreads
    assert before > 30 and after < before / 3


def test_a_neuron_far_above_the_others_goes_its_own_way_and_nothing_changes() -> None:
    networks = tiny_networks(load_recipe("stream"))
    layer = networks.embedder.layers[2]
    layer.fc1.weight[5] *= 40
    other = rewire(networks.embedder, speech_like(2))
    assert other.get_submodule("layers.2.fc2.loud1").out_features == STEP
    assert other.get_submodule("layers.2.fc2.fc1").out_features == 64 - STEP
    waveform = torch.from_numpy(speech_like(1, 1.0)[0])[None]
    expected = networks.embedder(waveform)
    torch.testing.assert_close(other(waveform), expected, atol=1e-4, rtol=1e-4)


def test_neurons_that_are_all_about_as_loud_stay_together() -> None:
    assert len(loud_neurons(torch.linspace(1, LOUD, 2048))) == 0


def test_no_more_neurons_are_loud_than_stand_out_and_fill_a_vector() -> None:
    loudness = torch.ones(2048)
    loudness[torch.arange(5) * 7] = 10 * LOUD
    loud = loud_neurons(loudness)
    assert len(loud) == STEP
    assert set(range(0, 35, 7)) <= set(loud.tolist())
    loudness[: 2048 // ORDINARY + 1] = 10 * LOUD
    assert len(loud_neurons(loudness)) == 0
