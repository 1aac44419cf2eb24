"""emotion-train: recordings in, trained and measured models out."""

import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler

from emotion import command_line
from emotion.errors import ConfigurationError
from emotion.package import install_line
from emotion.progress import console
from train import download as archives
from train.files import write_json
from train.recipe import load_recipe

app = typer.Typer(
    name="emotion-train",
    help="Train the speech-emotion monitor and measure how good it is.",
    no_args_is_help=True,
    add_completion=False,
)

PRINTED_WIDTH = 120
"""Columns of a table that goes into a file or a log."""

Data = Annotated[
    Path, typer.Option(help="Folder with the recordings: RAVDESS, or your own and their clips.csv.")
]
Run = Annotated[Path, typer.Option(help="Folder to write, outside the repository or under runs/.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="seed, stream, edge or a .toml file.")]
Whisper = Annotated[
    str | None,
    typer.Option(
        help="Hub name or folder of a Whisper model or its encoder alone.",
        show_default="the recipe's: openai/whisper-base",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the feature cache.", show_default="~/.cache/emotion-monitor/features"
    ),
]


class Folds(StrEnum):
    """What `crossval` holds out."""

    random = "random"
    emobox = "emobox"
    speakers = "speakers"


class Int8(StrEnum):
    """What `suite` judges int8 for."""

    avx2 = "avx2"
    avx512_vnni = "avx512_vnni"
    arm64 = "arm64"
    none = "none"


@app.command()
def download(
    out: Annotated[Path, typer.Option(help="Folder for the recordings.")],
    base_url: Annotated[
        str, typer.Option(envvar="EMOTION_RAVDESS_URL", help="Where the two archives are.")
    ] = archives.RECORD,
) -> None:
    """Fetch RAVDESS (430 MB, CC BY-NC-SA 4.0: not for commercial use) from Zenodo."""
    archives.download_ravdess(out, base_url)
    _say([f"RAVDESS is in {out}"])


@app.command()
def fit(
    recipe: RecipeName,
    data: Data,
    out: Run,
    whisper: Whisper = None,
    cache: Cache = None,
    all_actors: Annotated[
        bool, typer.Option("--all", help="Hold nobody out: for the model that ships.")
    ] = False,
    metrics_from: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --all: a crossval run of the same recipe, whose figures to store; of several "
            "seeds, the mean."
        ),
    ] = None,
) -> None:
    """Train one model: on a random 80 % of the clips and measured on the rest, or on --all."""
    from train import runs
    from train.features import default_cache
    from train.metrics import crossval_metrics

    if metrics_from and not all_actors:
        raise ConfigurationError("--metrics-from goes with --all; a plain fit measures itself")
    material = runs.prepare(load_recipe(recipe), data, cache or default_cache(), whisper)
    metrics = crossval_metrics(metrics_from, material.recipe) if metrics_from else None
    report = runs.fit_run(material, out, all_actors=all_actors, metrics=metrics)
    _show(report)
    _say([f"the run is in {out}"])


@app.command()
def evaluate(
    run: Annotated[Path, typer.Option(help="A run's folder, or one fold of a crossval run.")],
    data: Data,
    json: Annotated[Path, typer.Option(help="Result file to write.")],
    plots: Annotated[Path | None, typer.Option(help="Folder for the plots.")] = None,
    cache: Cache = None,
) -> None:
    """Measure a run on its held-out clips, or on other recordings."""
    from train import report as reports
    from train import runs
    from train.features import default_cache

    result, histories = runs.evaluate_run(run, data, cache or default_cache())
    write_json(json, result)
    if plots is not None:
        reports.plot_result(result, histories, plots)
    _show(result)


@app.command()
def crossval(
    recipe: RecipeName,
    folds: Annotated[
        Folds,
        typer.Option(
            help="random: 80/20 splits, actors on both sides; emobox: unseen actors of RAVDESS; "
            "speakers: unseen speakers of any corpus."
        ),
    ],
    data: Data,
    out: Run,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=100, help="Random splits.", show_default="5")
    ] = None,
    whisper: Whisper = None,
    cache: Cache = None,
) -> None:
    """Train and measure one model per fold; OUT gets crossval.json, plots/ and a run per fold."""
    from train import report as reports
    from train import runs
    from train.corpora import load_corpus, require_ravdess
    from train.features import default_cache

    if seeds is not None and folds is not Folds.random:
        raise ConfigurationError(f"--seeds is for --folds random: the folds of {folds} are fixed")
    if folds is Folds.emobox:  # before hours of recordings are read
        require_ravdess(load_corpus(data), "--folds emobox")
    material = runs.prepare(load_recipe(recipe), data, cache or default_cache(), whisper)
    result, histories = runs.crossval_run(material, out, folds.value, seeds or 5)
    reports.plot_result(result, histories, out / "plots")
    _show(result)


@app.command()
def suite(
    recipe: RecipeName,
    data: Data,
    out: Run,
    whisper: Whisper = None,
    cache: Cache = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Random splits.")] = 5,
    trainings: Annotated[
        int,
        typer.Option(
            min=1, max=20, help="Of each of EmoBox's folds: the recipe's seed and those after it."
        ),
    ] = 3,
    target: Annotated[
        Int8, typer.Option(help="Instruction set that int8 is judged for, or none to leave it out.")
    ] = Int8.avx2,
) -> None:
    """Every figure of the model card, on RAVDESS: trains what is missing, measures, prints one table."""
    try:
        from train import suite as suites
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"suite needs {error.name}, for voice activity: {install_line('cpu,train')}"
        ) from error
    from train.features import default_cache
    from train.rows import as_table

    int8 = None if target is Int8.none else target.value
    order = suites.Order(
        recipe=recipe,
        data=data,
        out=out,
        cache=cache or default_cache(),
        whisper=whisper,
        seeds=seeds,
        trainings=trainings,
        target=int8,
    )
    report, table = suites.evaluate(order)
    _show(report)
    own = report["recipe"]
    trained = ", ".join(map(str, report.get("trainings", [own["seed"]])))
    title = (
        f"{own['name']}, on unseen actors with seed {trained}; adapted and unadapted "
        "figures are of the same weights"
    )
    Console(width=None if Console().is_terminal else PRINTED_WIDTH).print(as_table(table, title))


def _show(report: dict[str, Any] | None) -> None:
    from train.report import lines

    if report is not None:
        _say(lines(report))


def _say(text: list[str]) -> None:
    for line in text:
        Console(soft_wrap=True).print(line, highlight=False, markup=False)


def _configure_logging() -> None:
    handler: logging.Handler = logging.StreamHandler()
    if console().is_terminal:
        handler = RichHandler(console=console(), show_time=False, show_path=False)
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("train").setLevel(logging.INFO)


def main() -> None:
    """The console script."""
    _configure_logging()
    command_line.run(app)


if __name__ == "__main__":
    main()
