"""Speech in the places and forms in which the edge's programs read it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import soundfile

from clients.synthetic import speech_like
from emotion.audio import Pcm, to_pcm
from emotion.engine import Engine, default_model
from emotion.messages import Emotion
from tests.fakes import heard

MODEL = default_model() / "monitor.onnx"


def speech(samples: int) -> Pcm:
    """int16 [samples] at 16 kHz."""
    return to_pcm(speech_like(samples / 16_000, seed=5)[:samples])


def recording(path: Path, pcm: Pcm) -> Path:
    """A WAV file of these samples."""
    soundfile.write(path, pcm, 16_000)
    return path


def said(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    """The lines of a run that went well."""
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(lines: list[dict[str, Any]], engine: Engine, pcm: bytes, *, within: float) -> int:
    """The lines say what a session of the engine says of these samples; gives how many windows."""
    events = [
        event
        for event in heard(engine, [pcm], vad=False, adapt=False)
        if isinstance(event, Emotion)
    ]
    assert [(line["start_s"], line["end_s"], line["label"]) for line in lines] == [
        (event.start_s, event.end_s, event.label) for event in events
    ]
    for line, event in zip(lines, events, strict=True):
        assert line["probabilities"] == pytest.approx(event.probabilities, abs=within)
    return len(lines)
