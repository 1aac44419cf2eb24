"""What a voice sounds like, a line of JSON each second; needs onnxruntime, numpy and a monitor.onnx.

python monitor.py speech.wav                              (monitor.onnx lies beside this file)
arecord -t raw -f S16_LE -r 16000 | python monitor.py - models/monitor.onnx
"""

import json
import os
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

WINDOW_S, HOP_S = 3, 1  # how much is heard at once, and how often


def opened(path: str, rate: int) -> Callable[[int], bytes]:
    """What reads the next n samples, 16 bits, one channel; fewer of them at the end."""
    if path == "-":
        return lambda samples: sys.stdin.buffer.read(2 * samples)
    sound = wave.open(path, "rb")
    found = sound.getframerate(), 8 * sound.getsampwidth(), sound.getnchannels()
    if found != (rate, 16, 1):
        raise wave.Error("{} Hz, {} bits, {} channel(s)".format(*found))
    return sound.readframes


def judge(path: str, model: str) -> None:
    """Prints for each window which seconds it covers, and what the model says of them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    try:
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        about = session.get_modelmeta().custom_metadata_map
        labels, rate = json.loads(about["emotion.labels"]), int(about["emotion.sample_rate"])
        longest = min(WINDOW_S * rate, int(about["emotion.max_samples"]))
    except Exception as error:  # onnxruntime's own errors share no public root
        sys.exit(f"{model}: {error!r:.200}; expected the monitor.onnx that emotion-export writes")
    try:
        read = opened(path, rate)
    except (OSError, EOFError, wave.Error) as error:
        want = f"ffmpeg -i THIS -ar {rate} -ac 1 -c:a pcm_s16le speech.wav makes one that can"
        sys.exit(f"{path}: cannot be read ({str(error) or 'it is empty'}); {want}")
    window, end = np.zeros(0, np.float32), 0
    while len(data := read(HOP_S * rate)) >= HOP_S * rate:  # in bytes: at least half a hop is new
        new = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32_768
        window, end = np.concatenate([window, new])[-longest:], end + len(new)
        row = session.run(["probabilities"], {"waveform": window[np.newaxis]})[0][0].tolist()
        said = {"start_s": (end - len(window)) / rate, "end_s": end / rate}
        scores = {"probabilities": dict(zip(labels, row, strict=True))}
        label = {"label": labels[int(np.argmax(row))]}
        print(json.dumps(said | label | scores), flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        judge(*[*sys.argv[1:], str(Path(__file__).with_name("monitor.onnx"))][:2])
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(0)  # nobody listens any more
