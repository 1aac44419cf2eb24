"""Traits: what they are said to be, found in made-up voices."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from train import traits as traits_of
from train.corpora import Clip
from train.features import Features
from train.head import Head
from train.recipe import Recipe
from train.traits import learn_traits

D = 24
RECIPE = Recipe(name="small", hidden=(8,), batch_norm=(True,), dropout=(0.0,), traits=4)


@pytest.fixture
def features(made_up_clips: Callable[[int, int], tuple[Clip, ...]]) -> Features:
    """Twelve voices, eight emotions, six repetitions: emotions lie along four axes, voices along two."""
    random = np.random.default_rng(0)
    clips = made_up_clips(12, 6)
    emotions = np.zeros((8, D))
    emotions[:, :4] = random.normal(size=(8, 4)) * 3
    voices = np.zeros((12, 8, D))
    voices[:, :, :2] = random.normal(size=(12, 8, 2)) * 2
    rows = [emotions[c.emotion] + voices[c.actor, c.emotion] for c in clips]
    noise = random.normal(size=(len(clips), D))
    return Features(clips, (np.array(rows) + noise).astype(np.float32))


def _learnt(features: Features, recipe: Recipe = RECIPE) -> Head:
    head = Head(D, recipe)
    learn_traits(head, features, np.ones(len(features), np.float32), 1e-3)
    return head


def _traits(head: Head, features: Features) -> np.ndarray:
    rows = torch.from_numpy(features.embeddings)
    out = []
    for voice in np.unique(features.actors):
        own = rows[features.actors == voice]
        mean, std = own.mean(0).expand_as(own), own.std(0, correction=0).expand_as(own)
        out.append(head.traits(own, mean, std.reciprocal()).numpy())
    return np.concatenate(out)


def test_repetitions_of_one_emotion_by_one_voice_have_variance_1(
    features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traits_of, "SHRINKAGE", 0.0)
    traits = _traits(_learnt(features), features).reshape(12, 8, 6, 4)
    assert traits.var(axis=2, ddof=1).mean(axis=(0, 1)) == pytest.approx(np.ones(4), abs=0.15)


def test_the_emotions_means_are_the_corpuss(features: Features) -> None:
    head = _learnt(features)
    traits = _traits(head, features).reshape(12, 8, 6, 4)
    np.testing.assert_allclose(head.emotion_traits.numpy(), traits.mean(axis=(0, 2)), atol=0.02)


def test_the_variance_of_voices_is_what_is_left_without_chance(features: Features) -> None:
    head = _learnt(features)
    traits = _traits(head, features).reshape(12, 8, 6, 4)
    offsets = traits.mean(axis=2) - traits.mean(axis=(0, 2))
    expected = (offsets**2).sum(axis=(0, 1)) / (96 - 8) - 1 / 6
    np.testing.assert_allclose(head.voice_variance.numpy(), expected, atol=0.1)
    assert head.voice_variance.max() > 1


def test_plain_pieces_are_voices_of_their_own_and_the_others_are_left_alone(
    features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traits_of, "SHRINKAGE", 0.0)
    random = np.random.default_rng(1)
    noise = random.normal(size=features.embeddings.shape).astype(np.float32)
    # Pieces of one voice's emotion lie apart from its clips, and all pieces from all clips: beside the
    # clips, or in the clips' statistics, they would seem to vary far more than they do.
    apart = 5 * random.normal(size=(12, 8, D)).astype(np.float32)
    shift = np.array([apart[clip.actor, clip.emotion] for clip in features.clips]) + 30
    cut = (features.embeddings + shift + noise).astype(np.float32)
    both = Features(
        features.clips, features.embeddings, np.stack([cut, np.full_like(cut, np.nan)], axis=1)
    )
    head = Head(D, RECIPE)
    learn_traits(head, both, np.ones(len(both), np.float32), 1e-3, plain=1)
    spread = [
        _traits(head, Features(features.clips, rows)).reshape(12, 8, 6, 4).var(axis=2, ddof=1)
        for rows in (features.embeddings, cut)
    ]
    mean = sum(each.mean(axis=(0, 1)) for each in spread) / 2
    assert mean == pytest.approx(np.ones(4), abs=0.15)


def test_an_emotion_that_nobody_has_stands_in_the_middle_and_changes_nothing_else(
    features: Features,
) -> None:
    few = features[np.flatnonzero(np.isin(features.emotions, (0, 2, 3, 4, 6)))]
    head = _learnt(few)
    means = head.emotion_traits.numpy()
    assert np.isfinite(means).all() and head.voice_variance.isfinite().all()
    np.testing.assert_allclose(means[[1, 5, 7]], 0, atol=0.02)
    traits = _traits(head, few).reshape(12, 5, 6, 4)
    np.testing.assert_allclose(means[[0, 2, 3, 4, 6]], traits.mean(axis=(0, 2)), atol=0.02)
    offsets = traits.mean(axis=2) - traits.mean(axis=(0, 2))
    expected = (offsets**2).sum(axis=(0, 1)) / (60 - 5) - 1 / 6
    np.testing.assert_allclose(head.voice_variance.numpy(), expected, atol=0.1)


def test_with_hardly_a_repetition_there_are_no_traits(
    features: Features, caplog: pytest.LogCaptureFixture
) -> None:
    head = _learnt(features[np.arange(0, len(features), 6)])
    assert not head.projection.any() and not head.voice_variance.any()
    assert "no traits" in caplog.text


def test_pieces_of_a_clip_are_no_repetitions_of_it(
    features: Features, caplog: pytest.LogCaptureFixture
) -> None:
    few = features[np.arange(0, len(features), 6)]
    pieces = np.repeat(few.embeddings[:, np.newaxis], 6, axis=1)
    head = Head(D, RECIPE)
    learn_traits(
        head,
        Features(few.clips, few.embeddings, pieces),
        np.ones(len(few), np.float32),
        1e-3,
        plain=6,
    )
    assert not head.projection.any()
    assert "no traits: 0 repetitions" in caplog.text


def test_a_recipe_without_traits_learns_none(features: Features) -> None:
    recipe = Recipe(name="plain", hidden=(8,), batch_norm=(True,), dropout=(0.0,))
    assert _learnt(features, recipe).projection.shape == (D, 0)
