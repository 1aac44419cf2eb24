"""Sounds that Silero takes for speech, made of nothing but NumPy; nobody is recorded in them."""

from typing import Final

import numpy as np
import numpy.typing as npt

from emotion.vad import MIN_SPEECH_RATIO

FORMANTS: Final = (
    (730, 1090, 2440, 3400),
    (270, 2290, 3010, 3700),
    (300, 870, 2240, 3300),
    (530, 1840, 2480, 3500),
    (570, 840, 2410, 3400),
)
"""Hz, of the vowels in father, see, boot, bed, law (Peterson and Barney 1952; the fourth is usual)."""
BANDWIDTHS: Final = (80, 100, 140, 200)  # Hz
PAUSE_EVERY: Final = 7  # syllables
NOISE: Final = 0.001  # of a line on which nobody speaks
MAX_TURNS: Final = 4
MIN_TURN_S: Final = 2.0


def pauses(turn_s: float, share: float, window_s: float = 3.0) -> float:
    """How long a pause must follow each turn of speech so that a share of the windows holds speech.

    A window with less than `MIN_SPEECH_RATIO` of speech is silence; so the windows that end within a
    turn count, and those that end up to `window_s` later but for that ratio, taken at both ends.

    Args:
        turn_s: seconds of speech at a time.
        share: of the windows that are to hold speech, above 0 to 1; at 1 there is no pause.
        window_s: seconds that a window covers.

    Returns:
        seconds.
    """
    if share >= 1:
        return 0.0
    return ((1 - share) * turn_s + _blurred_s(window_s)) / share


def conversation(
    seconds: float, share: float, rate: int = 16_000, window_s: float = 3.0
) -> npt.NDArray[np.float32]:
    """Turns of several voices with pauses between them, for being heard over and over.

    Args:
        seconds: how long.
        share: of the windows that are to hold speech, 0 to 1; about, as voice activity has its own
            mind.
        rate: Hz.
        window_s: seconds that a window covers.

    Returns:
        float32 [seconds * rate], -1 to 1.
    """
    sound = NOISE * np.random.default_rng(0).standard_normal(round(seconds * rate))
    count, turn_s = _turns(seconds, share, window_s)
    for turn in range(count):
        begin = round(turn * seconds / count * rate)
        speech = speech_like(turn_s, rate, seed=turn)[: len(sound) - begin]
        sound[begin : begin + len(speech)] += speech
    return np.clip(sound, -1, 1).astype(np.float32)


def _blurred_s(window_s: float) -> float:
    """By how much longer than a turn the windows are that hold some of it."""
    return window_s * (1 - 2 * MIN_SPEECH_RATIO)


def _turns(seconds: float, share: float, window_s: float) -> tuple[int, float]:
    """How many turns of speech, and how long each is, in seconds."""
    if share <= 0:
        return 0, 0.0
    for count in range(MAX_TURNS, 0, -1):
        turn_s = share * seconds / count - (_blurred_s(window_s) if share < 1 else 0)
        if turn_s >= MIN_TURN_S:
            return count, turn_s
    return 1, MIN_TURN_S


def speech_like(seconds: float, rate: int = 16_000, seed: int = 0) -> npt.NDArray[np.float32]:
    """Syllables of a gliding pitch through formants, with hissed onsets and short pauses.

    Args:
        seconds: how long.
        rate: Hz.
        seed: another one gives another voice and other syllables.

    Returns:
        float32 [seconds * rate], peak 0.5.
    """
    random = np.random.default_rng(seed)
    pitch = random.uniform(95, 210)  # Hz
    length = round(seconds * rate)
    syllables: list[npt.NDArray[np.float64]] = []
    made = 0
    while made < length:
        syllable = _syllable(random, pitch * random.uniform(0.85, 1.2), rate)
        if len(syllables) % PAUSE_EVERY == PAUSE_EVERY - 1:
            syllable = np.concatenate([syllable, np.zeros(rate // 5)])
        syllables.append(syllable)
        made += len(syllable)
    sound = np.concatenate([*syllables, np.zeros(0)])[:length]
    sound += 0.002 * random.standard_normal(length)
    return (0.5 * sound / max(1.0, float(np.abs(sound).max(initial=0)))).astype(np.float32)


def _syllable(random: np.random.Generator, pitch: float, rate: int) -> npt.NDArray[np.float64]:
    """A hissed onset and a vowel that glides into another: float64 [n], peak about 1."""
    size = int(rate * random.uniform(0.14, 0.26))
    time = np.linspace(0, 1, size)
    first, last = (FORMANTS[i] for i in random.integers(len(FORMANTS), size=2))
    contour = pitch * (1 + random.uniform(-0.2, 0.2) * time)
    phase = 2 * np.pi * np.cumsum(contour) / rate
    harmonics = np.arange(1, int(min(4_000, 0.45 * rate) / pitch))[:, np.newaxis]
    tones = harmonics.astype(np.float64) * pitch
    loud = _gain(tones, first) * (1 - time) + _gain(tones, last) * time
    vowel = (loud * np.sin(harmonics * phase)).sum(0)
    vowel *= np.sin(np.pi * time) ** 0.5 / np.abs(vowel).max()
    hiss = np.diff(random.standard_normal(size // 4 + 1)) * np.hanning(size // 4)
    return np.concatenate([0.05 * hiss, vowel])


def _gain(frequency: npt.NDArray[np.float64], formants: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Of a vocal tract with these resonances, falling 6 dB an octave: [harmonics, 1]."""
    gain: npt.NDArray[np.float64] = 1 / frequency
    for centre, width in zip(formants, BANDWIDTHS, strict=True):
        gain = gain * (centre**2 / np.hypot(centre**2 - frequency**2, width * frequency))
    return gain
