"""Voice activity: Silero's model in an ONNX Runtime session of our own.

The weights are Silero VAD v5 (MIT), in a graph that hears many frames a run (`export/voice.py`). The
model hears 32 ms at a time and remembers what came before, so its result is a function of the stream,
not of how windows are cut.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from emotion.audio import Pcm, from_pcm
from emotion.contract import SAMPLE_RATE

FRAME: Final = 512  # samples, 32 ms: what Silero takes at 16 kHz
FRAME_S: Final = FRAME / SAMPLE_RATE
CONTEXT: Final = 64  # samples of the previous frame that go before each frame
STATE: Final = (2, 1, 128)  # of the recurrent layer: its output and its cell
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
        context: the last 64 samples, float32 [64].
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
            np.zeros(STATE, np.float32),
            np.zeros(CONTEXT, np.float32),
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
        session: an `onnxruntime.InferenceSession` of `voice.onnx`.
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
        if not whole:
            return track
        heard = np.concatenate([track.context, from_pcm(pcm[: whole * FRAME])])
        # Each frame with what came before it, as the original is fed: [whole, 64 + 512].
        frames = sliding_window_view(heard, CONTEXT + FRAME)[::FRAME]
        probabilities, state = self._session.run(
            ["speech", "next_state"], {"frames": frames, "state": track.state}
        )
        speech = np.concatenate([track.speech, probabilities >= SPEECH_PROBABILITY])
        return VoiceTrack(
            track.position + whole * FRAME,
            state,
            heard[-CONTEXT:].copy(),  # a view would keep all of the waveform alive
            speech[-MEMORY_FRAMES:],
        )


def voice_path() -> Path:
    """The embedded voice activity model."""
    return Path(str(resources.files("emotion") / "models" / "voice" / "voice.onnx"))
