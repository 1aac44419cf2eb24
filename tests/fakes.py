"""Small models that are quick to judge by and honest about what they heard.

`write_model` makes real ONNX files with a whole contract, for what must run through ONNX Runtime;
`fake_engine` is the real `Engine` over NumPy, for what must run a thousand times. Both judge a window
by four statistics of its waveform, so that another window gives another result. `started`, `emotion`,
`silence` and `summary_of` are what a session says, for where no model has to be heard.
"""

import threading
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from emotion.contract import Contract, pack, to_metadata
from emotion.engine import Engine, Judgement, Window
from emotion.labels import EMOTIONS
from emotion.messages import (
    Emotion,
    Event,
    Flushed,
    Limits,
    Model,
    Silence,
    Smoothed,
    Started,
    Summary,
    Warning,
)
from emotion.parsing import start_from
from emotion.session import Session
from emotion.vad import FRAME, MEMORY_FRAMES, VoiceTrack

Floats = npt.NDArray[np.float32]
Item = Event | Flushed | Summary | Warning

WIDTH: Final = 4
MEAN: Final = np.array([0.0, 0.1, 0.02, 0.05], np.float32)
STD: Final = np.array([0.1, 0.1, 0.05, 0.05], np.float32)
WEIGHTS: Final = np.random.default_rng(7).normal(size=(WIDTH, 8)).astype(np.float32)
TRAITS: Final = np.random.default_rng(8).normal(size=(WIDTH, 2)).astype(np.float32)
EMOTION_TRAITS: Final = np.random.default_rng(9).normal(size=(8, 2)).astype(np.float32)
VOICE_VARIANCE: Final = np.array([0.5, 2.0], np.float32)
SECOND: Final = bytes(32_000)  # silence as pcm_s16le at 16 kHz
LOUD: Final = 400  # mean of |int16| from which the fake voice activity takes a frame for speech


def contract(**changes: Any) -> Contract:
    """A whole contract, apart from the changes."""
    fields: dict[str, Any] = {
        "graph": "monitor",
        "name": "fake",
        "version": "1",
        "labels": EMOTIONS,
        "sample_rate": 16_000,
        "min_samples": 4_000,
        "max_samples": 480_000,
        "embedding_dim": WIDTH,
        "embedding_mean": pack(MEAN),
        "embedding_std": pack(STD),
        "adaptable": True,
        "prior_s": 6.0,
        "emotion_traits": pack(EMOTION_TRAITS),
        "voice_variance": pack(VOICE_VARIANCE),
        "trust": 0.3,
        "precision": "fp32",
        "target": "",
        "opset": 18,
        "recipe": {"name": "fake"},
        "metrics": {"ua": 0.5},
        "licence": "none",
        "data": "none",
    }
    return Contract(**fields | changes)


# --- over ONNX Runtime ---


def write_model(
    folder: Path,
    *,
    classifier: bool = True,
    metadata: dict[str, dict[str, str | None]] | None = None,
    **changes: Any,
) -> Path:
    """Writes monitor.onnx and classifier.onnx.

    Args:
        folder: where to; made if need be.
        classifier: whether that file is written too.
        metadata: per graph, raw metadata that overrides the contract's; None deletes.
        changes: to the contract.
    """
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    for graph, build in (("monitor", _monitor), ("classifier", _classifier)):
        if graph == "classifier" and not classifier:
            continue
        model = build()
        fields: dict[str, str | None] = dict(to_metadata(contract(**{"graph": graph} | changes)))
        fields |= (metadata or {}).get(graph, {})
        onnx.helper.set_model_props(model, {k: v for k, v in fields.items() if v is not None})
        onnx.save(model, folder / f"{graph}.onnx")
    return folder


def _monitor() -> Any:
    from onnx import helper

    nodes = [
        helper.make_node("Abs", ["waveform"], ["loud"]),
        helper.make_node("Mul", ["waveform", "waveform"], ["square"]),
        helper.make_node("Mul", ["loud", "square"], ["cube"]),
        *(
            helper.make_node("ReduceMean", [name, "last"], [f"mean_{name}"], keepdims=1)
            for name in ("waveform", "loud", "square", "cube")
        ),
        helper.make_node(
            "Concat",
            [f"mean_{name}" for name in ("waveform", "loud", "square", "cube")],
            ["embedding"],
            axis=1,
        ),
        *_head(),
    ]
    return _model(
        nodes,
        {"waveform": ["batch", "samples"]},
        {"probabilities": ["batch", 8], "embedding": ["batch", WIDTH]},
        {"last": np.array([1]), "mean": MEAN, "inv_std": 1 / STD, "weights": WEIGHTS},
    )


