"""Does an exported graph say what the trained model says? Compared row by row, with stated limits.

float32 graphs are held to PyTorch. What int8 costs cannot be judged on single numbers, nor on clips
that the model learned by heart: `judge` does that, with models that never heard them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from emotion.contract import SAMPLE_RATE, Graph, Precision
from emotion.progress import track
from export.clips import Sound, Waveform
from export.graphs import INPUTS, Networks

Array = npt.NDArray[np.float32]

LIMITS: Final[dict[tuple[Precision, str], float]] = {
    ("fp32", "embedding"): 1e-3,
    ("fp32", "probabilities"): 1e-4,
    ("fp16", "embedding"): 0.1,
    ("fp16", "probabilities"): 0.02,
    ("fp32", "traits"): 1e-3,
    ("fp16", "traits"): 0.02,
}
"""Largest difference from PyTorch in float32; embeddings in units of the corpus's deviation,
traits in units of what repetitions of one emotion by one voice differ by."""

SAME: Final = 1e-5
"""Largest difference in a probability between two ways of asking the same graphs."""

BATCH: Final = 8
WINDOW: Final = 3 * SAMPLE_RATE
TIMED_RUNS: Final = 15


@dataclass(frozen=True)
class Check:
    """One comparison and how it went.

    Attributes:
        graph: which file was judged.
        output: which of its outputs.
        compared: with what.
        worst: the largest difference found.
        limit: what it may be at most; None where it is only reported.
        clip: where the largest difference was.
    """

    graph: Graph
    output: str
    compared: str
    worst: float
    limit: float | None
    clip: str

    @property
    def passed(self) -> bool:
        """A difference that is not a number has not passed."""
        return bool(self.limit is None or self.worst <= self.limit)

    def __str__(self) -> str:
        limit = "" if self.limit is None else f", limit {self.limit:g}"
        compared = f"{self.graph}.onnx, {self.output} against {self.compared}"
        return f"{compared}: worst {self.worst:.3g}{limit}, at {self.clip}"


class Session:
    """An ONNX graph on the CPU, as one would serve it: one thread.

    Args:
        model: a file, or a serialized model.
    """

    def __init__(self, model: Path | bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        source = str(model) if isinstance(model, Path) else model
        self._session = onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, **inputs: Array) -> dict[str, Array]:
        """Runs the graph: inputs by name, outputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, inputs), strict=True))


class _Worst:
    """The largest difference so far of each comparison, and where it was."""

    def __init__(self) -> None:
        self._found: dict[tuple[Graph, str, str], tuple[float, float | None, str]] = {}

    def __call__(
        self,
        key: tuple[Graph, str, str],
        difference: Array,
        limit: float | None,
        clip: str,
    ) -> None:
        worst = float(np.abs(difference).max())
        if np.isnan(worst):
            worst = float("inf")
        if key not in self._found or worst > self._found[key][0]:
            self._found[key] = (worst, limit, clip)

    def checks(self) -> list[Check]:
        return [Check(*key, *values) for key, values in self._found.items()]


def compare(
    paths: dict[Graph, Path], networks: Networks, precision: Precision, sounds: Sequence[Sound]
) -> list[Check]:
    """Runs the graphs beside PyTorch and beside each other.

    Args:
        paths: the files of monitor and classifier, and of the encoder where there is one.
        networks: the trained model in float32.
        precision: of the files; decides the limits.
        sounds: what to run them on.

    Returns:
        One check for each pair of things compared.
    """
    sessions = {graph: Session(path) for graph, path in paths.items()}
    worst = _Worst()
    for sound in track(sounds, "parity"):
        _against_torch(worst, sessions, networks, precision, sound)
        _against_each_other(worst, sessions, networks, sound)
    _batch_against_single(worst, sessions["monitor"], precision, sounds)
    return worst.checks()


