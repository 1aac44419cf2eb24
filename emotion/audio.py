"""Bytes of any of the protocol's encodings to mono float32 at 16 kHz, however they are cut.

`Decoder` turns bytes into samples and keeps what is left of a split sample for the next call;
`Resampler` brings them to 16 kHz. What comes out over any chunking is, bit for bit, what comes out for
the whole: soxr's stream is chunk-invariant, and a test holds it to that.
"""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import soxr

from emotion.contract import SAMPLE_RATE
from emotion.errors import AudioError

Encoding = Literal["pcm_s16le", "pcm_f32le", "mulaw", "alaw"]
Samples = npt.NDArray[np.float32]
Pcm = npt.NDArray[np.int16]

BYTES_PER_SAMPLE: Final[dict[str, int]] = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1, "alaw": 1}
MIN_RATE: Final = 8_000
MAX_RATE: Final = 48_000
FULL_SCALE: Final = 32_768  # int16 steps to 1.0
RESAMPLING_QUALITY: Final = "HQ"  # soxr's default; training uses the same


def _mulaw_table() -> Samples:
    """ITU-T G.711 mu-law: the 256 codes as float32, -1 to 1."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return (np.where(code & 0x80, -magnitude, magnitude) / FULL_SCALE).astype(np.float32)


def _alaw_table() -> Samples:
    """ITU-T G.711 A-law: the 256 codes as float32, -1 to 1."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    segment = (mantissa << 4) + np.where(exponent > 0, 0x108, 8)
    magnitude = segment << np.maximum(exponent.astype(np.int32) - 1, 0)
    return (np.where(code & 0x80, magnitude, -magnitude) / FULL_SCALE).astype(np.float32)


_G711: Final = {"mulaw": _mulaw_table(), "alaw": _alaw_table()}


class Decoder:
    """Bytes to samples, interleaved channels, split anywhere.

    Args:
        encoding: one of `BYTES_PER_SAMPLE`.
        channels: how many are interleaved.

    Attributes:
        frames: samples of each channel decoded so far.
    """

    def __init__(self, encoding: Encoding, channels: int = 1) -> None:
        self.frames = 0
        self._encoding = encoding
        self._channels = channels
        self._frame_bytes = BYTES_PER_SAMPLE[encoding] * channels
        self._kept = bytearray()

    @property
    def held(self) -> int:
        """Whole samples of each channel that are kept and not decoded yet."""
        return len(self._kept) // self._frame_bytes

    @property
    def received(self) -> int:
        """Whole samples of each channel that have come so far."""
        return self.frames + self.held

    @property
    def rest(self) -> int:
        """Bytes of an incomplete frame (one sample of every channel) still waiting for the others."""
        return len(self._kept) % self._frame_bytes

    def keep(self, data: bytes | bytearray | memoryview) -> None:
        """Keeps bytes for `decode`: any number, also 0, also ones that split a sample."""
        self._kept += data

    def decode(self) -> Samples:
        """Decodes what is complete and keeps the rest.

        Returns:
            float32 [frames, channels], -1 to 1.

        Raises:
            AudioError: a `pcm_f32le` sample is not finite. Nothing is kept then.
        """
        whole = self.held * self._frame_bytes
        kept, self._kept = self._kept, bytearray()
        flat = self._decode(memoryview(kept)[:whole])
        self._kept = kept[whole:]
        samples = flat.reshape(-1, self._channels)
        self.frames += len(samples)
        return samples

    def feed(self, data: bytes | bytearray | memoryview) -> Samples:
        """`keep` and `decode` in one."""
        self.keep(data)
        return self.decode()

    def gap(self, frames: int) -> Samples:
        """What was kept, and silence in the place of samples that were lost.

        Returns:
            float32 [kept and lost frames, channels].
        """
        self.forget_rest()
        kept = self.decode()
        self.frames += frames
        return np.concatenate([kept, np.zeros((frames, self._channels), np.float32)])

    def forget_rest(self) -> None:
        """Drops an incomplete frame: whoever sends on begins with a whole one."""
        del self._kept[self.held * self._frame_bytes :]

    def _decode(self, data: memoryview) -> Samples:
        """Whole samples to float32 [n]; float samples beyond -1 to 1 are clipped."""
        if self._encoding == "pcm_s16le":
            return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(FULL_SCALE)
        if self._encoding == "pcm_f32le":
            values = np.frombuffer(data, "<f4").astype(np.float32)
            self._refuse_non_finite(values)  # first: clipping would make 1.0 of an infinity
            return np.clip(values, -1.0, 1.0)
        return _G711[self._encoding][np.frombuffer(data, np.uint8)]

    def _refuse_non_finite(self, flat: Samples) -> None:
        bad = np.flatnonzero(~np.isfinite(flat))
        if bad.size:
            frame = self.frames + int(bad[0]) // self._channels
            raise AudioError(
                f"sample {frame} is {flat[bad[0]]}: expected finite float32 values from -1 to 1; "
                "check the declared encoding and byte order"
            )


class Resampler:
    """A stream of samples to 16 kHz.

    Args:
        rate: Hz of what comes in, 8,000 to 48,000.
        channels: how many columns there are.
    """

    def __init__(self, rate: int, channels: int = 1) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise AudioError(f"sample rate {rate}: expected {MIN_RATE} to {MAX_RATE} Hz")
        self._stream = (
            None
            if rate == SAMPLE_RATE
            else soxr.ResampleStream(
                rate, SAMPLE_RATE, channels, dtype="float32", quality=RESAMPLING_QUALITY
            )
        )

    def feed(self, samples: Samples, last: bool = False) -> Samples:
        """Resamples the next samples; the filter holds some back until more, or the last, have come.

        Args:
            samples: float32 [n, channels], n may be 0.
            last: whether these are the last ones; afterwards the stream is used up.

        Returns:
            float32 [m, channels] at 16 kHz. Over all calls, what `resample` gives for the whole.
        """
        if self._stream is None:
            return samples
        resampled: Samples = self._stream.resample_chunk(np.ascontiguousarray(samples), last=last)
        return resampled.reshape(-1, samples.shape[1])


def resample(samples: Samples, rate: int) -> Samples:
    """A whole recording to 16 kHz: float32 [n] or [n, channels] in, likewise out."""
    if rate == SAMPLE_RATE:
        return samples
    resampled: Samples = soxr.resample(samples, rate, SAMPLE_RATE, quality=RESAMPLING_QUALITY)
    return resampled


def to_pcm(samples: Samples) -> Pcm:
    """float32, -1 to 1 -> int16, rounded; what lies beyond full scale is clipped."""
    scaled = samples * np.float32(FULL_SCALE)
    np.rint(scaled, out=scaled)
    np.minimum(scaled, FULL_SCALE - 1, out=scaled)  # np.clip costs three times as much on 20 ms
    np.maximum(scaled, -FULL_SCALE, out=scaled)
    return scaled.astype(np.int16)


def from_pcm(pcm: Pcm) -> Samples:
    """int16 -> float32, -1 to 1."""
    return pcm.astype(np.float32) / np.float32(FULL_SCALE)


def to_mulaw(pcm: Pcm) -> bytes:
    """int16 [n] -> the nearest G.711 mu-law codes, one byte a sample."""
    levels = _G711["mulaw"]
    order = np.argsort(levels, kind="stable")
    between = (levels[order][1:] + levels[order][:-1]) / 2
    return order[np.searchsorted(between, from_pcm(pcm))].astype(np.uint8).tobytes()
