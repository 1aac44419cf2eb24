"""Prototypes: nothing before anything was heard, the model's own mathematics after, no window twice."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from emotion.adapt import Baseline
from emotion.prototypes import UTTERANCE_S, Prototypes, Voices

K = 3
EVEN = np.full(8, 1 / 8, np.float32)


@pytest.fixture
def voices() -> Voices:
    random = np.random.default_rng(0)
    means = random.normal(size=(8, K)).astype(np.float32)
    return Voices(means, np.array([0.5, 2.0, 4.0], np.float32), trust=1.0)


def _sure(label: int) -> np.ndarray:
    return np.eye(8, dtype=np.float32)[label]


def test_nothing_heard_corrects_nothing(voices: Voices) -> None:
    said = np.linspace(1, 2, 8, dtype=np.float32)
    assert Prototypes.none(voices).corrected(said, np.ones(K, np.float32)) is said


def test_the_correction_is_the_ratio_of_predictive_densities(voices: Voices) -> None:
    # What two repetitions of `happy` (2) say of a third: by the joint normal distribution of all three.
    heard = np.random.default_rng(1).normal(size=(3, K)).astype(np.float32)
    known = Prototypes.none(voices)
    for place, traits in enumerate(heard[:2]):
        known = known.including(place, _sure(2), traits, UTTERANCE_S)
    found = known.before(2).corrected(EVEN, heard[2])

    joint = 0.0
    for axis in range(K):
        mean = np.full(3, voices.means[2, axis])
        shared = voices.variance[axis] * np.ones((3, 3)) + np.eye(3)
        joint += multivariate_normal(mean, shared).logpdf(heard[:, axis])
        joint -= multivariate_normal(mean[:2], shared[:2, :2]).logpdf(heard[:2, axis])
        joint -= multivariate_normal(mean[:1], shared[:1, :1]).logpdf(heard[2:, axis])
    expected = np.exp(np.where(np.arange(8) == 2, joint, 0.0))
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-4)


def test_a_voice_whose_anger_sounds_like_others_joy_is_understood_after_a_while() -> None:
    means = np.zeros((8, 2), np.float32)
    means[2, 0], means[4, 1] = 3, 3  # happy, angry
    known = Prototypes.none(Voices(means, np.full(2, 4.0, np.float32), trust=1.0))
    odd = np.array([1.6, 1.4], np.float32)  # its anger lies between both
    unsure = np.full(8, 1e-3, np.float32)
    unsure[2], unsure[4] = 0.5, 0.49
    assert known.corrected(unsure, odd)[2] > known.corrected(unsure, odd)[4]
    for place in range(5):  # said in other words, so that the classifier knew
        known = known.including(place, _sure(4), odd, UTTERANCE_S)
        known = known.including(place, _sure(2), np.array([4, -2], np.float32), UTTERANCE_S)
    assert known.before(5).corrected(unsure, odd)[4] > 0.9


def _known(voices: Voices, offset: float) -> Prototypes:
    """Of a voice whose traits lie so far from the corpus's, ten repetitions of each emotion."""
    known = Prototypes.none(voices)
    for label in range(8):
        traits = voices.means[label] + np.float32(offset)
        known = known.including(0, _sure(label), traits, 10 * UTTERANCE_S)
    return known.before(0)


def test_how_likely_the_same_voice_is_follows_bayes(voices: Voices) -> None:
    known, said = _known(voices, 2.0), np.linspace(1, 2, 8, dtype=np.float32) / 12
    traits = voices.means[3] + 1
    unsure = voices.variance / (1 + 10 * voices.variance)
    here, anywhere = (
        sum(
            share * multivariate_normal(mean, np.diag(1 + variance)).pdf(traits)
            for share, mean in zip(said, means, strict=True)
        )
        for means, variance in (
            (voices.means + 2 * 10 * unsure, unsure),
            (voices.means, voices.variance),
        )
    )
    expected = 0.95 * here / (0.95 * here + 0.05 * anywhere)
    found = known.recognising(said, traits, UTTERANCE_S)
    assert found.same == pytest.approx(expected, rel=1e-4)


def test_a_stranger_is_told_from_the_voice_and_then_nothing_is_corrected(voices: Voices) -> None:
    known, own = _known(voices, 3.0), []
    random = np.random.default_rng(3)
    for place in range(80):
        label = place % 8
        traits = voices.means[label] + random.normal(size=K) + (3 if place < 40 else -3)
        known = known.recognising(EVEN, traits.astype(np.float32), UTTERANCE_S)
        own.append(known.same)
    assert min(own[:40]) > 0.3 and max(own[42:]) < 0.1
    traits = voices.means[0] + 3
    assert known.corrected(EVEN, traits) == pytest.approx(EVEN, abs=known.same)


def test_where_no_other_voice_can_come_none_is_noticed(voices: Voices) -> None:
    known = _known(replace(voices, change=0.0), 3.0)
    assert known.recognising(EVEN, voices.means[0] - 9, UTTERANCE_S).same == 1


