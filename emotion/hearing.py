"""What a session hears: bytes of its stream in, samples of the analysed channels at 16 kHz out.

Telephony sends 20 ms at a time and a call center hundreds of such streams: what numpy and the resampler
cost for each call is several times what they cost for its samples. So short frames are only kept until
100 ms have come together, or until they complete a window, which then waits for nothing.
"""

from typing import Final

from emotion.audio import Decoder, Pcm, Resampler, Samples, to_pcm
from emotion.contract import SAMPLE_RATE
from emotion.messages import Start

PORTION_S: Final = 0.1
"""Seconds of audio that are decoded and resampled together."""


class Hearing:
    """Decodes and resamples one stream.

    Args:
        start: the stream's configuration, checked.

    Attributes:
        available: samples at 16 kHz that have left the resampler.
    """

    def __init__(self, start: Start) -> None:
        self.available = 0
        self._rate = start.sample_rate
        self._decoder = Decoder(start.encoding, len(start.channels))
        columns = [start.channels.index(name) for name in start.analyzed]
        self._columns = slice(None) if start.analyzed == start.channels else columns  # no copy
        self._resampler = Resampler(start.sample_rate, len(columns))
        # A float sample that is not finite is to be refused with the frame that brings it.
        self._portion = 0 if start.encoding == "pcm_f32le" else round(PORTION_S * self._rate)

    @property
    def frames(self) -> int:
        """Samples of each channel received, at the stream's own rate."""
        return self._decoder.received

    @property
    def seconds(self) -> float:
        """Of audio received."""
        return self.frames / self._rate

    @property
    def reached(self) -> int:
        """Where the received audio ends, in samples at 16 kHz from its beginning."""
        # At the very end the resampler rounds up.
        return max(self.available, self.frames * SAMPLE_RATE // self._rate)

    @property
    def rest(self) -> int:
        """Bytes of a sample that is not complete."""
        return self._decoder.rest

    def keep(self, data: bytes | bytearray | memoryview) -> bool:
        """Receives audio, also 0 bytes, also some that split a sample.

        Returns:
            whether so much has come together that it should be taken now.
        """
        self._decoder.keep(data)
        return self._decoder.held >= self._portion

    def take(self, *, last: bool = False) -> Pcm:
        """All that was kept: int16 [n, channels], 16 kHz; nothing of it is kept any more.

        Args:
            last: whether no more will come.

        Raises:
            AudioError: a sample is not finite.
        """
        return self._resampled(self._decoder.decode()[:, self._columns], last)

    def gap(self, frames: int) -> Pcm:
        """Silence in the place of so many lost samples of each channel; as `take`."""
        return self._resampled(self._decoder.gap(frames)[:, self._columns], last=False)

    def forget_rest(self) -> None:
        """Drops an incomplete sample: whoever sends on begins with a whole one."""
        self._decoder.forget_rest()

    def _resampled(self, samples: Samples, last: bool) -> Pcm:
        pcm = to_pcm(self._resampler.feed(samples, last))
        self.available += len(pcm)
        return pcm
