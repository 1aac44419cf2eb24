"""The command line: files, parity.json, exit codes."""

import json
import tomllib
from collections.abc import Collection, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import numpy_helper
from onnx.utils import Extractor

from emotion.contract import Graph, from_metadata
from export import __main__ as command
from export.build import Settings
from export.clips import Sound, Waveform, speech_like
from export.convert import GRAPHS
from export.graphs import Networks
from train.checkpoint import ClipNames, save_checkpoint, save_clip_names

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(stream: Networks, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    recipe = stream.embedder.recipe
    save_checkpoint(folder, recipe, stream.embedder, stream.head, {"random": {"accuracy": 0.9}})
    return folder


@pytest.fixture(autouse=True)
def ready_made(
    fp32: dict[Graph, Path], int8: dict[Graph, Path], monkeypatch: pytest.MonkeyPatch
) -> dict[Graph, onnx.ModelProto]:
    """Graphs that need no exporting, and two short sounds; a test may spoil one of the graphs."""
    spoilt: dict[Graph, onnx.ModelProto] = {}

    def build(
        _: Networks,
        settings: Settings,
        graphs: Collection[Graph] = GRAPHS,
        *,
        clips: Sequence[Waveform] = (),
    ) -> dict[Graph, onnx.ModelProto]:
        made = int8 if settings.precision == "int8" else fp32
        models: dict[Graph, onnx.ModelProto] = {g: onnx.load(made[g]) for g in made} | spoilt
        cut = Extractor(models["monitor"])
        models["encoder"] = cut.extract_model(["waveform"], ["embedding"])
        return {graph: models[graph] for graph in graphs}

    sounds = [Sound(f"sound-{row}", wave) for row, wave in enumerate(speech_like(2, 0.5))]
    monkeypatch.setattr(command, "build", build)
    monkeypatch.setattr(command, "awkward_sounds", lambda: sounds)
    return spoilt


def emotion_export(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["emotion-export", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        command.main()
    return int(exit_.value.code or 0)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_run_becomes_three_graphs_and_a_report(
    precision: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    code = emotion_export(monkeypatch, "--run", run, "--out", out, "--precision", precision)
    assert code == 0
    files = sorted(path.name for path in out.iterdir())
    assert files == ["classifier.onnx", "encoder.onnx", "monitor.onnx", "parity.json"]
    report = json.loads((out / "parity.json").read_text())
    assert report["passed"]
    assert report["precision"] == precision
    assert {check["graph"] for check in report["checks"]} == set(GRAPHS)
    assert ("latency_ms" in report) == (precision == "int8")
    assert report.get("fitted_to") == ("made-up sounds" if precision == "int8" else None)


def test_a_model_of_other_recordings_hears_them_and_does_not_claim_ravdess(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    lines = ["path,emotion,speaker"]
    for row, waveform in enumerate(speech_like(2, 0.5)):
        soundfile.write(data / f"{row}.wav", waveform, 16_000)
        lines.append(f"{row}.wav,sad,speaker {row}")
    (data / "clips.csv").write_text("\n".join(lines))
    save_clip_names(run, ClipNames(train=("0", "1"), held_out=()))
    assert emotion_export(monkeypatch, "--run", run, "--out", out, "--data", data) == 0
    assert json.loads((out / "parity.json").read_text())["sounds"] == 4
    properties = onnx.load(out / "monitor.onnx").metadata_props
    contract = from_metadata({entry.key: entry.value for entry in properties})
    assert contract.data == "2 clips of a corpus that is not RAVDESS"
    assert "non-commercial" not in contract.licence


def test_quantize_is_short_for_int8_and_a_target(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "edge"
    assert emotion_export(monkeypatch, "--run", run, "--out", out, "--quantize", "arm64") == 0
    report = json.loads((out / "parity.json").read_text())
    assert (report["precision"], report["target"]) == ("int8", "arm64")
    properties = onnx.load(out / "monitor.onnx").metadata_props
    contract = from_metadata({entry.key: entry.value for entry in properties})
    assert (contract.precision, contract.target) == ("int8", "arm64")


def test_a_failed_parity_names_graph_output_and_clip_and_exits_with_1(
    run: Path,
    tmp_path: Path,
    fp32: dict[Graph, Path],
    ready_made: dict[Graph, onnx.ModelProto],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = onnx.load(fp32["classifier"])
    bias = next(t for t in wrong.graph.initializer if list(t.dims) == [8])
    changed = numpy_helper.to_array(bias) + np.arange(8, dtype=np.float32)
    bias.CopyFrom(numpy_helper.from_array(changed, bias.name))
    ready_made["classifier"] = wrong
    out = tmp_path / "out"
    assert emotion_export(monkeypatch, "--run", run, "--out", out) == 1
    said = capsys.readouterr().err
    assert "classifier.onnx, probabilities against PyTorch: worst" in said
    assert "sound-" in said
    assert not json.loads((out / "parity.json").read_text())["passed"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--judge", "x"], "--judge needs --data"),
        (["--judge", "x", "--data", "y"], "give --precision int8 or fp16"),
        (["--precision", "int4"], "int4"),
        (["--quantize", "arm64", "--target", "avx2"], "already says --precision int8"),
        (["--quantize", "arm64", "--precision", "fp16"], "leave those away"),
        (["--target", "sse2", "--precision", "int8"], "sse2"),
        ([], "no finished run"),
    ],
)
def test_what_a_user_can_get_wrong_ends_in_one_line_and_exit_code_2(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = tmp_path / "nowhere"
    code = emotion_export(monkeypatch, "--run", nowhere, "--out", tmp_path / "out", *arguments)
    said = capsys.readouterr().err
    assert code == 2
    assert says in said
    assert said.count("\n") == 1


def test_exporting_does_not_pull_in_a_second_onnxruntime() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = extras["optional-dependencies"]["export"] + extras["optional-dependencies"]["train"]
    assert not [name for name in wanted if "onnxruntime" in name]
    needed = metadata.requires("optimum-onnx") or []
    assert all("extra ==" in need for need in needed if need.startswith("onnxruntime"))
