"""A recipe is chosen by nothing that is reported."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from benchmarks import choose_recipe
from benchmarks.choose_recipe import Protocol, fits, lines, measure, overridden, unreported
from emotion.errors import ConfigurationError
from tests.train.measured import measured as made_up
from train.corpora import Clip
from train.evaluate import figures, probabilities
from train.features import Features
from train.fit import fit_head
from train.recipe import Recipe, Tuning, load_recipe
from train.runs import Material, Trained
from train.splits import EMOBOX_FOLDS, Split, random_split

RECIPE = Recipe(name="small", hidden=(8,), batch_norm=(True,), dropout=(0.0,), epochs=2)
SEEDS = range(7, 9)


def features() -> Features:
    clips = tuple(
        Clip(Path(f"{channel}-{emotion}-{actor}.wav"), emotion, actor, channel)
        for actor in range(1, 25)
        for channel in ("speech", "song")
        for emotion in range(8)
    )
    random = np.random.default_rng(3)
    emotions = np.eye(8, dtype=np.float32)[[clip.emotion for clip in clips]]
    noise = random.normal(0, 0.4, (len(clips), 8)).astype(np.float32)
    return Features(clips, emotions + noise)


def material() -> Material:
    return Material(RECIPE, cast("Any", None), list(features().clips), cast("Any", None), Path())


@pytest.fixture
def hears(monkeypatch: pytest.MonkeyPatch) -> Callable[[Features], None]:
    """Has a split's sides taken from made-up features in place of recordings."""

    def instead(of: Features) -> None:
        def train_split(material: Material, split: Split, seed: int, folder: Path) -> Trained:
            held_out = of[split.test]
            fitted = fit_head(of[split.train], material.recipe, seed, held_out)
            found = probabilities(fitted.head, held_out.embeddings)
            return Trained(material.embedder, fitted, figures(held_out.emotions, found))

        monkeypatch.setattr(choose_recipe, "train_split", train_split)
        monkeypatch.setattr(
            choose_recipe, "judged", lambda _, split, seed, *__: made_up(split.name, 0.5, seed)
        )

    return instead


def without(actors: frozenset[int]) -> Features:
    """The corpus with every clip of these actors spoilt: one touch and all figures change."""
    whole = features()
    spoilt = whole.embeddings.copy()
    spoilt[np.isin(whole.actors, sorted(actors))] *= -50
    return replace(whole, embeddings=spoilt)


@pytest.mark.parametrize("songs", [False, True])
def test_the_actors_of_the_fold_that_is_set_aside_are_neither_trained_on_nor_judged(
    songs: bool,
) -> None:
    corpus = features()
    planned = fits(corpus.clips, Protocol.actors, SEEDS, songs, 1)
    for number, ((split, _), aside) in enumerate(zip(planned, EMOBOX_FOLDS, strict=True)):
        judged = EMOBOX_FOLDS[(number + 1) % 6]
        assert set(corpus[split.test].actors) == judged
        assert set(corpus[split.train].actors) == set(range(1, 25)) - judged - aside


def test_figures_on_inner_folds_do_not_depend_on_the_fold_that_is_set_aside(
    hears: Callable[[Features], None],
) -> None:
    hears(features())
    whole = measure(material(), Protocol.actors, SEEDS)
    for number, aside in enumerate(EMOBOX_FOLDS):
        hears(without(aside))
        spoilt = measure(material(), Protocol.actors, SEEDS)
        same = [a == b for a, b in zip(whole["folds"], spoilt["folds"], strict=True)]
        assert same == [index == number for index in range(6)]


def test_random_splits_and_fits_are_those_of_the_seeds_asked_for(
    monkeypatch: pytest.MonkeyPatch, hears: Callable[[Features], None]
) -> None:
    hears(features())
    drawn: list[int] = []

    def recorded(clips: Any, seed: int) -> Any:
        drawn.append(seed)
        return random_split(clips, seed)

    monkeypatch.setattr(choose_recipe, "random_split", recorded)
    report = measure(material(), Protocol.random, SEEDS)
    assert drawn == report["fit_seeds"] == [7, 8]
    assert [part["name"] for part in report["seeds"]] == ["seed-7", "seed-8"]
    assert set(measure(material(), Protocol.actors, SEEDS)["fit_seeds"]) == {7}