def row_dependence(
    monitor: Session, waveforms: Sequence[Waveform], output: str = "probabilities"
) -> float:
    """By how much an output of a row moves when it runs in a batch rather than alone.

    Args:
        monitor: the monitor graph.
        waveforms: float32 [samples] each, all of the same length.
        output: `probabilities` or `embedding`.
    """
    batch = monitor(waveform=np.stack(waveforms))[output]
    alone = np.concatenate([monitor(waveform=row[None])[output] for row in waveforms])
    return float(np.abs(batch - alone).max())


def latency_ms(sessions: dict[str, Session]) -> dict[str, float]:
    """Median milliseconds of each monitor graph for one 3 s window, run in turns."""
    window = np.random.default_rng(0).normal(size=(1, WINDOW)).astype(np.float32) * 0.1
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(TIMED_RUNS):
        for name, session in sessions.items():
            start = perf_counter()
            session(waveform=window)
            times[name].append((perf_counter() - start) * 1e3)
    return {name: median(values) for name, values in times.items()}


def as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """The checks as a result file holds them."""
    return [asdict(check) | {"passed": check.passed} for check in checks]


def _against_torch(
    worst: _Worst,
    sessions: dict[Graph, Session],
    networks: Networks,
    precision: Precision,
    sound: Sound,
) -> None:
    waveform = sound.waveform[None]
    head = networks.head
    with torch.inference_mode():
        embedding = networks.embedder(torch.from_numpy(waveform))
        probabilities = head(embedding).softmax(dim=1).numpy()
        mean, inv_std = (head.mean + 0.5 * head.std)[None], (1.25 / head.std)[None]
        adapted = head(embedding, mean, inv_std).softmax(dim=1).numpy()
    std = head.std.numpy()
    heard = sessions["monitor"](waveform=waveform)
    judged = sessions["classifier"](
        embedding=embedding.numpy(), mean=mean.numpy(), inv_std=inv_std.numpy()
    )
    differences: list[tuple[Graph, str, Array]] = [
        ("monitor", "embedding", (heard["embedding"] - embedding.numpy()) / std),
        ("monitor", "probabilities", heard["probabilities"] - probabilities),
        ("classifier", "probabilities", judged["probabilities"] - adapted),
    ]
    if "traits" in judged:
        traits = head.traits(embedding, mean, inv_std).numpy()
        differences.append(("classifier", "traits", judged["traits"] - traits))
    if "encoder" in sessions:
        encoded = sessions["encoder"](waveform=waveform)["embedding"]
        differences.append(("encoder", "embedding", (encoded - embedding.numpy()) / std))
    for graph, output, difference in differences:
        worst((graph, output, "PyTorch"), difference, LIMITS.get((precision, output)), sound.name)


def _against_each_other(
    worst: _Worst, sessions: dict[Graph, Session], networks: Networks, sound: Sound
) -> None:
    heard = sessions["monitor"](waveform=sound.waveform[None])
    statistics = (networks.head.mean.numpy()[None], networks.head.std.reciprocal().numpy()[None])
    inputs = dict(zip(INPUTS["classifier"], (heard["embedding"], *statistics), strict=True))
    judged = sessions["classifier"](**inputs)
    key: tuple[Graph, str, str] = ("classifier", "probabilities", "monitor.onnx")
    worst(key, judged["probabilities"] - heard["probabilities"], SAME, sound.name)


def _batch_against_single(
    worst: _Worst, monitor: Session, precision: Precision, sounds: Sequence[Sound]
) -> None:
    """int8 is only reported: its activations share one scale over the batch."""
    longest = sorted(sounds, key=lambda sound: -len(sound.waveform))[:BATCH]
    rows = [np.resize(sound.waveform, WINDOW) for sound in longest]
    limit = None if precision == "int8" else SAME
    moved = np.array([row_dependence(monitor, rows)], dtype=np.float32)
    names = f"{len(rows)} rows from {longest[0].name} on"
    worst(("monitor", "probabilities", f"batches of 1 (batch of {len(rows)})"), moved, limit, names)
