"""Sounds for the browser tests.

python tests/browser/sounds.py speech OUT.wav SECONDS     sounds like speech, 16 kHz
python tests/browser/sounds.py rates OUT.wav              the same at 22.05 kHz, two channels
python tests/browser/sounds.py same SOURCE.wav HEARD.wav OUT.wav
    where in SOURCE does HEARD begin? OUT is SOURCE from there on; prints how alike they are, from
    there on (a busy browser's microphone loses pieces, and the rest is shifted) and piece by piece
python tests/browser/sounds.py apart SOURCE.wav HEARD.wav
    the largest difference between HEARD and SOURCE's channels mixed down, in steps of 16 bits
"""

import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # nothing of ours need be installed

from clients.synthetic import speech_like  # noqa: E402

RATE = 16_000


def speech(path: str, seconds: str) -> None:
    """Turns of four seconds, another voice each."""
    count = -(-int(seconds) // 4)
    voices = [speech_like(4.0, RATE, seed) for seed in range(count)]
    soundfile.write(path, np.concatenate(voices)[: int(seconds) * RATE], RATE, subtype="PCM_16")


def rates(path: str) -> None:
    """A file that has to be mixed down, at a rate that is no browser's own."""
    both = np.stack([speech_like(5.0, 22_050, seed) for seed in (5, 6)], axis=1)
    soundfile.write(path, both, 22_050, subtype="PCM_16")


def same(source: str, heard: str, out: str) -> None:
    """Aligns what was heard with what was played."""
    played, rate = soundfile.read(source)
    caught, caught_rate = soundfile.read(heard)
    caught = soxr.resample(caught, caught_rate, rate)
    size = 1 << (len(played) + len(caught)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(played, size) * np.conj(np.fft.rfft(caught, size)), size)
    begin = int(likeness.argmax())
    begin -= size if begin > size // 2 else 0
    padded: NDArray[np.float64] = np.concatenate(
        [np.zeros(max(0, -begin)), played[max(0, begin) :]]
    )
    length = min(len(padded), len(caught))
    soundfile.write(out, padded[:length], rate, subtype="PCM_16")
    whole = float(np.corrcoef(padded[:length], caught[:length])[0, 1])
    pieces = [caught[i : i + rate // 2] for i in range(0, len(caught) - rate // 2, rate // 2)]
    loud = [piece for piece in pieces if np.abs(piece).max() > 0.01]
    print(f"[{whole}, {np.median([within(played, piece) for piece in loud])}]")


def apart(source: str, heard: str) -> None:
    """Compares sample by sample; lengths that differ are infinitely far apart."""
    played = soundfile.read(source, always_2d=True)[0].mean(axis=1)
    caught = soundfile.read(heard)[0]
    same_length = len(played) == len(caught)
    steps = np.abs(played - caught).max() * 32_768 if same_length else 1e9
    print(f"[{steps}]")


def within(source: NDArray[np.float64], piece: NDArray[np.float64]) -> float:
    """How alike a piece is to that part of the source which it is most alike."""
    size = 1 << (len(source) + len(piece)).bit_length()
    products = np.fft.irfft(np.fft.rfft(source, size) * np.conj(np.fft.rfft(piece, size)), size)
    energy = np.concatenate([[0.0], np.cumsum(source**2)])
    parts = energy[len(piece) :] - energy[: -len(piece)]
    norms = np.sqrt(np.maximum(parts, 1e-6) * float(piece @ piece))
    return float((products[: len(parts)] / norms).max())


if __name__ == "__main__":
    {"speech": speech, "rates": rates, "same": same, "apart": apart}[sys.argv[1]](*sys.argv[2:])
