"""What a recording sounds like elsewhere: through a telephone, or in noise.

Every function takes and gives a waveform at 16 kHz of the same length, in time with the original, so
that a clip's label, its windows and its speech stay where they were.

Noise is mixed at a ratio to the clip's active speech level: pauses count for nothing, or else a clip
with long pauses would get less noise than a busy one at the same ratio. The level is that of ITU-T
P.56 (12/2011), method B.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import soxr
from scipy.signal import butter, lfilter, sosfiltfilt

from emotion.audio import RESAMPLING_QUALITY, Decoder, to_mulaw, to_pcm
from train.frontend import SAMPLE_RATE

Waveform = npt.NDArray[np.float32]
Noise = Literal["speech-shaped", "babble"]

TELEPHONE_RATE: Final = 8_000
TELEPHONE_BAND: Final = (300.0, 3_400.0)
"""Hz: the band that ITU-T G.712 (11/2001) has a telephone channel pass."""
TELEPHONE_ORDER: Final = 4
"""Of the Butterworth band-pass; it runs forwards and backwards, which doubles it and shifts nothing."""

TALKERS: Final = 6
"""Voices in a babble: with fewer, single words can be followed; with many, it turns into noise."""

ENVELOPE_S: Final = 0.03  # P.56: time constant of each of the envelope's two poles
HANGOVER_S: Final = 0.2  # P.56: pauses up to so long belong to the speech
MARGIN_DB: Final = 15.9  # P.56: from the activity threshold up to the active level
LOWEST_THRESHOLD: Final = 2.0**-15  # P.56: the smallest step of 16 bits
_THRESHOLDS: Final = [LOWEST_THRESHOLD * 2 ** (step / 8) for step in range(8 * 15 + 1)]
"""Of the envelope, 0.75 dB apart up to full scale; P.56 takes 6 dB and interpolates."""

SPECTRUM_SAMPLES: Final = 512  # 32 ms, of each frame whose spectrum counts


def telephone(waveform: Waveform) -> Waveform:
    """Down to 8 kHz, 300 to 3,400 Hz, mu-law (ITU-T G.711) and back to 16 kHz.

    Args:
        waveform: float32 [n], 16 kHz, -1 to 1, at least 320 samples.

    Returns:
        float32 [n].
    """
    narrow = soxr.resample(waveform, SAMPLE_RATE, TELEPHONE_RATE, quality=RESAMPLING_QUALITY)
    band = butter(TELEPHONE_ORDER, TELEPHONE_BAND, "bandpass", fs=TELEPHONE_RATE, output="sos")
    passed = sosfiltfilt(band, narrow).astype(np.float32)
    heard = Decoder("mulaw").feed(to_mulaw(to_pcm(passed)))[:, 0]
    wide = soxr.resample(heard, TELEPHONE_RATE, SAMPLE_RATE, quality=RESAMPLING_QUALITY)
    return _fitted(np.asarray(wide, dtype=np.float32), len(waveform))


class Bystanders:
    """Speech of people other than the one who is heard: what noise is made of.

    Args:
        voices: float32 [any] each, at least one; recordings as `voiced` leaves them.
    """

    def __init__(self, voices: Sequence[Waveform]) -> None:
        self._voices = voices

    def noise(self, kind: Noise, name: str, samples: int) -> Waveform:
        """The noise that a clip is heard in; it depends on nothing but the clip's name.

        Args:
            kind: `speech-shaped` (stationary, their average spectrum) or `babble` (they all talk).
            name: the clip's; the seed.
            samples: how long the clip is.

        Returns:
            float32 [samples], at any level.
        """
        digest = hashlib.sha256(f"{kind} {name}".encode()).digest()
        random = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        return (
            self._stationary(samples, random) if kind != "babble" else self._babble(samples, random)
        )

    def _stationary(self, samples: int, random: np.random.Generator) -> Waveform:
        """Gaussian noise with the long-term average spectrum of the recordings."""
        white = np.fft.rfft(random.standard_normal(samples))
        at = np.linspace(0, len(self._shape) - 1, len(white))
        shape = np.interp(at, np.arange(len(self._shape)), self._shape)
        return np.fft.irfft(white * shape, samples).astype(np.float32)

    def _babble(self, samples: int, random: np.random.Generator) -> Waveform:
        """`TALKERS` voices at the same level, each saying recordings one after the other."""
        order = random.permutation(len(self._voices))
        total, turn = np.zeros(samples, np.float32), 0
        for _ in range(TALKERS):
            parts: list[Waveform] = []
            while sum(map(len, parts)) < samples:
                parts.append(self._voices[order[turn % len(order)]])
                turn += 1
            voice = np.concatenate(parts)
            total += np.roll(voice, int(random.integers(len(voice))))[:samples]
        return total

    @cached_property
    def _shape(self) -> npt.NDArray[np.float64]:
        """Root of the mean power spectrum, 0 to 8 kHz: float64 [257]."""
        return np.asarray(np.sqrt(np.mean([_spectrum(voice) for voice in self._voices], axis=0)))


def mixed(waveform: Waveform, noise: Waveform, snr_db: float) -> Waveform:
    """Speech in noise at a ratio of the speech's active level to the noise's power.

    Args:
        waveform: float32 [n], 16 kHz, -1 to 1.
        noise: float32 [n], at any level.
        snr_db: in dB.

    Returns:
        float32 [n], clipped to -1 to 1, as 16-bit samples would be.
    """
    power = float(np.mean(np.square(noise, dtype=np.float64)))
    if power == 0.0:
        return waveform
    wanted = active_power(waveform) / 10 ** (snr_db / 10)
    return np.clip(waveform + noise * np.float32(np.sqrt(wanted / power)), -1.0, 1.0)


def voiced(waveform: Waveform) -> Waveform:
    """A recording's speech without its pauses, at a mean power of 1; silence stays silent."""
    speech = active(waveform)
    power = float(np.mean(np.square(speech, dtype=np.float64)))
    return speech * np.float32(1 / np.sqrt(power)) if power else speech


