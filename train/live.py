"""Whole calls as the server judges them: a real session and a real engine over a trained model.

Recordings follow each other on one channel. The session cuts its windows, listens for speech, adapts to
the voice and notices another one as it does for a caller; only ONNX Runtime's part is PyTorch's here.
What is embedded does not depend on adaptation: embeddings are computed once, and given back in order.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from emotion.contract import pack
from emotion.engine import Engine, Window
from emotion.vad import MIN_SPEECH_RATIO, VoiceActivity, VoiceTrack
from train.checkpoint import Checkpoint
from train.encoder import Embedder
from train.head import Head
from train.windows import NO_CONTRACT, Waveform, served, windows

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Said:
    """What is said of one window all of whose speech is of one clip.

    Attributes:
        place: of that clip in the call, from 0.
        adapted: probabilities, as the server sends them: float32 [8].
        unadapted: as it would send them without adaptation: float32 [8].
    """

    place: int
    adapted: Vector
    unadapted: Vector


def judged_windows(call: Sequence[Waveform], voice: VoiceActivity) -> list[Waveform]:
    """The windows of a call that the server runs the model on, in order: float32 [any] each.

    Args:
        call: float32 [n] each, 16 kHz: what follows each other.
        voice: voice activity.
    """
    heard = windows(np.concatenate(call), voice)
    return [window.waveform for window in heard if window.speech_ratio >= MIN_SPEECH_RATIO]


def live(
    call: Sequence[Waveform],
    checkpoint: Checkpoint,
    embeddings: Iterable[Vector],
    voice: VoiceActivity,
    min_speech: float,
) -> list[Said]:
    """Judges a call.

    Args:
        call: float32 [n] each, 16 kHz: what follows each other.
        checkpoint: a model that can adapt.
        embeddings: float32 [D] of each of `judged_windows`.
        voice: voice activity.
        min_speech: share of speech from which a window counts.
    """
    network = _Network(checkpoint, iter(embeddings))
    contract = msgspec.structs.replace(
        NO_CONTRACT, **statistics(checkpoint.embedder, checkpoint.head)
    )
    engine = Engine(contract, "cpu", network, network, voice)
    ends = np.cumsum([len(waveform) for waveform in call])
    said = []
    for window, judgement in served(np.concatenate(call), engine, adapt=True):
        probabilities, track = judgement.probabilities, judgement.track
        if probabilities is None or track is None or (judgement.speech_ratio or 0.0) < min_speech:
            continue
        place = _only_clip(window, track, ends)
        if place is not None:
            said.append(Said(place, probabilities, network.unadapted))
    return said


def _only_clip(window: Window, track: VoiceTrack, ends: npt.NDArray[np.int64]) -> int | None:
    """Which clip all speech of a window is of; None where it is of several."""
    first, last = np.searchsorted(ends, [window.start, window.end - 1], side="right")
    bounds = [0, *ends.tolist()]
    spoken = [
        place
        for place in range(first, last + 1)
        if track.speech_s(max(window.start, bounds[place]), min(window.end, bounds[place + 1]))
    ]
    return spoken[0] if len(spoken) == 1 else None


class _Network:
    """Stands in for both ONNX sessions.

    Attributes:
        unadapted: what the last window would be without adaptation: float32 [8].
    """

    def __init__(self, checkpoint: Checkpoint, embeddings: Iterator[Vector]) -> None:
        self._head = checkpoint.head
        self._embeddings = embeddings
        self.unadapted: Vector = np.zeros(0, np.float32)

    def run(self, names: Sequence[str], feeds: dict[str, Any]) -> list[Vector]:
        """As `onnxruntime.InferenceSession.run`."""
        with torch.inference_mode():
            if "waveform" in feeds:
                embedding = next(self._embeddings)[np.newaxis]
                said: Vector = self._head(torch.from_numpy(embedding)).softmax(dim=1).numpy()
                self.unadapted = said[0]
                return [said, embedding]
            row, mean, inv_std = (
                torch.from_numpy(feeds[name]) for name in ("embedding", "mean", "inv_std")
            )
            found = {
                "probabilities": self._head(row, mean, inv_std).softmax(dim=1).numpy(),
                "traits": self._head.traits(row, mean, inv_std).numpy(),
            }
            return [found[name] for name in names]


def statistics(embedder: Embedder, head: Head) -> dict[str, Any]:
    """The fields of a contract by which a session adapts."""
    recipe = embedder.recipe
    return {
        "embedding_dim": embedder.dim,
        "embedding_mean": pack(head.mean.numpy()),
        "embedding_std": pack(head.std.numpy()),
        "adaptable": recipe.standardize,
        "prior_s": recipe.prior_s,
        "emotion_traits": pack(head.emotion_traits.numpy()),
        "voice_variance": pack(head.voice_variance.numpy()),
        "trust": recipe.trust if recipe.traits else 0.0,
    }
