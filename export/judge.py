"""What a precision costs, on clips that the judged model never trained on.

A cross-validation's models are exported twice, in float32 and in the precision that will ship, with
the same settings, and each hears its own held-out clips both ways. What int8 is fitted to are clips that
the model was trained on.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from emotion.contract import Graph
from emotion.errors import ConfigurationError
from emotion.progress import track
from export.build import Settings, build
from export.clips import fitting_clips, read_clip
from export.graphs import Networks
from export.parity import Array, Check, Session
from train.checkpoint import load_checkpoint, load_clip_names, weights_sha256
from train.corpora import Clip, load_corpus
from train.evaluate import figures

MAX_DISAGREEMENT: Final = 0.02
MAX_ACCURACY_CHANGE: Final = 0.005

_HALVES: Final[tuple[Graph, Graph]] = ("encoder", "classifier")


Encoders = dict[tuple[str, str, tuple[str, ...]], Session]
"""By weights, precision, and the names of the clips that int8 was fitted to."""


@dataclass(frozen=True)
class Fold:
    """One model's figures on its held-out clips.

    Attributes:
        name: the fold's folder.
        n: how many clips.
        agreement: share of clips on which both precisions name the same emotion.
        accuracy_fp32: of the float32 graphs.
        accuracy: of the judged graphs.
        ua_fp32: mean recall of the classes, of the float32 graphs.
        ua: of the judged graphs.
        mean_difference: mean over clips of the largest change in a probability.
        worst_clip: where a probability changed most.
        worst_difference: by how much.
    """

    name: str
    n: int
    agreement: float
    accuracy_fp32: float
    accuracy: float
    ua_fp32: float
    ua: float
    mean_difference: float
    worst_clip: str
    worst_difference: float


@dataclass(frozen=True)
class _Pipeline:
    """encoder.onnx and classifier.onnx in a row: what monitor.onnx is in one."""

    encoder: Session
    classifier: Session
    statistics: dict[str, Array]

    def __call__(self, waveform: Array) -> Array:
        embedding = self.encoder(waveform=waveform)["embedding"]
        return self.classifier(embedding=embedding, **self.statistics)["probabilities"]


def judge(run: Path, data: Path, settings: Settings) -> tuple[list[Fold], list[Check]]:
    """Compares a precision with float32 over a cross-validation.

    Args:
        run: what `emotion-train crossval` wrote.
        data: the corpus's folder.
        settings: how the model that ships is exported.

    Returns:
        Each fold's figures, and the two checks over all folds.

    Raises:
        ConfigurationError: there is no fold in the run, or none of a fold's clips in the corpus.
    """
    folders = sorted(path.parent for path in run.glob("*/run.json"))
    if not folders:
        raise ConfigurationError(
            f"--judge {run}: no models there; make them: emotion-train crossval"
        )
    clips = load_corpus(data)
    encoders: Encoders = {}
    folds = [_fold(folder, clips, settings, encoders) for folder in folders]
    return folds, _checks(folds, settings)


def as_json(folds: list[Fold], checks: list[Check]) -> dict[str, Any]:
    """The verdict as a result file holds it."""
    total = sum(fold.n for fold in folds)

    def over_all(name: str) -> float:
        return float(sum(getattr(fold, name) * fold.n for fold in folds) / total)

    names = ("agreement", "accuracy_fp32", "accuracy")
    measured = {name: over_all(name) for name in names}
    # UA is a mean over the folds, as in every report.
    measured |= {
        name: float(np.mean([getattr(f, name) for f in folds])) for name in ("ua_fp32", "ua")
    }
    passed = all(check.passed for check in checks)
    return {"n": total, **measured, "passed": passed, "folds": [asdict(fold) for fold in folds]}


def _fold(
    folder: Path,
    clips: list[Clip],
    settings: Settings,
    encoders: Encoders,
) -> Fold:
    checkpoint = load_checkpoint(folder)
    names = load_clip_names(folder)
    held_out = set(names.held_out)
    judged = [clip for clip in clips if clip.name in held_out]
    if not judged:
        raise ConfigurationError(
            f"--judge {folder}: none of its {len(held_out)} held-out clips is in the corpus; "
            "give the --data it was trained on"
        )
    networks = Networks(checkpoint.embedder, checkpoint.head)
    fitting = fitting_clips(clips, set(names.train) - held_out)
    pipelines = _pipelines(networks, settings, fitting, encoders)
    rows = [_both(pipelines, clip) for clip in track(judged, folder.name)]
    truth = np.array([clip.emotion for clip in judged])
    return _figures(folder.name, judged, truth, np.stack(rows))


def _pipelines(
    networks: Networks, settings: Settings, fitting: list[Clip], encoders: Encoders
) -> tuple[_Pipeline, _Pipeline]:
    """float32 and judged; an encoder that folds share, fitted to the same clips, is exported once."""
    head = networks.head
    statistics = {"mean": head.mean.numpy()[None], "inv_std": head.std.reciprocal().numpy()[None]}
    weights = weights_sha256(networks.embedder)
    pipelines = []
    for each, heard in ((Settings(), []), (settings, fitting)):
        key = (weights, each.precision, tuple(clip.name for clip in heard))
        if key not in encoders:
            encoders[key] = _session(networks, each, "encoder", heard)
        classifier = _session(networks, each, "classifier", [])
        pipelines.append(_Pipeline(encoders[key], classifier, statistics))
    return pipelines[0], pipelines[1]


def _session(networks: Networks, settings: Settings, graph: Graph, heard: list[Clip]) -> Session:
    clips = [read_clip(clip.path) for clip in heard]
    model = build(networks, settings, [graph], clips=clips)[graph]
    return Session(model.SerializeToString())


def _both(pipelines: tuple[_Pipeline, _Pipeline], clip: Clip) -> Array:
    """float32 [2, 8]: probabilities of a clip in float32 and in the judged precision."""
    waveform = read_clip(clip.path)[None]
    return np.concatenate([pipeline(waveform) for pipeline in pipelines])


def _figures(name: str, clips: list[Clip], truth: np.ndarray[Any, Any], rows: Array) -> Fold:
    """rows: float32 [clips, 2, 8]."""
    labels = rows.argmax(axis=2)
    fp32, ours = (figures(truth, rows[:, way]) for way in (0, 1))
    changes = np.abs(rows[:, 0] - rows[:, 1]).max(axis=1)
    worst = int(changes.argmax())
    return Fold(
        name=name,
        n=len(clips),
        agreement=float((labels[:, 0] == labels[:, 1]).mean()),
        accuracy_fp32=fp32["accuracy"],
        accuracy=ours["accuracy"],
        ua_fp32=fp32["ua"],
        ua=ours["ua"],
        mean_difference=float(changes.mean()),
        worst_clip=clips[worst].name,
        worst_difference=float(changes[worst]),
    )


def _checks(folds: list[Fold], settings: Settings) -> list[Check]:
    verdict = as_json(folds, [])
    worst = max(folds, key=lambda fold: fold.worst_difference)
    against = f"fp32 on {verdict['n']} held-out clips"
    # Rounded, so that exactly 98 of 100 are 98 %.
    change = round(abs(verdict["accuracy"] - verdict["accuracy_fp32"]), 9)
    return [
        Check(
            "monitor",
            f"{settings.precision} labels that differ",
            against,
            round(1 - verdict["agreement"], 9),
            MAX_DISAGREEMENT,
            worst.worst_clip,
        ),
        Check(
            "monitor",
            f"{settings.precision} accuracy",
            against,
            change,
            MAX_ACCURACY_CHANGE,
            worst.worst_clip,
        ),
    ]