def active(waveform: Waveform) -> Waveform:
    """Only the samples that P.56 counts as speech: float32 [m]; all where it finds none."""
    threshold = _level(waveform)[1]
    spoken = _activity(_envelope(waveform), threshold)
    return waveform[spoken] if spoken.any() else waveform


def active_power(waveform: Waveform) -> float:
    """Mean power of a waveform's speech, pauses left out: ITU-T P.56, method B; 0 for silence."""
    return _level(waveform)[0]


def _level(waveform: Waveform) -> tuple[float, float]:
    """Active power, and the envelope's threshold that lies `MARGIN_DB` below it.

    The higher the threshold, the shorter the activity and the higher its mean power; the margin
    between the two shrinks, and where it is `MARGIN_DB` lies the answer.
    """
    energy = float(np.sum(np.square(waveform, dtype=np.float64)))
    if energy == 0.0:
        return 0.0, 0.0
    envelope = _envelope(waveform)
    margin = 10 ** (MARGIN_DB / 10)

    def spoken(threshold: float) -> int:
        return int(np.count_nonzero(_activity(envelope, threshold)))

    def too_high(threshold: float) -> bool:
        return energy <= margin * threshold**2 * spoken(threshold) or not spoken(threshold)

    # The margin shrinks as the threshold grows: the last threshold that still leaves it is wanted.
    found = bisect_left(_THRESHOLDS, True, key=too_high)
    threshold = _THRESHOLDS[max(found - 1, 0)]
    return energy / (spoken(threshold) or len(waveform)), threshold


def _envelope(waveform: Waveform) -> npt.NDArray[np.float64]:
    keep = float(np.exp(-1 / (SAMPLE_RATE * ENVELOPE_S)))
    once = lfilter([1 - keep], [1, -keep], np.abs(waveform.astype(np.float64)))
    return np.asarray(lfilter([1 - keep], [1, -keep], once))


def _activity(envelope: npt.NDArray[np.float64], threshold: float) -> npt.NDArray[np.bool_]:
    """Where the envelope is at the threshold or was within the hangover: bool [n]."""
    above = np.where(envelope >= threshold, np.arange(len(envelope)), -len(envelope))
    since = np.arange(len(envelope)) - np.maximum.accumulate(above)
    return since <= min(round(HANGOVER_S * SAMPLE_RATE), len(envelope) - 1)


def _spectrum(waveform: Waveform) -> npt.NDArray[np.float64]:
    """Mean power spectrum of Hann-windowed frames: float64 [257]."""
    padded = _fitted(waveform, max(len(waveform), SPECTRUM_SAMPLES))
    frames = np.lib.stride_tricks.sliding_window_view(padded, SPECTRUM_SAMPLES)
    windowed = frames[:: SPECTRUM_SAMPLES // 2] * np.hanning(SPECTRUM_SAMPLES)
    return np.asarray(np.mean(np.abs(np.fft.rfft(windowed)) ** 2, axis=0))


def _fitted(waveform: Waveform, samples: int) -> Waveform:
    """Cut or filled with zeros at the end."""
    return np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))
