"""Training pieces: random cuts of recordings as other speakers, noises and lines would have them.

Everything is drawn and computed for a whole batch at once, on the recordings' device, without asking the
device for a result: a GPU is never waited for. What evaluation does to recordings is in
`conditions.py`; no code is shared with it, and no voice of a held-out actor is in the noise here, though
the kinds are the same: speech-shaped noise, voices, a telephone.
"""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from train.frontend import SAMPLE_RATE
from train.recipe import Augment
from train.waves import FRAME, SPEECH_RANGE_DB, Waves

PIECES_VERSION: Final = 2
"""Raised when the code changes what a piece sounds like, here or in `waves.py`."""

VOICES: Final = (2, 6)
"""Of a babble, at least and at most: nothing tells a single bystander from who is to be heard."""
EQ_BANDS: Final = 7
EQ_LOWEST: Final = 60.0  # Hz, centre of the lowest band; the highest is at half the sample rate
SPECTRUM_SMOOTHING: Final = 201
"""Bins over which a babble's spectrum is averaged before its phases are drawn anew: about 80 Hz."""
MU: Final = 255.0  # of mu-law (ITU-T G.711)
QUIETEST: Final = 1e-6
LINE_LOW: Final = (200.0, 400.0)  # Hz, a telephone line's lower limit
LINE_HIGH: Final = (3200.0, 3800.0)


