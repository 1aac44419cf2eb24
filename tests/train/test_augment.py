"""Training pieces: what is changed is changed by as much as the recipe says, and nothing else."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from train.augment import (
    EQ_BANDS,
    Pieces,
    active_level,
    coded,
    decibels,
    filtered,
    level_of,
    masked,
    mu_law,
)
from train.corpora import load_ravdess
from train.recipe import Augment
from train.waves import Waves, read_waves

NOTHING = Augment(
    piece_s=(0.1, 0.2), speed=0, noise=0, telephone=0, equalizer=0, gain_db=0, warp=0,
    time_mask=0, mel_mask=0,
)  # fmt: skip
SAMPLES = 3_200


@pytest.fixture(scope="module")
def waves(corpus: Path) -> Waves:
    return read_waves(load_ravdess(corpus)[:40])[1]


def _rows(count: int = 32) -> torch.Tensor:
    return torch.arange(count)


def _tone(hertz: float, samples: int = 16_000) -> torch.Tensor:
    return torch.sin(2 * torch.pi * hertz * torch.arange(samples) / 16_000)


def test_the_same_seed_cuts_the_same_pieces(waves: Waves) -> None:
    first, second = (Pieces(waves, Augment(), 1).varied(_rows(), SAMPLES) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, Pieces(waves, Augment(), 2).varied(_rows(), SAMPLES))


def test_chance_goes_on_where_it_stood(waves: Waves) -> None:
    pieces = Pieces(waves, Augment(), 1)
    pieces.varied(_rows(), pieces.length())
    state = pieces.state()
    expected = pieces.length(), pieces.varied(_rows(), SAMPLES)
    other = Pieces(waves, Augment(), 9)
    other.go_on(state)
    found = other.length(), other.varied(_rows(), SAMPLES)
    assert found[0] == expected[0] and torch.equal(found[1], expected[1])


def test_with_everything_off_a_piece_is_a_stretch_of_its_recording(waves: Waves) -> None:
    piece = Pieces(waves, NOTHING, 1).varied(_rows(4), SAMPLES)[3]
    whole = waves.recording(3)
    places = whole.unfold(0, SAMPLES, 1)
    assert (places - piece).abs().amax(1).min() < 1e-4


@pytest.mark.parametrize(
    "change",
    [{"speed": 0.1}, {"noise": 1.0}, {"telephone": 1.0}, {"equalizer": 1.0}, {"gain_db": 6.0}],
)
def test_each_setting_alone_changes_the_pieces(waves: Waves, change: dict[str, float]) -> None:
    settings = msgspec.structs.replace(NOTHING, **change)
    varied = Pieces(waves, settings, 1).varied(_rows(), SAMPLES)
    assert torch.isfinite(varied).all() and varied.abs().max() <= 1
    plain = Pieces(waves, NOTHING, 1).varied(_rows(), SAMPLES)
    assert not torch.isclose(varied, plain, atol=1e-3).all()


def test_lengths_are_whole_frames_within_the_range(waves: Waves) -> None:
    pieces = Pieces(waves, NOTHING, 1)
    lengths = {pieces.length() for _ in range(100)}
    assert all(length % 320 == 0 for length in lengths)
    assert 1_600 <= min(lengths) < 2_000 and 2_900 < max(lengths) <= 3_200


def test_a_share_of_the_pieces_gets_noise_at_the_ratio_asked_for(waves: Waves) -> None:
    settings = msgspec.structs.replace(NOTHING, noise=0.5, snr_db=(10.0, 10.0))
    pieces = Pieces(waves, settings, 1)
    spoken = pieces.spoken(_rows(), SAMPLES)
    noise = pieces.heard(spoken) - Pieces(waves, NOTHING, 1).heard(spoken)
    noisy = noise.abs().amax(dim=1) > 1e-3
    assert noisy.sum() == 16
    ratio = 20 * torch.log10(active_level(spoken) / level_of(noise)).squeeze(1)[noisy]
    np.testing.assert_allclose(ratio.numpy(), 10.0, atol=0.2)


def test_the_active_level_does_not_count_silence() -> None:
    speech = torch.zeros(1, 32_000)
    speech[0, 8_000:24_000] = _tone(440)
    assert active_level(speech).item() == pytest.approx(0.5**0.5, rel=0.01)


def test_a_telephone_lets_its_band_pass() -> None:
    flat, low, high = torch.zeros(1, EQ_BANDS), torch.tensor([300.0]), torch.tensor([3400.0])

    def gain_db(hertz: float) -> float:
        tone = _tone(hertz).unsqueeze(0)
        through = filtered(tone, flat, low, high)
        return float(20 * torch.log10(level_of(through) / level_of(tone)))

    assert abs(gain_db(1_000)) < 0.5
    assert gain_db(100) < -15
    assert gain_db(5_000) < -30


def test_an_equalizer_raises_what_it_is_asked_to() -> None:
    bands = torch.full((1, EQ_BANDS), 6.0)
    tone = _tone(700).unsqueeze(0)
    raised = filtered(tone, bands, torch.tensor([0.0]), torch.tensor([16_000.0]))
    assert float(level_of(raised) / level_of(tone)) == pytest.approx(
        float(decibels(torch.tensor(6.0))), rel=0.02
    )


def test_mu_law_keeps_speech_within_its_steps() -> None:
    sound = torch.linspace(-1, 1, 2_001).unsqueeze(0)
    through = mu_law(sound)
    assert len(through.unique()) <= 256
    assert (through - sound).abs().max() < 0.025
    assert (through - sound).abs()[sound.abs() < 0.01].max() < 5e-4


def test_a_babble_has_two_to_six_voices() -> None:
    tones = torch.stack([_tone(200 + 100 * voice) for voice in range(60)])
    waves = Waves(
        (tones * 30_000).to(torch.int16).flatten(),
        torch.arange(60) * tones.shape[1],
        torch.full((60,), tones.shape[1]),
        torch.tensor([[0, tones.shape[1]]] * 60),
    )
    babble = Pieces(waves, NOTHING, 1)._babble(64, 8_000)
    spectrum = torch.fft.rfft(babble * torch.hann_window(8_000)).abs()[:, 100::50][:, :60]
    voices = (spectrum > 0.3 * spectrum.amax(dim=1, keepdim=True)).sum(dim=1)
    assert voices.min() >= 1 and (voices >= 2).float().mean() > 0.9  # one may be drawn twice
    assert voices.max() == 6


def test_a_lines_noise_stays_in_its_band() -> None:
    tone = 0.1 * _tone(1_000).unsqueeze(0)
    through = coded(tone)
    power = torch.fft.rfft(through).abs().square().squeeze(0)
    noise = level_of(through - tone) / level_of(tone)
    assert 0.001 < float(noise) < 0.05  # about 38 dB, ITU-T G.711
    assert power[len(power) // 2 + 1 :].sum() < 1e-9 * power.sum()


def test_masks_make_holes_and_the_warp_moves_what_is_between() -> None:
    generator = torch.Generator().manual_seed(1)
    ramp = torch.arange(80.0).view(1, 80, 1).expand(16, 80, 60).contiguous()
    assert torch.equal(masked(ramp, NOTHING, generator), ramp)
    holes = masked(ramp, msgspec.structs.replace(NOTHING, mel_mask=10), generator)
    hidden = (holes != ramp).any(dim=2)
    assert hidden.any() and hidden.sum(dim=1).max() <= 20
    assert (holes[(holes != ramp)] == 0).all()
    warped = masked(ramp, msgspec.structs.replace(NOTHING, warp=0.1), generator)
    share = warped[:, 40, 0] / 40
    assert share.min() >= 0.9 and share.max() <= 1.1 and share.std() > 0.01
