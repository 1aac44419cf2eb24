"""Streams: who is drawn, in what order, and that they are judged as the engine judges."""

import numpy as np
import pytest
import torch

from emotion.adapt import Baseline, Statistics
from train.head import Head
from train.recipe import Recipe
from train.streams import (
    Answers,
    Voice,
    answers,
    balanced,
    by_position,
    hand_over,
    neutral_heavy,
    pooled,
)

DIM = 6
ACTOR = np.array([0] * 4 + [label for label in range(1, 8) for _ in range(8)])
"""The emotions of an actor's 60 clips in RAVDESS' speech."""


@pytest.fixture
def head(recipe: Recipe) -> Head:
    torch.manual_seed(0)
    head = Head(DIM, recipe)
    head.mean.copy_(torch.linspace(-1, 1, DIM))
    head.std.copy_(torch.linspace(0.5, 2, DIM))
    return head.eval()


def prior(head: Head) -> Baseline:
    return Baseline.prior(head.mean.numpy(), head.std.numpy(), 6.0)


def _classified(
    head: Head, embedding: np.ndarray[tuple[int], np.dtype[np.float32]], known: Statistics
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    statistics = torch.from_numpy(known.mean), torch.from_numpy(known.inv_std)
    with torch.inference_mode():
        return head(torch.from_numpy(embedding[np.newaxis]), *statistics).softmax(dim=1).numpy()[0]


def voice(seed: int, clips: int = 60) -> Voice:
    random = np.random.default_rng(seed)
    embeddings = random.normal(2, 1, (clips, DIM)).astype(np.float32)
    return Voice(embeddings, np.resize(ACTOR, clips), random.uniform(0.5, 2.5, clips))


def test_a_balanced_stream_holds_every_clip_once() -> None:
    order = balanced(ACTOR, np.random.default_rng(0))
    assert sorted(order) == list(range(60)) and list(order) != list(range(60))


def test_a_neutral_heavy_stream_is_seven_tenths_neutral_and_calm_and_draws_nothing_twice() -> None:
    random = np.random.default_rng(0)
    heard = set()
    for _ in range(100):
        order = neutral_heavy(ACTOR, random)
        quiet = np.isin(ACTOR[order], [0, 1])
        assert len(order) == len(set(order)) == 17 and quiet.sum() == 12
        heard |= set(order)
    assert heard == set(range(60))


def test_without_adaptation_a_clip_is_judged_as_it_is_alone(head: Head) -> None:
    stream = voice(1, 20)
    with torch.inference_mode():
        alone = head(torch.from_numpy(stream.embeddings)).softmax(dim=1).numpy()
    assert answers(head, [stream]).probabilities == pytest.approx(alone)


def test_each_clip_is_judged_by_the_statistics_that_include_it_and_none_that_follow(
    head: Head,
) -> None:
    stream = voice(2, 12)
    said = answers(head, [stream], prior(head)).probabilities
    for place in (0, 5, 11):
        baseline = prior(head)
        for embedding, seconds in list(zip(stream.embeddings, stream.speech_s, strict=True))[
            : place + 1
        ]:
            baseline = baseline.including(embedding, float(seconds))
        own, strangers = (
            _classified(head, stream.embeddings[place], each)
            for each in (baseline.channel, baseline.since)
        )
        share = baseline.suspicion
        assert said[place] == pytest.approx((1 - share) * own + share * strangers, abs=1e-6)


def test_a_clip_that_may_be_a_strangers_is_judged_as_both(head: Head) -> None:
    stream = voice(2, 30)
    stream.embeddings[20:] -= 6
    said = answers(head, [stream], prior(head)).probabilities
    baseline, seen = prior(head), []
    for place, (embedding, seconds) in enumerate(
        zip(stream.embeddings, stream.speech_s, strict=True)
    ):
        baseline = baseline.including(embedding, float(seconds))
        if 0.1 < baseline.suspicion < 0.9:
            own, strangers = (
                _classified(head, embedding, each) for each in (baseline.channel, baseline.since)
            )
            seen.append(np.abs(own - strangers).max())
            share = baseline.suspicion
            assert said[place] == pytest.approx((1 - share) * own + share * strangers, abs=1e-6)
    assert max(seen) > 0.01


def test_every_stream_starts_from_the_prior(head: Head) -> None:
    stream = voice(3, 10)
    said = answers(head, [stream, stream], prior(head))
    assert said.probabilities[:10] == pytest.approx(said.probabilities[10:])
    assert list(said.position) == [*range(10), *range(10)]


def test_a_hand_over_is_one_speakers_clips_and_then_anothers() -> None:
    first, second = voice(4), voice(5)
    call = hand_over(first, second, 30, np.random.default_rng(0))
    owners = [
        [any(np.array_equal(row, own) for own in actor.embeddings) for row in call.embeddings]
        for actor in (first, second)
    ]
    assert owners == [[True] * 30 + [False] * 30, [False] * 30 + [True] * 30]


def test_ua_pools_all_answers_of_a_class() -> None:
    right, wrong = np.eye(8, dtype=np.float32)[[0, 1]], np.eye(8, dtype=np.float32)[[0, 0]]
    truth = np.array([0, 1])
    parts = [Answers(truth, np.array([0, 1]), right), Answers(truth, np.array([1, 0]), wrong)]
    both = pooled(parts)
    assert both.ua() == pytest.approx(0.75)  # 0: two of two; 1: one of two
    assert by_position(both) == pytest.approx([0.5, 1.0])
