"""What one model of a cross-validation is worth, under everything that the evaluation asks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from emotion.adapt import PATIENCE_S, Baseline
from emotion.progress import track
from emotion.prototypes import CHANGE, Voices
from train.evaluate import Figures, figures, probabilities
from train.held_out import NOISES, SNRS_DB, Fold
from train.streams import Answers, Rows, Voice, answers, balanced, hand_over, neutral_heavy

BALANCED_DRAWS: Final = 60  # streams of each actor
CONDITION_DRAWS: Final = 5  # likewise, under each condition
NEUTRAL_DRAWS: Final = 100
HAND_OVER_DRAWS: Final = 5  # of each pair of actors
HAND_OVER_CLIPS: Final = 30
LIVE_BALANCED_DRAWS: Final = 2  # of each actor; a call is 60 clips, some four minutes
LIVE_NEUTRAL_DRAWS: Final = 4
LIVE_HAND_OVER_CLIPS: Final = 15  # of each actor, once for each ordered pair
AS_SERVED: Final = "as served"
"""What is done about a hand-over by default: noticing it."""

Array = npt.NDArray[np.float32]
Draw = Callable[[Rows, np.random.Generator], Rows]


@dataclass(frozen=True)
class Streams:
    """Answers to the same clips at the same positions, one way and the other.

    Attributes:
        adapted: with the channel's own statistics.
        unadapted: with the training set's.
    """

    adapted: Answers
    unadapted: Answers

    def __getitem__(self, rows: npt.NDArray[np.bool_]) -> "Streams":
        return Streams(self.adapted[rows], self.unadapted[rows])


@dataclass(frozen=True)
class Measured:
    """One model's answers.

    Attributes:
        name: the fold's.
        seed: that it was trained with.
        truth: of the held-out clips: int64 [n].
        clips: probabilities of the whole clips by condition, `clean` among them: float32 [n, 8].
        window_truth: of the windows with at least half speech: int64 [m].
        windows: their probabilities: float32 [m, 8].
        window_samples: how long each is: the first two of a clip are shorter: int64 [m].
        window_share: share of all windows that these are.
        streams: `balanced`, `neutral-heavy`; empty where the head cannot adapt.
        conditions: balanced streams that are heard under a condition throughout, likewise.
        hand_over: streams of two speakers by what is done about it, likewise.
        live: windows of whole calls, as a session judges them: `balanced`, `neutral-heavy` and
            `second speaker`, whose alone these are; the position is that of the clip; likewise.
    """

    name: str
    seed: int
    truth: npt.NDArray[np.int64]
    clips: Mapping[str, Array]
    window_truth: npt.NDArray[np.int64]
    windows: Array
    window_samples: npt.NDArray[np.int64]
    window_share: float
    streams: Mapping[str, Streams]
    conditions: Mapping[str, Streams]
    hand_over: Mapping[str, Answers]
    live: Mapping[str, Streams]

    def figures(self, condition: str = "clean") -> Figures:
        """Of the whole clips under a condition."""
        return figures(self.truth, self.clips[condition])


def measure(fold: Fold, seed: int) -> Measured:
    """Judges a fold's held-out clips under every condition.

    Args:
        fold: a model and what it never heard.
        seed: that it was trained with.
    """
    head = fold.checkpoint.head
    heard = track(list(_conditions(fold).items()), fold.name)
    conditions = {name: embeddings() for name, embeddings in heard}
    windows = fold.windows()
    adapts = fold.checkpoint.recipe.standardize
    return Measured(
        name=fold.name,
        seed=seed,
        truth=fold.emotions,
        clips={name: probabilities(head, rows) for name, rows in conditions.items()},
        window_truth=fold.emotions[windows.clip],
        windows=probabilities(head, windows.embeddings),
        window_samples=windows.samples,
        window_share=len(windows.clip) / windows.cut,
        streams=_streams_of(fold) if adapts else {},
        conditions={n: _balanced(fold, rows) for n, rows in conditions.items()} if adapts else {},
        hand_over=_hand_over(fold) if adapts else {},
        live=_live(fold) if adapts else {},
    )


def _conditions(fold: Fold) -> dict[str, Callable[[], Array]]:
    """What embeds the whole clips, by condition."""
    conditions = {"clean": fold.clean, "telephone": fold.over_telephone}
    for kind in NOISES:
        for snr_db in SNRS_DB:
            conditions[f"{kind} {snr_db} dB"] = partial(fold.in_noise, kind, snr_db)
    return conditions


def prior(fold: Fold, *, forgets: bool = True) -> Baseline:
    """What every call starts from: the training set's statistics, as the contract will carry them.

    Args:
        fold: the model's.
        forgets: whether another voice may be noticed.
    """
    head, recipe = fold.checkpoint.head, fold.checkpoint.recipe
    voices = None
    if recipe.traits:
        change = CHANGE if forgets else 0.0
        means, variance = head.emotion_traits.numpy(), head.voice_variance.numpy()
        voices = Voices(means, variance, recipe.trust, change)
    patience_s = PATIENCE_S if forgets else math.inf
    return Baseline.prior(head.mean.numpy(), head.std.numpy(), recipe.prior_s, patience_s, voices)


def _streams_of(fold: Fold) -> dict[str, Streams]:
    """What is said of calls made of a fold's held-out clips, by what kind of call it is."""
    return {
        "balanced": _drawn(fold, fold.voices(), balanced, BALANCED_DRAWS),
        "neutral-heavy": _drawn(fold, fold.voices(), neutral_heavy, NEUTRAL_DRAWS),
    }


