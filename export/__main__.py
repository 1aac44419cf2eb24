"""emotion-export: a trained run to ONNX graphs, and the proof that they say the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from emotion import command_line
from emotion.contract import Graph, Precision
from emotion.errors import ConfigurationError
from export import judge as judging
from export import parity
from export.build import Settings, build, save
from export.clips import Waveform, awkward_sounds, fitting_clips, read_clip, recordings
from export.convert import licence_of, training_data
from export.graphs import Networks
from export.quantize import Target
from train.checkpoint import load_checkpoint, load_clip_names
from train.corpora import load_corpus
from train.files import write_json

RECORDINGS = 24
"""Clips of --data that parity hears besides the made-up sounds."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="A run: what emotion-train fit wrote.")],
    out: Annotated[Path, typer.Option(help="Gets encoder, classifier and monitor.onnx.")],
    precision: Annotated[Precision, typer.Option(help="Number format of the weights.")] = "fp32",
    target: Annotated[
        Target | None, typer.Option(help="Instruction set for int8: avx2, right on every x86.")
    ] = None,
    quantize: Annotated[
        Target | None, typer.Option(help="Short for --precision int8 --target TARGET.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Corpus: its clips are what parity hears and int8 is fitted to."),
    ] = None,
    judge: Annotated[
        Path | None, typer.Option(help="Cross-validation whose models judge the precision.")
    ] = None,
) -> None:
    """Export a trained run to ONNX, check it against PyTorch, write parity.json."""
    settings = _settings(precision, target, quantize)
    precision, target = settings.precision, settings.target
    _refuse_useless(settings, data, judge)
    console = Console()
    checkpoint = load_checkpoint(run)
    networks = Networks(checkpoint.embedder, checkpoint.head)
    trained_on = load_clip_names(run).train
    origin = {"data": training_data(trained_on), "licence": licence_of(trained_on)}
    clips = _fitting(settings, data, trained_on, console)
    with console.status("exporting"):
        models = build(networks, settings, clips=clips)
        paths = save(models, networks, settings, checkpoint.metrics, out, **origin)
    _sizes(paths, console)
    sounds = awkward_sounds() + (recordings(data, RECORDINGS) if data else [])
    checks = parity.compare(paths, networks, precision, sounds)
    report: dict[str, Any] = {"precision": precision, "target": target, "sounds": len(sounds)}
    if precision == "int8":
        report["fitted_to"] = f"{len(clips)} training clips" if clips else "made-up sounds"
    if precision != "fp32":
        report["latency_ms"] = _latency(networks, paths, precision, console)
    if judge and data:
        folds, verdict = judging.judge(judge, data, settings)
        report["judge"] = judging.as_json(folds, verdict)
        checks += verdict
        console.print(_folds(folds, precision))
    elif precision == "int8":
        console.print("int8 was not judged: give --judge CROSSVAL_RUN and --data DIR")
    _finish(checks, report, out / "parity.json", console)


def main() -> None:
    """The console script."""
    command_line.run(app)


def _settings(precision: Precision, target: Target | None, quantize: Target | None) -> Settings:
    """
    Raises:
        ConfigurationError: two options say what only one may.
    """
    if quantize is None:
        return Settings(precision, target or "avx2")
    if precision == "fp16" or target is not None:
        raise ConfigurationError(
            f"--quantize {quantize} already says --precision int8 --target {quantize}: "
            "leave those away"
        )
    return Settings("int8", quantize)


def _refuse_useless(settings: Settings, data: Path | None, judge: Path | None) -> None:
    if judge and not data:
        raise ConfigurationError("--judge needs --data: the corpus its models were trained on")
    if judge and settings.precision == "fp32":
        raise ConfigurationError("--judge compares with fp32: give --precision int8 or fp16")


def _fitting(
    settings: Settings, data: Path | None, names: Sequence[str], console: Console
) -> list[Waveform]:
    """What int8 is fitted to: recordings that the model was trained on, where there are some."""
    if settings.precision != "int8":
        return []
    chosen = fitting_clips(load_corpus(data), names) if data else []
    if not chosen:
        console.print("int8 is fitted to made-up sounds: give --data with the run's training clips")
    return [read_clip(clip.path) for clip in chosen]


def _sizes(paths: dict[Graph, Path], console: Console) -> None:
    for path in paths.values():
        console.print(
            f"{path}  {path.stat().st_size / 1e6:.2f} MB", soft_wrap=True, highlight=False
        )


def _latency(
    networks: Networks, paths: dict[Graph, Path], precision: str, console: Console
) -> dict[str, float]:
    with console.status("timing"):
        reference = build(networks, Settings(), ["monitor"])["monitor"].SerializeToString()
        sessions = {
            "fp32": parity.Session(reference),
            precision: parity.Session(paths["monitor"]),
        }
        times = parity.latency_ms(sessions)
    ratio = times[precision] / times["fp32"]
    console.print(
        f"3 s window, one thread, median: fp32 {times['fp32']:.1f} ms, "
        f"{precision} {times[precision]:.1f} ms ({ratio:.2f} of fp32)",
        highlight=False,
    )
    return times | {"ratio": ratio}


def _finish(
    checks: list[parity.Check], report: dict[str, Any], path: Path, console: Console
) -> None:
    console.print(_table(checks))
    failures = [check for check in checks if not check.passed]
    report |= {"passed": not failures, "checks": parity.as_json(checks)}
    write_json(path, report)
    for failure in failures:
        Console(stderr=True).print(f"parity failed: {failure}", soft_wrap=True, highlight=False)
    if failures:
        raise typer.Exit(1)


def _table(checks: list[parity.Check]) -> Table:
    table = Table("graph", "output", "against", "worst", "limit", "at", "", title="parity")
    for check in checks:
        limit = "reported" if check.limit is None else f"{check.limit:g}"
        passed = "ok" if check.passed else "FAILED"
        row = (check.graph, check.output, check.compared, f"{check.worst:.3g}", limit, check.clip)
        table.add_row(*row, passed)
    return table


def _folds(folds: list[judging.Fold], precision: str) -> Table:
    table = Table("model", "clips", "same label", "fp32", precision, title="on held-out clips")
    for fold in folds:
        figures = (fold.agreement, fold.accuracy_fp32, fold.accuracy)
        table.add_row(fold.name, str(fold.n), *(f"{figure:.2%}" for figure in figures))
    return table


if __name__ == "__main__":
    main()
