"""The figures of cross-validations, for a model that is trained on everything."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from emotion.errors import ConfigurationError
from train.evaluate import Figures, combined, summary
from train.recipe import Recipe
from train.splits import Protocol


class Model(Figures):
    """One of a cross-validation's.

    Attributes:
        name: `fold-1`; of random splits, `seed-42`.
    """

    name: str


Models = Annotated[list[Model], msgspec.Meta(min_length=1)]


class Report(msgspec.Struct):
    """What is read of a `crossval.json`."""

    protocol: Protocol
    recipe: Recipe
    folds: Models | None = None
    seeds: Models | None = None


def crossval_metrics(folders: Sequence[Path], recipe: Recipe) -> dict[str, Any]:
    """Figures by protocol; of folds that were trained with several seeds, the means over all.

    Args:
        folders: each with a `crossval.json`.
        recipe: of the model that is to carry them. Its seed is among the cross-validations'.

    Raises:
        ConfigurationError: a folder holds no cross-validation, one of another recipe, or models that
            another folder has, too.
    """
    found: defaultdict[Protocol, dict[tuple[str, int], Figures]] = defaultdict(dict)
    for folder in folders:
        report = _read(folder)
        if msgspec.structs.replace(report.recipe, seed=recipe.seed) != recipe:
            raise ConfigurationError(
                f"--metrics-from {folder}: its recipe is not the one being fitted, so its figures "
                "are not this model's; run crossval again"
            )
        # A random split is trained with the seed that it is drawn with.
        seed = 0 if report.protocol == "random" else report.recipe.seed
        models: dict[tuple[str, int], Figures] = {
            (model["name"], seed): model for model in _models(report)
        }
        if known := found[report.protocol].keys() & models.keys():
            names = ", ".join(sorted(name for name, _ in known))
            raise ConfigurationError(
                f"--metrics-from {folder}: another folder has {names} with the same seed already; "
                "name each cross-validation once"
            )
        found[report.protocol] |= models
    return {protocol: _summary(protocol, models, recipe) for protocol, models in found.items()}


def _read(folder: Path) -> Report:
    try:
        content = (folder / "crossval.json").read_bytes()
        report = msgspec.json.decode(content, type=Report)
        if not _models(report):
            raise ValueError("it lists no models")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"--metrics-from {folder}: no readable crossval.json ({error}); run emotion-train "
            "crossval"
        ) from error
    return report


def _models(report: Report) -> Models:
    return report.folds or report.seeds or []


def _summary(
    protocol: Protocol, models: dict[tuple[str, int], Figures], recipe: Recipe
) -> dict[str, Any]:
    seeds = sorted({seed for _, seed in models})
    if protocol != "random" and recipe.seed not in seeds:
        raise ConfigurationError(
            f"--metrics-from: cross-validations with the seeds {seeds}, but the model's is "
            f"{recipe.seed}; name the one with its seed, too"
        )
    parts = [(name, figures) for (name, _), figures in models.items()]
    return summary(combined(protocol, parts, recipe, seeds))
