"""Recordings to 16 kHz mono, the way serving hears them."""

import logging
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from emotion.errors import AudioError
from train.frontend import SAMPLE_RATE

Backend = Literal["soundfile", "torchaudio"]

MIN_SAMPLES: Final = 320  # one encoder frame, 20 ms

_log = logging.getLogger(__name__)


def usable_backend(asked: Backend) -> Backend:
    """The backend that will decode: the one asked for, or soundfile where torchaudio cannot load.

    torchaudio's Linux wheels need CUDA libraries, so beside a CPU build of torch its import fails.
    """
    if asked == "torchaudio" and _torchaudio() is None:
        _log.warning(
            "torchaudio cannot be imported: resampling with soxr instead "
            "(recordings that already are at 16 kHz sound the same)"
        )
        return "soundfile"
    return asked


def read_mono(path: Path, backend: Backend = "soundfile") -> npt.NDArray[np.float32]:
    """Decodes a file; mono is the mean of the channels.

    Args:
        path: anything libsndfile reads.
        backend: who resamples: soxr (HQ) or `torchaudio.functional.resample`. Decoding is
            soundfile's either way: recent torchaudio versions do not decode by themselves.

    Returns:
        float32 [samples], 16 kHz, -1 to 1, at least 320 samples, all finite.

    Raises:
        AudioError: the file cannot be decoded, is shorter than 20 ms or holds NaN or infinity.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path}: cannot be decoded: {error}") from error
    mono = np.ascontiguousarray(samples.mean(axis=1, dtype=np.float32))
    if not np.isfinite(mono).all():
        raise AudioError(f"{path}: holds samples that are not finite")
    if rate != SAMPLE_RATE:
        mono = _resample(mono, rate, backend)
    if len(mono) < MIN_SAMPLES:
        raise AudioError(f"{path}: {len(mono)} samples at 16 kHz, expected at least {MIN_SAMPLES}")
    return mono


def _resample(
    mono: npt.NDArray[np.float32], rate: int, backend: Backend
) -> npt.NDArray[np.float32]:
    if backend == "torchaudio":
        import torch

        resampled = _torchaudio().functional.resample(torch.from_numpy(mono), rate, SAMPLE_RATE)
        return np.asarray(resampled.numpy(), dtype=np.float32)
    return np.asarray(soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ"), dtype=np.float32)


def _torchaudio() -> Any:
    """The module, or None where it is missing or cannot find its libraries."""
    try:
        import torchaudio
    except (ImportError, OSError):
        return None
    return torchaudio