def _classifier() -> Any:
    row: list[str | int] = ["batch", WIDTH]
    from onnx import helper

    traits = helper.make_node("MatMul", ["normal", "projection"], ["traits"])
    return _model(
        [*_head(), traits],
        {"embedding": row, "mean": row, "inv_std": row},
        {"probabilities": ["batch", 8], "traits": ["batch", TRAITS.shape[1]]},
        {"weights": WEIGHTS, "projection": TRAITS},
    )


def _head() -> list[Any]:
    from onnx import helper

    return [
        helper.make_node("Sub", ["embedding", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "inv_std"], ["normal"]),
        helper.make_node("MatMul", ["normal", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]


def _model(
    nodes: list[Any],
    inputs: dict[str, list[str | int]],
    outputs: dict[str, list[str | int]],
    constants: dict[str, npt.NDArray[Any]],
) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "fake",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items()],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10)


# --- over NumPy ---


class FakeMonitor:
    """monitor.onnx's stand-in; counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, names: list[str], feeds: dict[str, Floats]) -> list[Floats]:
        self.runs += 1
        x = feeds["waveform"].astype(np.float64)
        loud = np.abs(x)
        stats = np.stack([v.mean(1) for v in (x, loud, x * x, loud * x * x)], 1)
        embedding = stats.astype(np.float32)
        return [_softmax((embedding - MEAN) / STD @ WEIGHTS), embedding]


class FakeClassifier:
    """classifier.onnx's stand-in."""

    def run(self, names: list[str], feeds: dict[str, Floats]) -> list[Floats]:
        normal = (feeds["embedding"] - feeds["mean"]) * feeds["inv_std"]
        outputs = {"probabilities": _softmax(normal @ WEIGHTS), "traits": normal @ TRAITS}
        return [outputs[name] for name in names]


class FakeVoice:
    """Voice activity by loudness; each frame for itself, a whole number of frames at a time."""

    def listen(self, track: VoiceTrack, pcm: npt.NDArray[np.int16]) -> VoiceTrack:
        whole = len(pcm) // FRAME
        frames = np.abs(pcm[: whole * FRAME].astype(np.float32)).reshape(-1, FRAME)
        heard = np.concatenate([track.speech, frames.mean(1) > LOUD])[-MEMORY_FRAMES:]
        return VoiceTrack(track.position + whole * FRAME, track.state, track.context, heard)


def fake_engine(**changes: Any) -> Engine:
    """The real engine over NumPy."""
    voice: Any = FakeVoice()
    return Engine(contract(**changes), "cpu", FakeMonitor(), FakeClassifier(), voice)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    result: Floats = (powers / powers.sum(1, keepdims=True)).astype(np.float32)
    return result


class Choosy(Engine):
    """An engine that fails, or waits, for windows of one channel; others pass to the real one."""

    def __init__(self, engine: Engine, channel: str, gate: threading.Event | None = None) -> None:
        self.__dict__ = dict(engine.__dict__)
        self._channel, self._gate = channel, gate

    def judge(self, window: Window) -> Judgement:
        if window.channel == self._channel:
            if self._gate is None:
                raise RuntimeError("the model broke")
            self._gate.wait(20)
        return super().judge(window)


# --- what a session says ---


def started(**fields: Any) -> Started:
    """A `started`, apart from the fields given."""
    whole: dict[str, Any] = {
        "id": "s:0",
        "session_id": "s",
        "stream_id": "s",
        "encoding": "pcm_s16le",
        "sample_rate": 16_000,
        "channels": ("mono",),
        "analyze": ("mono",),
        "window_s": 3,
        "hop_s": 1,
        "vad": True,
        "adapt": False,
        "metadata": {},
        "smoothing_half_life_s": 2,
        "model": Model(name="stream", version="1", labels=EMOTIONS),
        "limits": Limits(),
    }
    return Started(**whole | fields)