class Pieces:
    """Cuts random pieces of recordings.

    Args:
        waves: the recordings.
        settings: the recipe's.
        seed: of everything random.

    Attributes:
        generator: on the recordings' device; who else draws by it goes on with the pieces.
    """

    def __init__(self, waves: Waves, settings: Augment, seed: int) -> None:
        self._waves, self._settings = waves, settings
        self.generator = torch.Generator(waves.device).manual_seed(seed)
        # Lengths are drawn on the CPU, so that a GPU's queue need not run dry for them.
        self._lengths = torch.Generator().manual_seed(seed)

    @staticmethod
    def chance(seed: int, device: torch.device) -> str:
        """What decides, besides settings and recordings, which pieces come; for digests."""
        return f"{PIECES_VERSION} {seed} {device.type}"  # devices draw other random numbers

    def state(self) -> list[Tensor]:
        """Where chance stands, for `go_on`."""
        return [self.generator.get_state(), self._lengths.get_state()]

    def go_on(self, state: list[Tensor]) -> None:
        """Continues from what `state` gave."""
        for generator, kept in zip((self.generator, self._lengths), state, strict=True):
            generator.set_state(kept.cpu())

    def length(self) -> int:
        """Samples of the next batch's pieces: a whole number of encoder frames."""
        shortest, longest = self._settings.piece_s
        drawn = shortest + (longest - shortest) * float(torch.rand((), generator=self._lengths))
        return max(1, round(drawn * SAMPLE_RATE / FRAME)) * FRAME

    def cut(self, rows: Tensor, samples: int, speed: float = 0.0) -> Tensor:
        """Pieces as they were recorded, at most `speed` faster or slower.

        A piece begins so that its middle lies between the first and the last speech, where the recording
        is long enough.

        Returns:
            float32 [B, samples].
        """
        factor = 1 + speed * self._spread(len(rows))
        needed = samples * factor
        length = self._waves.lengths[rows].float()
        begin, end = self._waves.speech[rows].float().unbind(1)
        free = (length - needed).clamp(min=0)
        low = (begin - needed / 2).clamp(min=0).minimum(free)
        high = (end - needed / 2).maximum(low).minimum(free)
        # A recording that is shorter than the piece lies anywhere in it.
        short = (length - needed).clamp(max=0)
        first = torch.where(length < needed, short, low)
        first = first + self._uniform(len(rows)) * (torch.where(length < needed, 0.0, high) - first)
        return self._waves.pieces(rows, first.floor(), factor, samples)

    def plain(self, rows: Tensor, samples: int) -> Tensor:
        """Pieces as they were recorded, 3 dB louder or softer at most: float32 [B, samples]."""
        return self.cut(rows, samples) * decibels(3.0 * self._spread(len(rows), 1))

    def varied(self, rows: Tensor, samples: int) -> Tensor:
        """Pieces as others would have spoken and somebody else recorded them: float32 [B, samples]."""
        return self.heard(self.spoken(rows, samples))

    def spoken(self, rows: Tensor, samples: int) -> Tensor:
        """Pieces at another speed and level: float32 [B, samples]."""
        gain = decibels(self._settings.gain_db * self._spread(len(rows), 1))
        return self.cut(rows, samples, self._settings.speed) * gain

    def heard(self, spoken: Tensor) -> Tensor:
        """What noise, microphones and lines make of it: float32 [B, samples]."""
        return self._filtered(self._noisy(spoken)).clamp(-1, 1)

    # --- noise ---

    def _noisy(self, pieces: Tensor) -> Tensor:
        """Adds noise to a share of the pieces."""
        chosen = self._choose(len(pieces), self._settings.noise)
        if not len(chosen):
            return pieces
        low, high = self._settings.snr_db
        snr_db = low + (high - low) * self._uniform(len(chosen), 1)
        noise = self._noise(len(chosen), pieces.shape[1])
        level = active_level(pieces[chosen]) / level_of(noise) * decibels(-snr_db)
        return pieces.index_add(0, chosen, noise * level)

    def _noise(self, count: int, samples: int) -> Tensor:
        """Babble, or noise of a babble's spectrum, or white noise: float32 [count, samples]."""
        babble = self._babble(count, samples)
        spectrum = torch.fft.rfft(babble).abs().unsqueeze(1)
        half = SPECTRUM_SMOOTHING // 2
        smooth = F.avg_pool1d(spectrum, SPECTRUM_SMOOTHING, 1, half, count_include_pad=False)
        kind = self._uniform(count, 1)
        magnitude = torch.where(kind < 0.5, smooth.squeeze(1), smooth.mean(2))
        phase = 2 * math.pi * self._uniform(*magnitude.shape)
        steady = torch.fft.irfft(torch.polar(magnitude, phase), n=samples)
        return torch.where(kind < 0.65, steady, babble)

    def _babble(self, count: int, samples: int) -> Tensor:
        """Some `VOICES` at once: float32 [count, samples]."""
        fewest, most = VOICES
        rows = self._integers(len(self._waves), count * most)
        begin, end = self._waves.speech[rows].float().unbind(1)
        first = begin + (end - begin) * self._uniform(len(rows)) - samples / 2
        pieces = self._waves.pieces(rows, first, torch.ones_like(first), samples)
        voices = (pieces / level_of(pieces)).view(count, most, samples)
        number = fewest + self._integers(most - fewest + 1, count, 1)
        heard = torch.arange(most, device=voices.device) < number
        return (voices * heard.unsqueeze(2)).sum(dim=1)

    # --- lines and microphones ---

    def _filtered(self, pieces: Tensor) -> Tensor:
        """Colours a share of the pieces, and sends a share over a telephone."""
        count, settings = len(pieces), self._settings
        telephone = self._uniform(count) < settings.telephone
        coloured = self._uniform(count, 1) < settings.equalizer
        equalizer = settings.equalizer_db * self._spread(count, EQ_BANDS) * coloured
        low, high = self._between(count, *LINE_LOW), self._between(count, *LINE_HIGH)
        low, high = torch.where(telephone, low, 0.0), torch.where(telephone, high, SAMPLE_RATE)
        heard = filtered(pieces, equalizer, low, high)
        return torch.where(telephone.unsqueeze(1), coded(heard), heard)

    # --- chance ---

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, device=self._waves.device, generator=self.generator)

    def _spread(self, *shape: int) -> Tensor:
        return 2 * self._uniform(*shape) - 1

    def _between(self, count: int, low: float, high: float) -> Tensor:
        return low + (high - low) * self._uniform(count)

    def _integers(self, below: int, *shape: int) -> Tensor:
        return torch.randint(below, shape, device=self._waves.device, generator=self.generator)

    def _choose(self, count: int, share: float) -> Tensor:
        """Which of `count` rows; always the same number of them, so that no device is waited for."""
        order = torch.randperm(count, device=self._waves.device, generator=self.generator)
        return order[: round(share * count)]


def decibels(value: Tensor) -> Tensor:
    """Of level, as a factor."""
    return torch.pow(10.0, value / 20)


def level_of(waveform: Tensor) -> Tensor:
    """Root mean square of each row: [B, N] -> [B, 1]."""
    return waveform.square().mean(dim=1, keepdim=True).sqrt().clamp(min=QUIETEST)


