"""Telephone and noise: what they take away, what they leave, and that they do not shift it."""

import numpy as np
import pytest

from train.conditions import Bystanders, active, active_power, mixed, telephone, voiced

RATE = 16_000


def tone(hertz: float, seconds: float = 1.0, amplitude: float = 0.3) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def decibels(waveform: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)) + 1e-20))


def speech(seed: int, seconds: float = 2.0) -> np.ndarray:
    """Syllables of coloured noise, four a second, with half a second of silence around them."""
    random = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    carrier = np.convolve(random.standard_normal(samples), np.ones(8) / 8, "same")
    loudness = np.clip(np.sin(2 * np.pi * 4 * np.arange(samples) / RATE), 0, None)
    quiet = np.zeros(RATE // 2)
    return np.concatenate([quiet, 0.2 * carrier * loudness, quiet]).astype(np.float32)


@pytest.mark.parametrize("hertz", [500, 1_000, 2_500])
def test_a_telephone_passes_what_lies_in_its_band(hertz: float) -> None:
    sound = tone(hertz)
    assert decibels(telephone(sound)) == pytest.approx(decibels(sound), abs=0.5)


@pytest.mark.parametrize("hertz", [60, 120, 3_900, 5_000, 7_500])
def test_a_telephone_stops_what_lies_outside(hertz: float) -> None:
    sound = tone(hertz)
    assert decibels(telephone(sound)[2_000:-2_000]) < decibels(sound) - 20


def test_a_telephone_leaves_mulaws_noise() -> None:
    sound = tone(1_013)
    noise = telephone(sound)[2_000:-2_000] - sound[2_000:-2_000]
    assert 30 < decibels(sound) - decibels(noise) < 42  # G.711 promises 33 to 38 dB


@pytest.mark.parametrize("samples", [320, 321, 16_001, 48_017])
def test_a_telephone_keeps_length_and_time(samples: int) -> None:
    sound = np.resize(speech(1), samples)
    heard = telephone(sound)
    assert heard.dtype == np.float32 and heard.shape == sound.shape
    if samples > 16_000:
        lag = np.argmax(np.correlate(heard, sound, "full")) - (samples - 1)
        assert lag == 0


def test_pauses_do_not_count_for_the_level_of_speech() -> None:
    sound = tone(300, 4.0)
    padded = np.concatenate([np.zeros(9 * RATE, np.float32), sound, np.zeros(RATE, np.float32)])
    level = 10 * np.log10(active_power(padded))
    assert level == pytest.approx(decibels(sound), abs=0.5)  # the hangover counts 0.2 s of silence
    assert len(active(padded)) == pytest.approx(4.2 * RATE, rel=0.05)


def test_the_active_level_does_not_depend_on_the_gain() -> None:
    loud, quiet = active_power(speech(2)), active_power(speech(2) * np.float32(0.05))
    assert 10 * np.log10(loud / quiet) == pytest.approx(26.0, abs=0.2)


def test_silence_has_no_level_and_gets_no_noise() -> None:
    silence = np.zeros(RATE, np.float32)
    assert active_power(silence) == 0.0
    assert np.array_equal(active(silence), silence)
    assert np.array_equal(mixed(silence, tone(100), 0.0), silence)


@pytest.mark.parametrize("kind", ["speech-shaped", "babble"])
@pytest.mark.parametrize("snr_db", [20, 10, 5])
def test_the_noise_lies_at_the_ratio_to_the_active_speech(kind: str, snr_db: float) -> None:
    clip = speech(3)
    noise = Bystanders([voiced(speech(seed)) for seed in range(4, 12)]).noise(
        kind, "clip", len(clip)
    )  # type: ignore[arg-type]
    added = mixed(clip, noise, snr_db) - clip
    ratio = 10 * np.log10(active_power(clip)) - decibels(added)
    assert ratio == pytest.approx(snr_db, abs=0.05)


@pytest.mark.parametrize("kind", ["speech-shaped", "babble"])
def test_a_clips_noise_is_always_the_same_and_another_clips_is_another(kind: str) -> None:
    first, again = (
        Bystanders([voiced(speech(1)), voiced(speech(2))]).noise(kind, "a", 8_000) for _ in range(2)
    )  # type: ignore[arg-type]
    other = Bystanders([voiced(speech(1)), voiced(speech(2))]).noise(kind, "b", 8_000)  # type: ignore[arg-type]
    assert np.array_equal(first, again) and first.shape == (8_000,)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.5


def test_speech_shaped_noise_has_the_spectrum_of_the_speech_and_does_not_pause() -> None:
    noise = Bystanders([voiced(speech(seed)) for seed in range(6)]).noise(
        "speech-shaped", "a", 4 * RATE
    )
    spectra = [np.abs(np.fft.rfft(sound)) ** 2 for sound in (noise, speech(7, 3.0))]
    low, high = slice(0, 2_000), slice(12_000, 20_000)  # the convolution has its zeros every 2 kHz
    ratios = [10 * np.log10(s[low].mean() / s[high].mean()) for s in spectra]
    assert ratios[0] == pytest.approx(ratios[1], abs=3.0)
    assert min(np.abs(noise).reshape(-1, 1_600).max(1)) > 0.3 * np.abs(noise).max()


def test_babble_has_no_pauses_where_its_voices_have() -> None:
    noise = Bystanders([voiced(speech(seed)) for seed in range(8)]).noise("babble", "a", 4 * RATE)
    assert min(np.abs(noise).reshape(-1, 6_400).max(1)) > 0.1 * np.abs(noise).max()