def test_seconds_that_were_heard_before_recognise_nobody(voices: Voices) -> None:
    known = _known(voices, 3.0)
    far = voices.means[0] - 9
    assert known.recognising(EVEN, far, 0.0) is known
    half = known.recognising(EVEN, far, UTTERANCE_S / 10)
    assert known.recognising(EVEN, far, UTTERANCE_S).same < half.same < 1


@pytest.mark.parametrize("far", [1e3, -1e6])
def test_no_window_is_ever_beyond_numbers(voices: Voices, far: float) -> None:
    known = _known(voices, 3.0)
    for _ in range(5):
        known = known.recognising(EVEN, np.full(K, far, np.float32), 100.0)
        assert 0 <= known.same <= 1


def test_a_window_teaches_nothing_to_those_that_overlap_it(voices: Voices) -> None:
    traits = np.ones(K, np.float32)
    known = Prototypes.none(voices).including(48_000, _sure(1), traits, 1.0)
    assert not known.before(47_999).counts.any()
    later = known.before(48_000)
    assert later.counts[1] == pytest.approx(1.0 / UTTERANCE_S)
    assert not later.fresh


def test_what_waits_is_bounded_by_what_overlaps(voices: Voices) -> None:
    known = Prototypes.none(voices)
    for end in range(160_000, 160_000 * 20, 4_000):  # windows of 10 s, four a second
        known = known.before(end - 160_000).including(end, EVEN, np.ones(K, np.float32), 0.25)
        assert len(known.fresh) <= 40


def test_without_new_speech_nothing_is_learnt(voices: Voices) -> None:
    known = Prototypes.none(voices)
    assert known.including(1, EVEN, np.ones(K, np.float32), 0.0) is known


def test_probabilities_stay_probabilities_whatever_is_heard(voices: Voices) -> None:
    known = Prototypes.none(voices).including(0, _sure(3), np.full(K, 1e3, np.float32), 100.0)
    for traits in (np.zeros(K, np.float32), np.full(K, -1e4, np.float32)):
        found = known.before(0).corrected(_sure(0), traits)
        assert np.isfinite(found).all() and found.sum() == pytest.approx(1.0, abs=1e-5)


def test_another_voice_starts_with_prototypes_of_its_own(voices: Voices) -> None:
    random = np.random.default_rng(2)
    mean, std = np.zeros(64, np.float32), np.ones(64, np.float32)
    baseline = Baseline.prior(mean, std, 6.0, voices=voices)
    lessons = []
    for place in range(60):
        offset = 3 if place < 30 else -3
        embedding = (offset + random.normal(size=64)).astype(np.float32)
        baseline = baseline.including(embedding, 2.0)
        _, baseline = baseline.judged(place, place + 1, EVEN, np.ones(K, np.float32), 2.0)
        assert baseline.prototypes is not None
        lessons.append(float(baseline.prototypes.counts.sum()))
    assert lessons[29] == pytest.approx(29, rel=0.01)
    assert min(lessons[30:]) < 1 and lessons[-1] < 29


def test_where_the_voice_is_not_recognised_any_more_the_channel_starts_afresh(
    voices: Voices,
) -> None:
    mean, std = np.zeros(64, np.float32), np.ones(64, np.float32)
    prior = Baseline.prior(mean, std, 6.0, voices=voices)
    known = replace(prior.including(mean + 1, 60.0), prototypes=_known(voices, 3.0))
    assert known.adapted_s == 60
    for place in range(9):
        stranger = voices.means[0] - np.float32(3)
        _, known = known.judged(place, place + 1, _sure(0), stranger, UTTERANCE_S)
        if not known.adapted_s:
            break
    assert place < 3
    assert known.channel is known.since is known.corpus and known.doubt_s == 0
    assert known.prototypes is not None and known.prototypes.same == 1
    # What the last window taught is the stranger's.
    assert known.prototypes.before(place + 1).counts == pytest.approx(_sure(0))


def test_what_may_be_a_strangers_teaches_what_it_was_taken_for(voices: Voices) -> None:
    mean, std = np.zeros(64, np.float32), np.ones(64, np.float32)
    known = replace(Baseline.prior(mean, std, 6.0, voices=voices), doubt_s=1.0)
    traits = np.ones(K, np.float32)
    said, known = known.judged(0, 1, _sure(0), traits, UTTERANCE_S, _sure(1))
    assert said == pytest.approx(_sure(0) * 2 / 3 + _sure(1) / 3)
    assert known.prototypes is not None
    assert known.prototypes.before(1).counts == pytest.approx(said)


def test_a_model_without_traits_judges_as_its_classifier_does() -> None:
    baseline = Baseline.prior(np.zeros(4, np.float32), np.ones(4, np.float32), 6.0)
    said, same = baseline.judged(0, 1, EVEN, np.zeros(0, np.float32), 1.0)
    assert said is EVEN and same is baseline