def active_level(waveform: Tensor) -> Tensor:
    """Root mean square over each row's frames of speech, by their power: [B, N] -> [B, 1]."""
    whole = waveform[:, : waveform.shape[1] // FRAME * FRAME]
    power = whole.reshape(len(whole), -1, FRAME).square().mean(dim=2)
    speech = power >= power.amax(dim=1, keepdim=True) * 10 ** (-SPEECH_RANGE_DB / 10)
    mean: Tensor = (power * speech).sum(dim=1, keepdim=True) / speech.sum(dim=1, keepdim=True)
    return mean.sqrt().clamp(min=QUIETEST)


def filtered(waveform: Tensor, equalizer: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Filters each row in the frequency domain.

    Args:
        waveform: float32 [B, N].
        equalizer: dB at `EQ_BANDS` frequencies, evenly spaced in octaves: float32 [B, EQ_BANDS].
        low: Hz, below which little passes, 0 for no such limit: float32 [B].
        high: Hz, above which little passes: float32 [B].

    Returns:
        float32 [B, N].
    """
    spectrum = torch.fft.rfft(waveform)
    frequency = torch.linspace(0, SAMPLE_RATE / 2, spectrum.shape[1], device=waveform.device)
    octaves = math.log2(SAMPLE_RATE / 2 / EQ_LOWEST)
    band = (frequency.clamp(min=EQ_LOWEST) / EQ_LOWEST).log2() / octaves * (EQ_BANDS - 1)
    lower = band.long().clamp(max=EQ_BANDS - 2)
    share = band - lower
    gain = decibels(equalizer[:, lower] * (1 - share) + equalizer[:, lower + 1] * share)
    low, high = low.unsqueeze(1), high.unsqueeze(1)
    rising = torch.where(low > 0, torch.sigmoid((frequency - low) / (0.08 * low + 5)), 1.0)
    falling = torch.sigmoid((high - frequency) / (0.02 * high))
    result: Tensor = torch.fft.irfft(spectrum * gain * rising * falling, n=waveform.shape[1])
    return result


def coded(waveform: Tensor) -> Tensor:
    """Through mu-law at half the sample rate, so that its noise stays in the line's own band.

    Args:
        waveform: float32 [B, N], N a multiple of 4.

    Returns:
        float32 [B, N], nothing in its upper half.
    """
    samples = waveform.shape[1]
    low = torch.fft.rfft(waveform)[:, : samples // 4 + 1]
    narrow = mu_law(torch.fft.irfft(low, n=samples // 2) / 2)
    result: Tensor = torch.fft.irfft(torch.fft.rfft(narrow) * 2, n=samples)
    return result


def mu_law(waveform: Tensor) -> Tensor:
    """Through eight bits of mu-law and back (the formula, not G.711's segments)."""
    scale = math.log1p(MU)
    compressed = torch.sign(waveform) * torch.log1p(MU * waveform.abs().clamp(max=1)) / scale
    steps = ((compressed + 1) / 2 * MU).round() / MU * 2 - 1
    return torch.sign(steps) * torch.expm1(steps.abs() * scale) / MU


def masked(
    log_mel: Tensor, settings: Augment, generator: torch.Generator, *, share: float = 0.8
) -> Tensor:
    """Log-mel of other vocal tracts, with holes.

    The mel axis is stretched or shortened, as vocal tracts differ in length (Jaitly and Hinton 2013,
    "Vocal Tract Length Perturbation"); then two stripes of time and two of frequency fall silent
    (Park et al. 2019, "SpecAugment") in a share of the rows.

    Args:
        log_mel: float32 [B, n_mels, T].
        settings: `warp`, `time_mask` and `mel_mask` are read.
        generator: on the same device.
        share: of the rows that get holes.

    Returns:
        float32 [B, n_mels, T].
    """
    rows, mels, frames = log_mel.shape
    device = log_mel.device

    def uniform() -> Tensor:
        return torch.rand(rows, 1, device=device, generator=generator)

    bins = torch.arange(mels, device=device)
    source = (bins * (1 + settings.warp * (2 * uniform() - 1))).clamp(max=mels - 1)
    lower = source.long().clamp(max=mels - 2)
    part = (source - lower).unsqueeze(2)
    below, above = (
        log_mel.gather(1, (lower + shift).unsqueeze(2).expand(-1, -1, frames)) for shift in (0, 1)
    )
    warped = below * (1 - part) + above * part
    silence = warped.amin(dim=(1, 2), keepdim=True)
    holes = uniform() < share
    times = torch.arange(frames, device=device)
    for _ in range(2):
        hidden = _stripe(times, uniform(), uniform() * settings.time_mask * holes)
        warped = torch.where(hidden.unsqueeze(1), silence, warped)
        hidden = _stripe(bins, uniform(), uniform() * settings.mel_mask * holes)
        warped = torch.where(hidden.unsqueeze(2), silence, warped)
    return warped


def _stripe(positions: Tensor, begin: Tensor, length: Tensor) -> Tensor:
    """bool [B, positions]: from a share `begin` of them on, `length` positions."""
    first = begin * len(positions)
    return (positions >= first) & (positions < first + length)
