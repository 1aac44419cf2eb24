"""What graphs are fitted to and compared on."""

from pathlib import Path

import numpy as np

from export.clips import FITTING, fitting_clips, roughened, speech_like
from train.corpora import Clip


def corpus(count: int) -> list[Clip]:
    names = [f"03-01-01-01-01-01-{number:02}" for number in range(count)]
    return [Clip(Path(f"{name}.wav"), 0, 1, "speech") for name in names]


def test_only_clips_that_the_model_was_trained_on_are_fitted_to() -> None:
    clips = corpus(10)
    names = {clip.name for clip in clips[:4]}
    assert fitting_clips(clips, names) == clips[:4]
    assert fitting_clips(clips, ()) == []
    assert fitting_clips([], names) == []


def test_of_many_a_few_are_taken_from_one_end_to_the_other() -> None:
    clips = corpus(10 * FITTING)
    chosen = fitting_clips(clips, {clip.name for clip in clips})
    assert len(chosen) == FITTING
    assert (chosen[0], chosen[-1]) == (clips[0], clips[-1])


def test_roughened_sounds_come_after_the_sounds_themselves() -> None:
    sounds = speech_like(2, 0.5)
    first, second, by_telephone, noisy = roughened(sounds)
    np.testing.assert_array_equal([first, second], sounds)
    power = np.abs(np.fft.rfft(by_telephone)) ** 2
    frequency = np.fft.rfftfreq(by_telephone.size, 1 / 16_000)
    assert power[frequency > 3_500].sum() < 1e-6 * power.sum()
    noise = (noisy - second).astype(np.float64)
    assert 0.1 <= noise.std() / second.std() <= 1.1
    assert by_telephone.dtype == noisy.dtype == np.float32


def test_what_was_never_loud_stays_finite() -> None:
    assert all(np.isfinite(sound).all() for sound in roughened([np.zeros(8_000, np.float32)] * 2))