def test_actors_may_be_judged_by_models_of_several_seeds(hears: Callable[[Features], None]) -> None:
    hears(features())
    one, both = (measure(material(), Protocol.actors, SEEDS, count) for count in (1, 2))
    assert both["fit_seeds"] == [7] * 6 + [8] * 6 and both["trainings"] == [7, 8]
    assert both["n"] == one["n"]
    assert [part["name"] for part in both["folds"][::6]] == [
        "seed-7/fold-2-not-1",
        "seed-8/fold-2-not-1",
    ]
    assert both["folds"][:6] == [part | {"name": f"seed-7/{part['name']}"} for part in one["folds"]]
    assert both["folds"][6]["ece"] != both["folds"][0]["ece"]
    printed = lines(Protocol.actors, both)
    assert "  50.0  UA, whole clips, no adaptation (by seed 50.0 / 50.0)" in printed
    (telephone,) = [line for line in printed if "telephone" in line]
    assert telephone.endswith("; below clean 0.0 / 0.0)")


def test_more_trainings_than_seeds_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected at most 2, as many as --seeds 7-8 has"):
        choose_recipe.choose(Path(), seeds="7-8", trainings=3)


@pytest.mark.parametrize("text", ["42", "46", "7-42", "40-50", "44-45"])
def test_the_seeds_that_are_reported_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="are reported"):
        unreported(text)


@pytest.mark.parametrize("text", ["", "seven", "9-7", "-7", "100-200", "7-8-9"])
def test_seeds_that_are_no_short_range_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        unreported(text)


def test_settings_replace_fields_of_the_recipe() -> None:
    stream = load_recipe("stream")
    changed = overridden(stream, ["temperature=0.5", "learning_rate=3e-4", "dropout=[0.6, 0.0]"])
    assert (changed.temperature, changed.learning_rate) == (0.5, 3e-4)
    assert changed.dropout == (0.6, 0.0)
    assert changed.weight_decay == stream.weight_decay
    assert overridden(stream, []) == stream


def test_a_setting_within_a_table_leaves_the_rest_of_the_table() -> None:
    stream = load_recipe("stream")
    changed = overridden(stream, ["augment.noise=0.25"]).augment
    assert changed is not None and stream.augment is not None
    assert changed == msgspec.structs.replace(stream.augment, noise=0.25)
    assert overridden(load_recipe("seed"), ["tuning.epochs=3", "augment={}"]).tuning == Tuning(
        epochs=3
    )


def test_a_table_can_be_taken_away() -> None:
    assert load_recipe("stream").tuning is not None
    assert overridden(load_recipe("stream"), ["tuning=false"]).tuning is None


@pytest.mark.parametrize(
    "setting", ["epochs", "epochs=many", "epochs=-1", "epcohs=1", "hidden=[8]", "seed=42"]
)
def test_a_setting_that_fits_no_recipe_is_refused_by_name(setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting.partition("=")[0]):
        overridden(load_recipe("stream"), [setting])


def test_the_command_prints_a_line_for_each_protocol_and_the_suites_figures_and_writes_both(
    monkeypatch: pytest.MonkeyPatch,
    hears: Callable[[Features], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hears(features())
    monkeypatch.setattr(
        choose_recipe, "prepare", lambda recipe, *_: replace(material(), recipe=recipe)
    )
    monkeypatch.setattr(choose_recipe, "load_recipe", lambda _: RECIPE)
    to = tmp_path / "chosen.json"
    choose_recipe.choose(tmp_path, settings=["epochs=1"], seeds="7-8", json=to)
    first, second, *table = capsys.readouterr().out.splitlines()
    assert first.startswith("random, seed-7 to seed-8 (2), %: accuracy ")
    assert second.startswith("actors, fold-2-not-1 to fold-1-not-6 (6), %: accuracy ")
    assert "  50.0  UA, whole clips, no adaptation" in table
    assert any("second speaker" in figure for figure in table)
    assert '"epochs": 1' in to.read_text()