def _balanced(fold: Fold, embeddings: Array) -> Streams:
    return _drawn(fold, fold.voices(embeddings), balanced, CONDITION_DRAWS)


def _drawn(fold: Fold, voices: Mapping[int, Voice], draw: Draw, count: int) -> Streams:
    """So many streams of each actor; an actor's draws are always the same."""
    calls: list[Voice] = []
    for actor, voice in voices.items():
        calls += [voice[rows] for rows in _draws(draw, voice.emotions, actor, count)]
    head = fold.checkpoint.head
    return Streams(answers(head, calls, prior(fold)), answers(head, calls))


def _draws(draw: Draw, emotions: Rows, actor: int, count: int) -> list[Rows]:
    random = np.random.default_rng(actor)
    return [draw(emotions, random) for _ in range(count)]


def _hand_over(fold: Fold) -> dict[str, Answers]:
    voices = fold.voices()
    calls: list[Voice] = []
    for first in voices:
        for second in voices:
            random = np.random.default_rng([first, second])
            if first != second:
                pair = voices[first], voices[second]
                calls += [hand_over(*pair, HAND_OVER_CLIPS, random) for _ in range(HAND_OVER_DRAWS)]
    head = fold.checkpoint.head
    return {
        "unadapted": answers(head, calls),
        "never forgetting": answers(head, calls, prior(fold, forgets=False)),
        AS_SERVED: answers(head, calls, prior(fold)),
        "fresh start": _fresh(fold, calls),
    }


def _live(fold: Fold) -> dict[str, Streams]:
    clips = {
        actor: np.flatnonzero(fold.actors == actor) for actor in np.unique(fold.actors).tolist()
    }
    each = min(LIVE_HAND_OVER_CLIPS, *map(len, clips.values()))
    alike: list[Rows] = []
    quiet: list[Rows] = []
    pairs: list[Rows] = []
    for actor, own in clips.items():
        felt = fold.emotions[own]
        alike += [own[rows] for rows in _draws(balanced, felt, actor, LIVE_BALANCED_DRAWS)]
        quiet += [own[rows] for rows in _draws(neutral_heavy, felt, actor, LIVE_NEUTRAL_DRAWS)]
        for other, others in clips.items():
            random = np.random.default_rng([actor, other])
            if other != actor:
                halves = [random.permutation(half)[:each] for half in (own, others)]
                pairs.append(np.concatenate(halves))
    second = _windows_of(fold, pairs)
    return {
        "balanced": _windows_of(fold, alike),
        "neutral-heavy": _windows_of(fold, quiet),
        "second speaker": second[second.adapted.position >= each],
    }


def _windows_of(fold: Fold, calls: Sequence[Rows]) -> Streams:
    windows = [
        (call, one) for call, said in zip(calls, fold.live(calls), strict=True) for one in said
    ]
    truth = fold.emotions[np.array([call[one.place] for call, one in windows])]
    place = np.array([one.place for _, one in windows])
    return Streams(
        Answers(truth, place, np.stack([one.adapted for _, one in windows])),
        Answers(truth, place, np.stack([one.unadapted for _, one in windows])),
    )


def _fresh(fold: Fold, calls: Sequence[Voice]) -> Answers:
    """As if somebody said when the speaker changes."""
    places = [np.array_split(np.arange(len(call.emotions)), 2) for call in calls]
    halves = [call[half] for call, both in zip(calls, places, strict=True) for half in both]
    judged = answers(fold.checkpoint.head, halves, prior(fold))
    positions = np.concatenate([np.arange(len(call.emotions)) for call in calls])
    return Answers(judged.truth, positions, judged.probabilities)
