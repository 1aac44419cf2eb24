"""Rounding: on the grid, the largest weight untouched, and less wrong than to the nearest step."""

import pytest
import torch
from torch import Tensor

from export.clips import speech_like
from export.graphs import Networks
from export.rounding import round_linear, rounded

STEPS = 64


def correlated(frames: int, inputs: int) -> Tensor:
    """Inputs that move together, as an encoder's do: float64 [frames, inputs]."""
    generator = torch.Generator().manual_seed(1)
    few = torch.randn(frames, inputs // 4, generator=generator, dtype=torch.float64)
    mixed = few @ torch.randn(inputs // 4, inputs, generator=generator, dtype=torch.float64)
    return mixed + 0.1 * torch.randn(frames, inputs, generator=generator, dtype=torch.float64)


def nearest(weight: Tensor) -> Tensor:
    scale = weight.abs().amax(dim=1, keepdim=True) / STEPS
    return (weight / scale).round() * scale


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(24, 80, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_every_weight_is_a_whole_number_of_steps(weight: Tensor) -> None:
    heard = correlated(500, 80)
    result = round_linear(weight, heard.T @ heard, STEPS)
    steps = result / (weight.abs().amax(dim=1, keepdim=True) / STEPS)
    torch.testing.assert_close(steps, steps.round(), atol=1e-9, rtol=0)
    assert steps.abs().max() <= STEPS + 1e-9


def test_the_weight_that_sets_the_scale_stays(weight: Tensor) -> None:
    heard = correlated(500, 80)
    result = round_linear(weight, heard.T @ heard, STEPS)
    torch.testing.assert_close(result.abs().amax(dim=1), weight.abs().amax(dim=1))


def test_outputs_on_other_frames_are_less_than_half_as_wrong_as_with_nearest_steps(
    weight: Tensor,
) -> None:
    frames = correlated(1_000, 80)
    heard, others = frames[:500], frames[500:]
    result = round_linear(weight, heard.T @ heard, STEPS)
    wrong, usual = (((others @ (w - weight).T) ** 2).mean() for w in (result, nearest(weight)))
    assert wrong < usual / 4


def test_inputs_that_were_never_heard_are_rounded_too(weight: Tensor) -> None:
    result = round_linear(weight, torch.zeros(80, 80, dtype=torch.float64), STEPS)
    assert torch.isfinite(result).all()
    assert (result - weight).abs().max() < weight.abs().max() / STEPS


def test_a_linear_of_zeros_stays_zero() -> None:
    heard = correlated(100, 8)
    result = round_linear(torch.zeros(4, 8), heard.T @ heard, STEPS)
    assert torch.equal(result, torch.zeros(4, 8, dtype=torch.float64))


def test_the_encoder_that_was_given_is_left_alone(stream: Networks) -> None:
    before = stream.embedder.layers[0].fc1.weight.clone()
    other = rounded(stream.embedder, speech_like(1), STEPS)
    assert torch.equal(stream.embedder.layers[0].fc1.weight, before)
    assert not torch.equal(other.layers[0].fc1.weight, before)
