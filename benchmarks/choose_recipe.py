"""How good a recipe is where nothing is reported: what its settings may be chosen by.

    python benchmarks/choose_recipe.py --data DIR [--recipe stream] [--set augment.noise=0] ...

Two protocols. `random` draws 80/20 splits with other seeds than those reported. `actors` sets each
of EmoBox's folds aside in turn, trains on four of the others and judges the fifth. Both reuse clips
that a report's models are measured on, never in the role they have there: a figure from here only
tells settings apart, and estimates nothing.
"""

import tomllib
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import msgspec
import typer

from emotion import command_line
from emotion.errors import ConfigurationError, CorpusError
from emotion.progress import track

with command_line.needing("cpu,train"):
    from emotion.engine import load_voice
    from train.corpora import Clip
    from train.evaluate import Figures, combined
    from train.features import default_cache
    from train.files import write_json
    from train.held_out import Fold
    from train.measure import Measured
    from train.measure import measure as measure_fold
    from train.recipe import Recipe, load_recipe, recipe_from
    from train.rows import unseen
    from train.runs import Material, Trained, prepare, save_run, train_split
    from train.splits import Split, inner_splits, random_split

REPORTED_SEEDS: Final = range(42, 47)
"""Of the random splits in docs/results."""
MOST_SEEDS: Final = 100

app = typer.Typer(add_completion=False)


class Protocol(StrEnum):
    """What is held out."""

    random = "random"
    actors = "actors"


def overridden(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """A recipe with fields replaced.

    Args:
        recipe: the base.
        settings: `field=value`, the value as TOML has it: `epochs=24`, `schedule="constant"`.

    Raises:
        ConfigurationError: a setting is no such line, or does not fit a recipe.
    """
    try:
        fields = tomllib.loads("\n".join(settings))
        if "seed" in fields:
            raise ConfigurationError("--set seed: nothing here is drawn with it; use --seeds")
        return recipe_from(_merged(msgspec.to_builtins(recipe), fields))
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, TypeError) as error:
        raise ConfigurationError(
            f"--set {' --set '.join(settings)}: {error}; expected field=value as in a recipe's TOML"
        ) from error


