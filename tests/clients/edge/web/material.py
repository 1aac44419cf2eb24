"""What the page is held against, made by the project itself: python material.py FOLDER.

Writes speech.wav (16 kHz), wide.wav (the same at 44.1 kHz, stereo), fp32/monitor.onnx, a tiny random
model, and for it and the embedded one a session's events, int8.jsonl and fp32.jsonl.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

from clients.synthetic import speech_like
from emotion.engine import default_model, load_engine
from emotion.messages import Emotion, encode
from export.build import Settings, lowered, save
from export.convert import convert
from tests.export.conftest import METRICS, tiny_networks
from tests.fakes import heard
from train.recipe import load_recipe

RATE = 16_000
SECONDS = 5.6  # the last window is partial


def main(folder: Path) -> None:
    speech = speech_like(SECONDS, RATE, seed=11)
    soundfile.write(folder / "speech.wav", speech, RATE, subtype="PCM_16")
    wide = speech_like(SECONDS, 44_100, seed=11)
    soundfile.write(folder / "wide.wav", np.stack([wide, wide], 1), 44_100, subtype="PCM_16")
    write_fp32(folder / "fp32")
    pcm = soundfile.read(folder / "speech.wav", dtype="int16")[0].tobytes()
    for name, model in (("int8", default_model()), ("fp32", folder / "fp32")):
        events = heard(load_engine(model, "cpu"), [pcm], vad=False, adapt=False)
        lines = [encode(event) for event in events if isinstance(event, Emotion)]
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def write_fp32(folder: Path) -> None:
    folder.mkdir()
    networks = tiny_networks(load_recipe("stream"))
    monitor = lowered(convert(networks, "monitor"), Settings())
    save({"monitor": monitor}, networks, Settings(), METRICS, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
