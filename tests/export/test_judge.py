"""Judging: clips a model never trained on, both precisions, and what becomes of the figures."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx.utils import Extractor

from emotion.contract import Graph
from emotion.errors import ConfigurationError, CorpusError
from export import judge as judging
from export.build import Settings
from export.clips import Waveform, speech_like
from export.graphs import Networks
from train.checkpoint import ClipNames, save_checkpoint, save_clip_names, save_encoder

CLIPS = tuple(f"03-01-{emotion:02}-01-01-01-01" for emotion in range(1, 9))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for name, waveform in zip(CLIPS, speech_like(len(CLIPS), 0.5), strict=True):
        soundfile.write(folder / f"{name}.wav", waveform, 16_000)
    return folder


@pytest.fixture
def crossval(stream: Networks, tmp_path: Path) -> Path:
    """Two folds of three and five clips with one encoder."""
    save_encoder(tmp_path, stream.embedder)
    for fold, names in (("fold-1", CLIPS[:3]), ("fold-2", CLIPS[3:])):
        recipe = stream.embedder.recipe
        save_checkpoint(
            tmp_path / fold, recipe, stream.embedder, stream.head, {}, shared_encoder=True
        )
        save_clip_names(tmp_path / fold, ClipNames(train=(), held_out=names))
    return tmp_path


@pytest.fixture(autouse=True)
def built(
    fp32: dict[Graph, Path], int8: dict[Graph, Path], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Ready-made graphs in place of exported ones; lists which were asked for."""
    asked: list[str] = []

    def build(
        _: Networks,
        settings: Settings,
        graphs: Collection[Graph],
        clips: Sequence[Waveform] = (),
    ) -> dict[Graph, onnx.ModelProto]:
        made = int8 if settings.precision == "int8" else fp32
        models: dict[Graph, onnx.ModelProto] = {"classifier": onnx.load(made["classifier"])}
        monitor = Extractor(onnx.load(made["monitor"]))
        models["encoder"] = monitor.extract_model(["waveform"], ["embedding"])
        fitted = f" to {len(clips)} clips" if clips else ""
        asked.extend(f"{graph} {settings.precision}{fitted}" for graph in graphs)
        return {graph: models[graph] for graph in graphs}

    monkeypatch.setattr(judging, "build", build)
    return asked


def test_every_fold_hears_its_own_held_out_clips(crossval: Path, corpus: Path) -> None:
    folds, checks = judging.judge(crossval, corpus, Settings("int8"))
    assert [(fold.name, fold.n) for fold in folds] == [("fold-1", 3), ("fold-2", 5)]
    assert {fold.worst_clip for fold in folds} <= set(CLIPS)
    assert all("8 held-out clips" in check.compared for check in checks)


def test_an_encoder_that_folds_share_is_exported_once(
    crossval: Path, corpus: Path, built: list[str]
) -> None:
    judging.judge(crossval, corpus, Settings("int8"))
    assert sorted(built) == ["classifier fp32"] * 2 + ["classifier int8"] * 2 + [
        "encoder fp32",
        "encoder int8",
    ]


def test_int8_is_fitted_to_clips_that_the_fold_was_trained_on(
    crossval: Path, corpus: Path, built: list[str]
) -> None:
    save_clip_names(crossval / "fold-1", ClipNames(train=CLIPS[3:], held_out=CLIPS[:3]))
    save_clip_names(crossval / "fold-2", ClipNames(train=CLIPS, held_out=CLIPS[3:]))
    judging.judge(crossval, corpus, Settings("int8"))
    assert [name for name in built if "encoder" in name] == [
        "encoder fp32",
        "encoder int8 to 5 clips",
        "encoder int8 to 3 clips",
    ]


def figures(flipped: int, of: int) -> judging.Fold:
    """A fold in which fp32 is always right and the judged precision is wrong on some clips."""
    from train.corpora import Clip

    clips = [Clip(Path(f"clip-{row}.wav"), 0, 1, "speech") for row in range(of)]
    rows = np.zeros((of, 2, 8), np.float32)
    rows[:, :, 0] = 0.9
    rows[:flipped, 1] = np.eye(8, dtype=np.float32)[3]
    return judging._figures("fold-1", clips, np.zeros(of, np.int64), rows)


def test_two_labels_in_a_hundred_may_differ_but_half_a_point_of_accuracy_may_not() -> None:
    labels, accuracy = judging._checks([figures(2, 100)], Settings("int8"))
    assert labels.passed and not accuracy.passed
    labels, accuracy = judging._checks([figures(3, 100)], Settings("int8"))
    assert not labels.passed and not accuracy.passed
    labels, accuracy = judging._checks([figures(1, 1000)], Settings("int8"))
    assert labels.passed and accuracy.passed
    assert labels.clip == "clip-0"


def test_the_verdict_weighs_folds_by_their_clips() -> None:
    verdict = judging.as_json([figures(1, 10), figures(0, 90)], [])
    assert verdict["n"] == 100
    assert verdict["agreement"] == pytest.approx(0.99)
    assert verdict["accuracy_fp32"] == 1.0


def test_a_folder_without_models_is_refused(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(ConfigurationError, match="emotion-train crossval"):
        judging.judge(tmp_path, corpus, Settings("int8"))


def test_a_corpus_without_the_held_out_clips_is_refused(crossval: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(CorpusError):
        judging.judge(crossval, other, Settings("int8"))
    soundfile.write(other / "03-01-01-01-01-01-24.wav", speech_like(1, 0.5)[0], 16_000)
    with pytest.raises(ConfigurationError, match="held-out clips"):
        judging.judge(crossval, other, Settings("int8"))