def _merged(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Tables are changed key by key: `augment.noise=0` leaves the rest of them as it is, and
    `tuning=false`, which TOML has instead of null, takes the whole of one away."""

    def new(name: str, change: Any) -> Any:
        if isinstance(change, dict):
            return _merged(fields.get(name) or {}, change)
        return None if change is False and isinstance(fields.get(name), dict) else change

    return fields | {name: new(name, change) for name, change in changes.items()}


def unreported(text: str) -> range:
    """Seeds such as `7-11` or `7`.

    Raises:
        ConfigurationError: it is neither, too many, or one of them is reported.
    """
    first, _, last = text.partition("-")
    try:
        seeds = range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise ConfigurationError(f"--seeds {text}: expected FIRST-LAST, such as 7-11") from error
    if not 1 <= len(seeds) <= MOST_SEEDS:
        raise ConfigurationError(f"--seeds {text}: expected 1 to {MOST_SEEDS} seeds, rising")
    if set(seeds) & set(REPORTED_SEEDS):
        raise ConfigurationError(
            f"--seeds {text}: {REPORTED_SEEDS[0]} to {REPORTED_SEEDS[-1]} are the splits that are "
            "reported, so nothing may be chosen by them; take others"
        )
    return seeds


def fits(
    clips: Sequence[Clip], protocol: Protocol, seeds: range, songs: bool, trainings: int
) -> list[tuple[Split, int]]:
    """The splits of a protocol, each with the seed of its fit.

    Random split S is fitted with seed S, as for a report; `actors` with so many of the seeds.
    """
    if protocol is Protocol.random:
        return [(random_split(clips, seed), seed) for seed in seeds]
    return [(split, seed) for seed in seeds[:trainings] for split in inner_splits(clips, songs)]


def measure(
    material: Material, protocol: Protocol, seeds: range, trainings: int = 1
) -> dict[str, Any]:
    """Means and spread over the models of one protocol, as a result file has them."""
    recipe = material.recipe
    randomly = protocol is Protocol.random
    planned = fits(material.clips, protocol, seeds, recipe.songs, trainings)
    several = not randomly and trainings > 1
    parts: list[tuple[str, Figures]] = []
    folds: list[Measured] = []
    for split, seed in track(planned, str(protocol)):
        with TemporaryDirectory() as folder:
            trained = train_split(material, split, seed, Path(folder))
            if trained.measured is None:
                raise CorpusError(f"{split.name}: no clip is held out")
            if not randomly:
                folds.append(judged(material, split, seed, trained, Path(folder)))
        name = f"seed-{seed}/{split.name}" if several else split.name
        parts.append((name, trained.measured))
    # "other": that these are EmoBox's folds does not make it EmoBox's protocol.
    report = combined(
        "random" if randomly else "other", parts, recipe, seeds[:trainings] if several else ()
    )
    rows = [row.as_json() for row in unseen(folds)] if folds else []
    return report | {"fit_seeds": [seed for _, seed in planned], "rows": rows}


def judged(material: Material, split: Split, seed: int, trained: Trained, folder: Path) -> Measured:
    """What a model says of the held-out clips under all that the suite asks.

    Args:
        material: what it was trained from.
        split: of the held-out clips.
        seed: that it was trained with.
        trained: the model.
        folder: gets its run, and what is embedded for this.
    """
    save_run(material, folder / split.name, split, trained, {})
    # What this model gives of the conditions is of no use to another one, so it is not kept.
    return measure_fold(Fold(folder / split.name, material.clips, folder, load_voice()), seed)


def lines(protocol: Protocol, report: dict[str, Any]) -> list[str]:
    """Percentages, mean and standard deviation over the models; the suite's figures a line each."""
    shown = {"accuracy": "accuracy", "ua": "UA", "macro_f1": "macro F1", "ece": "ECE"}
    spread = report["sd"]
    texts = [
        f"{name} {100 * report[key]:.1f}" + (f" ± {100 * spread[key]:.1f}" if spread else "")
        for key, name in shown.items()
    ]
    names = [part["name"] for part in report["seeds" if protocol is Protocol.random else "folds"]]
    first = f"{protocol}, {names[0]} to {names[-1]} ({len(names)}), %: {', '.join(texts)}"
    return [first, *map(_line, report["rows"])]


def _line(row: dict[str, Any]) -> str:
    """A figure of the suite; of several seeds, what each one's is held to, too."""
    said = [row["note"]] if row["note"] else []
    if row["seeds"]:
        held = " / ".join(f"{100 * each:.1f}" for each in row["seeds"])
        said.append(f"{row['basis'] or 'by seed'} {held}")
    return f"  {100 * row['value']:.1f}  {row['figure']}" + (
        f" ({'; '.join(said)})" if said else ""
    )


@app.command()
def choose(
    data: Annotated[Path, typer.Option(help="Folder with the recordings.")],
    recipe: Annotated[str, typer.Option(help="seed, stream, edge or a .toml file.")] = "stream",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A field in place of the recipe's: epochs=24.")
    ] = None,
    protocol: Annotated[
        Protocol | None, typer.Option(help="What is held out.", show_default="both")
    ] = None,
    seeds: Annotated[
        str,
        typer.Option(
            help="Of the random splits; the first ones are those of fits on actors. Never 42 to 46."
        ),
    ] = "7-11",
    trainings: Annotated[
        int, typer.Option(min=1, help="Of each set of actors, with so many of the seeds.")
    ] = 1,
    whisper: Annotated[str | None, typer.Option(help="Hub name or folder.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of the feature cache.")] = None,
    json: Annotated[Path | None, typer.Option(help="Result file to write.")] = None,
) -> None:
    """Measure a recipe with changes, on what no report shows."""
    drawn = unreported(seeds)
    if trainings > len(drawn):
        raise ConfigurationError(
            f"--trainings {trainings}: expected at most {len(drawn)}, as many as --seeds {seeds} has"
        )
    changed = overridden(load_recipe(recipe), settings or [])
    material = prepare(changed, data, cache or default_cache(), whisper)
    reports = {}
    for each in [protocol] if protocol else list(Protocol):
        reports[str(each)] = measure(material, each, drawn, trainings)
        typer.echo("\n".join(lines(each, reports[str(each)])))
    if json is not None:
        write_json(json, reports)


if __name__ == "__main__":
    command_line.run(app)
