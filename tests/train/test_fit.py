"""Fitting: the same weights twice, the statistics, the schedules."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from emotion.errors import ConfigurationError
from train import fit
from train.corpora import Clip, load_ravdess
from train.encoder import Embedder, load_whisper
from train.evaluate import figures, probabilities
from train.features import Features, extract
from train.fit import batches, class_weights, fit_head
from train.head import Head
from train.recipe import Augment, Recipe, load_recipe
from train.splits import random_split


@pytest.fixture(scope="module")
def features(corpus: Path, whisper: Path, tmp_path_factory: pytest.TempPathFactory) -> Features:
    recipe = Recipe(name="small", layers=(1, 2), pooling=("mean", "std"))
    embedder = Embedder(load_whisper(str(whisper)), recipe).eval()
    return extract(load_ravdess(corpus), embedder, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("schedule", ["plateau", "one-cycle", "constant"])
def test_the_same_seed_gives_bit_identical_weights_twice(
    schedule: str, features: Features, recipe: Recipe
) -> None:
    recipe = msgspec.structs.replace(recipe, schedule=schedule)
    split = random_split(features.clips, 5)
    train, test = features[split.train], features[split.test]
    first, second = (fit_head(train, recipe, 5, test) for _ in range(2))
    for name, value in first.head.state_dict().items():
        assert torch.equal(value, second.head.state_dict()[name]), name
    assert first.history == second.history


def test_the_published_head_is_bit_identical_twice_too(features: Features) -> None:
    recipe = msgspec.structs.replace(load_recipe("seed"), epochs=2)
    split = random_split(features.clips, 5)
    train, test = features[split.train], features[split.test]
    first, second = (fit_head(train, recipe, 42, test).head.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_traits_are_learnt_from_plain_pieces_and_from_no_others(
    made_up_clips: Callable[[int, int], tuple[Clip, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "_set_statistics", lambda *_: None)  # they are of all pieces
    random = np.random.default_rng(0)
    clips = made_up_clips(6, 4)
    whole, plain, varied = (
        random.normal(size=(len(clips), 12)).astype(np.float32) for _ in range(3)
    )
    recipe = Recipe(
        name="small",
        hidden=(8,),
        batch_norm=(True,),
        dropout=(0.0,),
        epochs=1,
        traits=4,
        augment=Augment(plain_views=1, varied_views=1),
    )

    def projection(*pieces: npt.NDArray[np.float32]) -> Tensor:
        learnt = Features(clips, whole, np.stack(pieces, axis=1))
        return fit_head(learnt, recipe, 1).head.projection

    before = projection(plain, varied)
    assert before.any()
    assert torch.equal(before, projection(plain, 2 * varied))
    assert not torch.equal(before, projection(2 * plain + whole, varied))


def test_another_seed_gives_other_weights(features: Features, recipe: Recipe) -> None:
    first, second = (fit_head(features, recipe, seed).head for seed in (1, 2))
    assert not torch.equal(first.mlp[1].weight, second.mlp[1].weight)  # type: ignore[arg-type]


def test_held_out_clips_change_nothing_unless_the_schedule_watches_them(
    features: Features, recipe: Recipe
) -> None:
    alone, watched = (fit_head(features, recipe, 1, seen) for seen in (None, features))
    for name, value in alone.head.state_dict().items():
        assert torch.equal(value, watched.head.state_dict()[name]), name
    assert alone.history[-1]["accuracy"] is None


def test_it_learns(features: Features, recipe: Recipe) -> None:
    fitted = fit_head(features, msgspec.structs.replace(recipe, epochs=25), 1)
    measured = figures(features.emotions, probabilities(fitted.head, features.embeddings))
    assert measured["accuracy"] > 0.9
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]


def test_pieces_of_the_training_clips_are_learnt_from(features: Features, recipe: Recipe) -> None:
    louder = np.repeat(features.embeddings[:, np.newaxis] * 1.5, 2, axis=1)
    pieces = Features(features.clips, features.embeddings, louder)
    with_pieces = fit_head(pieces, recipe, 1).head
    assert torch.allclose(with_pieces.mean, torch.from_numpy(pieces.views.mean((0, 1))), atol=1e-4)
    assert not torch.equal(with_pieces.mean, fit_head(features, recipe, 1).head.mean)


def test_a_head_that_has_learnt_adaptation_bears_a_channels_own_statistics(
    features: Features, recipe: Recipe
) -> None:
    # Every actor's embeddings lie far elsewhere; a channel's own statistics take that away.
    random = np.random.default_rng(0)
    offsets = random.normal(size=(25, features.embeddings.shape[1])) * features.embeddings.std(0)
    moved = features.embeddings + 30 * offsets[features.actors].astype(np.float32)
    learnt = Features(features.clips, moved)
    recipe = msgspec.structs.replace(recipe, epochs=30, prior_s=0.1)

    def right(adapted: float) -> float:
        head = fit_head(learnt, msgspec.structs.replace(recipe, adapted=adapted), 1).head
        answers = []
        for actor in np.unique(features.actors):
            own = features.actors == actor
            rows = torch.from_numpy(moved[own])
            mean, std = rows.mean(0).expand_as(rows), rows.std(0).expand_as(rows)
            found = head(rows, mean, std.reciprocal()).argmax(1).numpy()
            answers += list(found == features.emotions[own])
        return float(np.mean(answers))

    assert right(0.9) > right(0.0) + 0.1


def test_statistics_come_from_the_training_clips_alone(features: Features, recipe: Recipe) -> None:
    split = random_split(features.clips, 5)
    train, test = features[split.train], features[split.test]
    head = fit_head(train, recipe, 5, test).head
    expected = train.embeddings.mean(axis=0, dtype=np.float64), train.embeddings.std(axis=0)
    np.testing.assert_allclose(head.mean.numpy(), expected[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(head.std.numpy(), np.maximum(expected[1], 1e-4), rtol=1e-3)


def test_a_recipe_that_does_not_standardise_keeps_0_and_1(
    features: Features, recipe: Recipe
) -> None:
    head = fit_head(features, msgspec.structs.replace(recipe, standardize=False), 5).head
    assert not head.mean.any() and (head.std == 1).all()


def test_a_dimension_that_never_moves_does_not_explode(features: Features, recipe: Recipe) -> None:
    still = features.embeddings.copy()
    still[:, 0] = 3.0
    head = fit_head(Features(features.clips, still), recipe, 5).head
    assert np.isfinite(probabilities(head, still)).all()


def test_the_temperature_sharpens_the_answers_and_changes_none(
    features: Features, recipe: Recipe
) -> None:
    sharp = msgspec.structs.replace(recipe, temperature=0.5)
    plain, sharpened = (
        probabilities(fit_head(features, chosen, 5).head, features.embeddings)
        for chosen in (recipe, sharp)
    )
    assert np.array_equal(plain.argmax(axis=1), sharpened.argmax(axis=1))
    assert (sharpened.max(axis=1) > plain.max(axis=1)).all()
    squared = plain**2 / (plain**2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(sharpened, squared, rtol=1e-4, atol=1e-6)


def test_plateau_without_held_out_clips_is_refused(features: Features, recipe: Recipe) -> None:
    with pytest.raises(ConfigurationError, match="'plateau' needs held-out clips"):
        fit_head(features, msgspec.structs.replace(recipe, schedule="plateau"), 5)


def test_plateau_halves_the_rate_after_more_than_three_epochs_without_gain() -> None:
    random = np.random.default_rng(0)
    clips = tuple(Clip(Path(f"{row}.wav"), row % 8, 1, "speech") for row in range(16))
    noise = Features(clips, random.normal(size=(16, 128)).astype(np.float32))
    recipe = Recipe(
        name="still", hidden=(4,), batch_norm=(True,), dropout=(0.0,), learning_rate=1e-6,
        schedule="plateau", epochs=6,
    )  # fmt: skip
    rates = [epoch["learning_rate"] for epoch in fit_head(noise, recipe, 1, noise).history]
    assert rates == pytest.approx([1e-6] * 5 + [5e-7])


@pytest.mark.parametrize(("clips", "sizes"), [(33, [32]), (34, [32, 2]), (64, [32, 32]), (2, [2])])
def test_a_last_batch_of_one_is_left_out(clips: int, sizes: list[int]) -> None:
    assert [len(rows) for rows in batches(torch.arange(clips), 32)] == sizes


def test_class_weights_are_scikit_learns_balanced_ones() -> None:
    emotions = np.array([0, 0, 0, 1, 2, 3, 4, 4, 5, 6, 7], dtype=np.int64)
    expected = compute_class_weight("balanced", classes=np.arange(8), y=emotions)
    np.testing.assert_allclose(class_weights(emotions).numpy(), expected, rtol=1e-6)


def test_a_class_without_clips_weighs_nothing_and_the_others_as_if_it_were_not() -> None:
    emotions = np.array([0, 0, 0, 4, 6, 6], dtype=np.int64)
    expected = compute_class_weight("balanced", classes=np.array([0, 4, 6]), y=emotions)
    weights = class_weights(emotions).numpy()
    np.testing.assert_allclose(weights[[0, 4, 6]], expected, rtol=1e-6)
    assert not weights[[1, 2, 3, 5, 7]].any()


@pytest.mark.parametrize("weighted", [True, False])
def test_emotions_that_a_corpus_does_not_have_leave_a_finite_head_that_hardly_names_them(
    weighted: bool, features: Features, recipe: Recipe
) -> None:
    few = features[np.flatnonzero(np.isin(features.emotions, (0, 4)))]
    recipe = msgspec.structs.replace(recipe, class_weights=weighted, adapted=0.5, epochs=20)
    fitted = fit_head(few, recipe, 1, few)
    assert all(torch.isfinite(value).all() for value in fitted.head.state_dict().values())
    assert all(np.isfinite(epoch["loss"]) for epoch in fitted.history)
    named = probabilities(fitted.head, few.embeddings).argmax(axis=1)
    assert set(named.tolist()) <= {0, 4}


def test_the_published_head_has_the_published_shape() -> None:
    layers = [type(layer).__name__ for layer in Head(512, load_recipe("seed")).mlp]
    hidden = ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    assert layers == ["LayerNorm", *hidden, *hidden, "Linear", "ReLU", "Linear"]
    sizes = [p.shape for p in Head(512, load_recipe("seed")).parameters() if p.ndim == 2]
    assert [tuple(size) for size in sizes] == [(1024, 512), (512, 1024), (256, 512), (8, 256)]


def test_a_channels_own_statistics_take_the_place_of_the_corpuss(recipe: Recipe) -> None:
    head = Head(128, recipe).eval()
    head.mean.fill_(2.0)
    head.std.fill_(4.0)
    embedding = torch.randn(3, 128, generator=torch.Generator().manual_seed(0))
    own = head(embedding, torch.full((3, 128), 2.0), torch.full((3, 128), 0.25))
    assert torch.equal(head(embedding), own)
    assert not torch.equal(head(embedding), head(embedding, torch.zeros(3, 128)))
