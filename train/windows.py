"""A recording as the server hears it: which windows it cuts, and how much speech is in them.

Nothing here is a copy of the server's rules: a real `Session` cuts and a real `Engine` listens for
speech. Only the model is left out; whoever wants to know what it says of a window asks it afterwards.
Needs ONNX Runtime, for voice activity.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from emotion.audio import from_pcm, to_pcm
from emotion.contract import SAMPLE_RATE, SHORTEST_WINDOW, Contract, pack
from emotion.engine import Engine, Judgement, Window
from emotion.labels import EMOTIONS
from emotion.parsing import start_from
from emotion.session import Session
from emotion.vad import FRAME, VoiceActivity, VoiceTrack
from train.encoder import CONTEXT_SAMPLES

Waveform = npt.NDArray[np.float32]

WINDOW_S: Final = 3.0  # the protocol's defaults
HOP_S: Final = 1.0

PART: Final = 256 * FRAME  # samples heard at once: some eight seconds


@dataclass(frozen=True)
class Heard:
    """One window.

    Attributes:
        start: its first sample, counted at 16 kHz from the recording's start.
        end: one past its last sample.
        waveform: float32 [end - start], 16 kHz, -1 to 1.
        speech_ratio: share of speech in it.
    """

    start: int
    end: int
    waveform: Waveform
    speech_ratio: float


def windows(waveform: Waveform, voice: VoiceActivity) -> list[Heard]:
    """The windows that a stream of this one recording gets, the partial one at `stop` included.

    Args:
        waveform: float32 [n], 16 kHz, -1 to 1; what a call would carry is these samples at 16 bits.
        voice: voice activity.
    """
    engine = Engine(NO_CONTRACT, "cpu", _NoModel(), None, voice)
    return [
        Heard(window.start, window.end, from_pcm(window.pcm), judgement.speech_ratio or 0.0)
        for window, judgement in served(waveform, engine, adapt=False)
    ]


def served(
    waveform: Waveform, engine: Engine, *, adapt: bool
) -> Iterator[tuple[Window, Judgement]]:
    """All that a session of the protocol's defaults has judged while it hears a recording.

    Args:
        waveform: float32 [n], 16 kHz, -1 to 1.
        engine: judges the windows.
        adapt: whether the session adapts to its channel.
    """
    start = start_from(
        sample_rate=SAMPLE_RATE, window_s=WINDOW_S, hop_s=HOP_S, vad=True, adapt=adapt
    )
    session = Session(
        start, engine.contract, engine.prior(), session_id="recording", may_skip=False
    )
    pcm = to_pcm(waveform)
    for begin in range(0, len(pcm), SAMPLE_RATE):
        session.feed(pcm[begin : begin + SAMPLE_RATE].tobytes(), 0.0)
        yield from _judged(session, engine)
    session.stop()
    yield from _judged(session, engine)


def _judged(session: Session, engine: Engine) -> Iterator[tuple[Window, Judgement]]:
    while (item := session.poll(0.0)) is not None:
        if isinstance(item, Window):
            judgement = engine.judge(item)
            session.finish(item, judgement, 0.0)
            yield item, judgement


def speech_s(waveform: Waveform, voice: VoiceActivity) -> float:
    """Seconds of speech in a recording of any length."""
    pcm, track, spoken = to_pcm(waveform), VoiceTrack.begin(), 0.0
    while track.position + FRAME <= len(pcm):  # by parts: a track remembers its last ten seconds
        begin = track.position
        track = voice.listen(track, pcm[begin : begin + PART])
        spoken += track.speech_s(begin, track.position)
    return spoken


class _NoModel:
    """Stands in for `monitor.onnx`: every window says nothing."""

    def run(self, _: Sequence[str], __: dict[str, Any]) -> list[Waveform]:
        return [np.full((1, len(EMOTIONS)), 1 / len(EMOTIONS), np.float32), np.zeros((1, 1), "f4")]


NO_CONTRACT: Final = Contract(
    graph="monitor",
    name="none",
    version="0",
    labels=EMOTIONS,
    sample_rate=SAMPLE_RATE,
    min_samples=SHORTEST_WINDOW,
    max_samples=CONTEXT_SAMPLES,
    embedding_dim=1,
    embedding_mean=pack(np.zeros(1, np.float32)),
    embedding_std=pack(np.ones(1, np.float32)),
    adaptable=False,
    prior_s=1.0,
    precision="fp32",
    target="",
    opset=18,
    recipe={},
    metrics={},
    licence="",
    data="",
)
