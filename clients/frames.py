"""A call's audio as WebSocket frames, made once and sent by all streams of a load.

RFC 6455 has clients mask each frame with a fresh key, so that what a script sends cannot be taken for
HTTP by a proxy in between. Here nobody but us chooses the audio, so a frame keeps its mask, and sending
one costs no more than a write to the socket.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import soxr
from websockets.frames import Frame, Opcode

from clients.recordings import open_recording
from clients.synthetic import conversation, pauses
from emotion.audio import RESAMPLING_QUALITY, Samples, from_pcm, to_mulaw, to_pcm
from emotion.errors import AudioError

CALL_S: Final = 60.0  # of synthetic speech, before it begins again
MAX_CALL_S: Final = 300.0
"""Of recordings, before they begin again: what stands in memory is bounded."""
SUFFIXES: Final = (".flac", ".mp3", ".ogg", ".wav")

LoadEncoding = Literal["pcm_s16le", "mulaw"]
RATES: Final[dict[LoadEncoding, int]] = {"pcm_s16le": 16_000, "mulaw": 8_000}
"""Hz of what is sent: a microphone's or a telephone's."""


@dataclass(frozen=True)
class Frames:
    """A call that goes round and round.

    Attributes:
        frames: masked WebSocket frames of the same length.
        samples: in each of them.
        rate: Hz.
    """

    frames: list[bytes]
    samples: int
    rate: int


def framed(samples: Samples, encoding: LoadEncoding, frame_ms: int) -> Frames:
    """Cuts a call into frames; what does not fill the last one is left out.

    Args:
        samples: float32 [n] at the encoding's rate; at least one frame.
        encoding: of what is sent.
        frame_ms: milliseconds of audio in a frame.
    """
    rate = RATES[encoding]
    size = rate * frame_ms // 1000
    pcm = to_pcm(samples)
    data = pcm.tobytes() if encoding == "pcm_s16le" else to_mulaw(pcm)
    step = size * len(data) // len(pcm)
    pieces = (data[first : first + step] for first in range(0, len(data) - step + 1, step))
    return Frames([masked(piece) for piece in pieces], size, rate)


def masked(data: bytes | str) -> bytes:
    """A whole message as a client sends it."""
    if isinstance(data, str):
        return Frame(Opcode.TEXT, data.encode()).serialize(mask=True)
    return Frame(Opcode.BINARY, data).serialize(mask=True)


def synthetic(share: float, encoding: LoadEncoding, window_s: float) -> Samples:
    """A minute of synthetic speech of which a share of the windows is judged."""
    return conversation(CALL_S, share, RATES[encoding], window_s)


def recorded(folder: Path, share: float, encoding: LoadEncoding, window_s: float) -> Samples:
    """The recordings of a folder one after the other, up to `MAX_CALL_S`.

    Args:
        folder: WAV, FLAC, OGG and MP3 files, also in folders inside it.
        share: of the windows that are to hold speech, above 0; each recording counts as speech
            throughout, and is followed by a pause as long as that takes.
        encoding: of what is sent.
        window_s: seconds that a window covers.

    Returns:
        float32 [n] at the encoding's rate.

    Raises:
        AudioError: there is no recording, or one cannot be read.
    """
    rate, parts, left_s = RATES[encoding], list[Samples](), MAX_CALL_S
    for path in _files(folder):
        samples = _read(path, rate, left_s)
        pause_s = pauses(len(samples) / rate, share, window_s)
        parts += [samples, np.zeros(round(pause_s * rate), np.float32)]
        left_s -= sum(len(part) for part in parts[-2:]) / rate
        if left_s <= 0:
            break
    return np.concatenate(parts)


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise AudioError(f"{folder}: expected a folder of recordings")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise AudioError(f"{folder}: holds no recordings; expected WAV, FLAC, OGG or MP3 files")
    yield from paths


def _read(path: Path, rate: int, most_s: float) -> Samples:
    """A recording's first seconds: float32 [n] at `rate`, mixed down."""
    pcm = bytearray()
    with open_recording(path) as recording:
        most = round(most_s * recording.sample_rate) * 2
        for portion in recording.portions(1.0):
            pcm += portion
            if len(pcm) >= most:
                break
    samples = from_pcm(np.frombuffer(bytes(pcm[:most]), "<i2"))
    resampled: Samples = soxr.resample(
        samples, recording.sample_rate, rate, quality=RESAMPLING_QUALITY
    )
    return resampled
