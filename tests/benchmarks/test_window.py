"""One window's price: what is counted, what is divided by what, and what the table says."""

from contextlib import ExitStack

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import arithmetic, rivals, window
from benchmarks.loading import Loading, load_once
from benchmarks.machine import Machine
from benchmarks.window import (
    ADAPTING,
    IN_A_ROW,
    OURS,
    Report,
    Timing,
    in_turns,
    ratios,
    remarks,
    table,
)
from emotion.engine import Judgement, load_engine
from emotion.vad import FRAME
from export.clips import speech_like


def report() -> Report:
    timings = {
        OURS: Timing(cpu_ms=8.0, wall_ms=8.5, first_ms=9.0),
        "published": Timing(cpu_ms=960.0, wall_ms=961.0, first_ms=970.0),
        "OpenVINO": Timing(cpu_ms=6.0, wall_ms=6.0, first_ms=7.0),
    }
    return Report(
        machine=Machine("EPYC", ("avx2",), 2),
        model="stream, int8",
        window_s=3.0,
        rounds=5,
        timings=timings,
        skipped={"CTranslate2": "pip install ctranslate2"},
        ratios=ratios(timings),
        multiplications=2_000_000_000,
        peak_per_s=500e9,
        share_of_peak=0.5,
        side_by_side=1.9,
        loading=Loading(load_ms=99.0, rss_mib=90.0, second_mib=70.0),
    )


def test_a_ratio_is_of_processor_time_and_below_one_where_another_is_faster() -> None:
    assert report().ratios == {"published": 120.0, "OpenVINO": 0.75}


def test_the_table_has_a_line_for_everyone_measured_and_for_everyone_missing() -> None:
    lines = {line.split(" | ")[0].strip("| "): line for line in table(report()).splitlines()[2:]}
    assert list(lines) == [OURS, "published", "CTranslate2", "OpenVINO", window.PEAK]
    assert lines["published"].endswith("| 960.0 | 961.0 | 970.0 | 120.0 |")
    assert "skipped, pip install ctranslate2" in lines["CTranslate2"]
    assert "50% of it reached | 4.0 |  |  | 0.50" in lines[window.PEAK]
    assert {line.count(" | ") for line in lines.values()} == {5}


def test_what_stands_beside_it_names_machine_model_and_memory() -> None:
    said = remarks(report())
    for words in ("EPYC (avx2), 2 cores", "stream, int8", "99 ms", "90 MiB", "1.90 times"):
        assert words in said


def test_a_report_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(report()), type=Report) == report()


def test_everyone_runs_in_every_round_and_once_before_it_counts() -> None:
    ran: list[str] = []
    timings = in_turns({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, 3)
    assert ran == [*["a"] * (1 + IN_A_ROW), *["b"] * (1 + IN_A_ROW)] * 3
    assert timings.keys() == {"a", "b"}


def test_multiplications_are_counted_by_hand() -> None:
    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(np.ones(shape, np.float32), name)

    graph = helper.make_graph(
        [
            helper.make_node("Unsqueeze", ["waveform", "axis"], ["channel"]),
            helper.make_node("Conv", ["channel", "kernel"], ["frames"], strides=[10]),
            helper.make_node("Transpose", ["frames"], ["rows"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["rows", "matrix"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["last"]),
        ],
        "graph",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("last", TensorProto.FLOAT, None)],
        [
            weight("kernel", 4, 1, 10),
            weight("matrix", 4, 6),
            numpy_helper.from_array(np.array([1]), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    frames = 5
    assert arithmetic.multiplications(model, 50) == frames * 4 * 10 + frames * 4 * 6


def test_attention_is_counted_as_its_two_products() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["waveform", "shape"], ["q"]),
            helper.make_node("Attention", ["q", "q", "q"], ["last"], q_num_heads=2, kv_num_heads=2),
        ],
        "graph",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("last", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([1, -1, 6]), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    heads, frames, width = 2, 10, 3
    assert arithmetic.multiplications(model, 60) == 2 * heads * frames * frames * width


def test_the_shipped_graph_is_counted() -> None:
    path = window.default_model() / "monitor.onnx"
    if not path.is_file():
        pytest.skip("the default model has not been exported here")
    model = onnx.load(path)
    shorter, longer = (arithmetic.multiplications(model, 16_000 * s) for s in (1, 3))
    assert 2.5 * shorter < longer < 4 * shorter


def test_the_peak_is_more_than_any_processor_does_without_vectors() -> None:
    assert arithmetic.peak() > 1e9


def test_without_whisper_only_our_own_model_runs_and_the_reason_is_said() -> None:
    with ExitStack() as stack:
        ready, skipped = window._contestants(
            load_engine(None, "cpu"), None, speech_like(1)[0], stack
        )
        assert set(ready) == {OURS, ADAPTING}
        assert skipped["published"] == "give --whisper FOLDER"
        assert {*ready, *skipped} == set(window.WHAT)
        ready[OURS]()
        judgement = ready[ADAPTING]()
        assert isinstance(judgement, Judgement) and judgement.probabilities is not None
        assert judgement.track is not None and judgement.track.position == 48_000 // FRAME * FRAME


def test_two_threads_are_compared_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WINDOWS", 4)
    judged: list[int] = []
    monkeypatch.setattr(
        window, "_wall_s", lambda work: (work(), 10.0 if len(judged) < 8 else 8.0)[1]
    )
    assert (
        window.side_by_side(lambda: judged.append(1), 1) == 2.5
    )  # twice the work in 0.8 of the time
    assert len(judged) == 4 + 2 * 4


def test_loading_is_timed_and_weighed() -> None:
    load_ms, _, _ = load_once(None, 1.0)
    assert load_ms > 0


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(rivals.Unavailable, match="pip install no_such_package"):
        rivals._needs("no_such_package")