def emotion(label: str, confidence: float, *, seq: int = 1, **fields: Any) -> Emotion:
    """An `emotion` whose other labels share the rest evenly, apart from the fields given."""
    rest = (1 - confidence) / (len(EMOTIONS) - 1)
    probabilities = dict.fromkeys(EMOTIONS, rest) | {label: confidence}
    whole: dict[str, Any] = {
        "id": f"s:{seq}",
        "seq": seq,
        "stream_id": "s",
        "channel": "mono",
        "start_s": 0.0,
        "end_s": 1.0,
        "label": label,
        "confidence": confidence,
        "probabilities": probabilities,
        "smoothed": Smoothed(label=label, probabilities=probabilities),
        "speech_ratio": 1.0,
        "adapted_s": 0.0,
        "latency_ms": 1.0,
    }
    return Emotion(**whole | fields)


def silence(seq: int, end_s: float = 0.0, **fields: Any) -> Silence:
    """A `silence`, apart from the fields given."""
    whole: dict[str, Any] = {
        "id": f"s:{seq}",
        "seq": seq,
        "stream_id": "s",
        "channel": "mono",
        "start_s": 0.0,
        "end_s": end_s,
        "speech_ratio": 0.0,
        "latency_ms": 1.0,
    }
    return Silence(**whole | fields)


def summary_of(**fields: Any) -> Summary:
    """The summary of `new_session`'s session, apart from the fields given."""
    whole: dict[str, Any] = {
        "id": "s:end",
        "session_id": "s",
        "stream_id": "s",
        "windows": 0,
        "inferred": 0,
        "silent": 0,
        "skipped": 0,
        "dominant": {"mono": None},
    }
    return Summary(**whole | fields)


# --- a driver ---


def new_session(engine: Engine, *, may_skip: bool = True, **fields: Any) -> Session:
    """A session of this engine with `start`'s fields."""
    return Session(
        start_from(**fields), engine.contract, engine.prior(), session_id="s", may_skip=may_skip
    )


def judge_all(session: Session, engine: Engine, now: float = 0.0) -> Iterator[Item]:
    """Judges all that the session hands out; `now` stands still meanwhile."""
    while (item := session.poll(now)) is not None:
        if isinstance(item, Window):
            yield session.finish(item, engine.judge(item), now)
        else:
            yield item


def heard(engine: Engine, pieces: Iterable[bytes | str], **fields: Any) -> list[Item]:
    """All that a session answers to these bytes and flushes (a str is a flush's id), then to `stop`."""
    session = new_session(engine, may_skip=False, **fields)
    items: list[Item] = []
    for piece in pieces:
        if isinstance(piece, str):
            session.flush(piece)
        else:
            session.feed(piece, 0.0)
        items += judge_all(session, engine)
    session.stop()
    return items + list(judge_all(session, engine))


def events_of(items: Iterable[Item]) -> list[Event]:
    """The events among the answers."""
    return [item for item in items if isinstance(item, Emotion | Silence)]


def ends(items: Iterable[Item]) -> list[float]:
    """Where the windows of the events among the answers end, in seconds."""
    return [event.end_s for event in events_of(items)]


def cut(data: bytes, at: Iterable[float]) -> list[bytes]:
    """The same bytes in pieces, cut at these shares of their length."""
    edges = [0, *sorted(round(share * len(data)) for share in at), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def plain(items: Iterable[Item], *without: str) -> list[dict[str, Any]]:
    """The answers as objects, without latency and the fields named."""
    objects = [msgspec.to_builtins(item) for item in items]
    return [
        {k: v for k, v in item.items() if k != "latency_ms" and k not in without}
        for item in objects
    ]


def restless(seconds: float, rate: int = 16_000, columns: int = 1, seed: int = 0) -> Floats:
    """Noise that is now loud, now quiet, in stretches of 0.2 to 1.5 s: float32 [n, columns]."""
    random = np.random.default_rng(seed)
    length = round(seconds * rate)
    loud = np.zeros((length, columns))
    for column in range(columns):
        start = 0
        while start < length:
            end = start + int(rate * random.uniform(0.2, 1.5))
            loud[start:end, column] = random.choice([0.003, 0.1, 0.4])
            start = end
    noise = loud * random.uniform(-1, 1, (length, columns))
    return noise.astype(np.float32)


def int16_bytes(samples: Floats) -> bytes:
    """float32, -1 to 1 -> interleaved pcm_s16le."""
    return np.rint(samples * 32_767).astype("<i2").tobytes()
