"""What the graphs are compared on: recordings, and made-up sounds of awkward lengths."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from emotion.contract import SAMPLE_RATE
from export.convert import MAX_SAMPLES, MIN_SAMPLES
from train.audio import read_mono
from train.corpora import Clip, load_corpus

Waveform = npt.NDArray[np.float32]

AWKWARD: Final = (8_000, 8_001, 16_159, 16_160, 47_999, 48_000, 71_333, 240_017, 479_999, 480_000)
"""Samples: half a second to 30 s, on both sides of whole frames of 160 and of pairs of frames."""

FITTING: Final = 64
"""Clips that int8 is fitted to: with 16 the embedding is off by a tenth more, and each takes half a
second."""


@dataclass(frozen=True)
class Sound:
    """Something to run a graph on.

    Attributes:
        name: what a failure calls it.
        waveform: float32 [samples], 16 kHz, -1 to 1.
    """

    name: str
    waveform: Waveform


def speech_like(count: int, seconds: float = 3.0) -> list[Waveform]:
    """Harmonic, syllabic sounds with a gliding pitch and some noise; the same ones every time.

    Returns:
        float32 [samples] each, 16 kHz, -1 to 1.
    """
    rng = np.random.default_rng(20_180_516)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return [_one(rng, time) for _ in range(count)]


def awkward_sounds() -> list[Sound]:
    """Sounds of awkward lengths, and the awkward ones: silence, a click, full scale, very quiet."""
    sounds = []
    for samples in AWKWARD:
        (waveform,) = speech_like(1, samples / SAMPLE_RATE)
        sounds.append(Sound(f"speech-like, {samples} samples", waveform))
    shortest = speech_like(1)[0][:MIN_SAMPLES]
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[5_000] = 1.0
    rng = np.random.default_rng(1)
    return [
        *sounds,
        Sound(f"speech-like, {MIN_SAMPLES} samples", shortest),
        Sound("silence, 1 s", np.zeros(SAMPLE_RATE, np.float32)),
        Sound("a click in silence, 1 s", click),
        Sound("full-scale noise, 1 s", rng.uniform(-1, 1, SAMPLE_RATE).astype(np.float32)),
        Sound("quiet noise, 1 s", (rng.normal(size=SAMPLE_RATE) * 1e-4).astype(np.float32)),
    ]


def recordings(folder: Path, count: int) -> list[Sound]:
    """Some of a corpus's clips, evenly spread over it.

    Raises:
        CorpusError: there is no clip in the folder.
        AudioError: one of the clips cannot be decoded.
    """
    clips = load_corpus(folder)
    rows = np.unique(np.linspace(0, len(clips) - 1, count).round().astype(int))
    return [Sound(clips[row].name, read_clip(clips[row].path)) for row in rows]


def fitting_clips(clips: Sequence[Clip], names: Collection[str]) -> list[Clip]:
    """Up to `FITTING` of the clips that a model was trained on, evenly spread; none where none is there.

    Args:
        clips: a corpus.
        names: of the clips that the model was trained on.
    """
    known = [clip for clip in clips if clip.name in names]
    rows = np.unique(np.linspace(0, len(known) - 1, min(FITTING, len(known))).round().astype(int))
    return [known[row] for row in rows]


def roughened(waveforms: Sequence[Waveform]) -> list[Waveform]:
    """The sounds, and again in worse rooms: every other one in noise, the others by telephone.

    int8 that is fitted to a studio's recordings alone is off by half as much again in noise.

    Args:
        waveforms: float32 [samples] each, 16 kHz.
    """
    rng = np.random.default_rng(20_180_516)
    rough = [
        _noisy(rng, waveform) if row % 2 else _by_telephone(waveform)
        for row, waveform in enumerate(waveforms)
    ]
    return [*waveforms, *rough]


def read_clip(path: Path) -> Waveform:
    """A recording, cut to what the graphs take: float32 [samples], 16 kHz."""
    return read_mono(path)[:MAX_SAMPLES]


def _one(rng: np.random.Generator, time: npt.NDArray[np.float64]) -> Waveform:
    glide = 1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.5, 4) * time)
    phase = 2 * np.pi * np.cumsum(rng.uniform(90, 300) * glide) / SAMPLE_RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 30))
    syllables = np.clip(np.sin(2 * np.pi * rng.uniform(2, 5) * time), 0, 1)
    sound = voice * syllables + rng.normal(size=time.size) * 0.05
    return np.asarray(sound / np.abs(sound).max() * rng.uniform(0.02, 0.8), dtype=np.float32)


def _noisy(rng: np.random.Generator, waveform: Waveform) -> Waveform:
    noise = rng.normal(size=waveform.size) * waveform.std() * 10 ** (-rng.uniform(0, 20) / 20)
    return np.asarray(waveform + noise, np.float32)


def _by_telephone(waveform: Waveform) -> Waveform:
    """300 to 3,400 Hz and nothing else."""
    spectrum = np.fft.rfft(waveform)
    frequency = np.fft.rfftfreq(waveform.size, 1 / SAMPLE_RATE)
    spectrum[(frequency < 300) | (frequency > 3_400)] = 0
    return np.asarray(np.fft.irfft(spectrum, waveform.size), np.float32)
