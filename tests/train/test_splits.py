"""Who is trained on and who is held out."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from emotion.errors import CorpusError
from train import splits
from train.corpora import Clip
from train.splits import EMOBOX_FOLDS, emobox_splits, everything, random_split


def _clips(channels: tuple[str, ...] = ("speech", "song")) -> list[Clip]:
    return [
        Clip(Path(f"{channel}-{emotion}-{actor}.wav"), emotion, actor, channel)
        for actor in range(1, 25)
        for channel in channels
        for emotion in range(8)
    ]


def test_the_random_split_is_sklearns_over_the_clips_in_order() -> None:
    clips = _clips()
    split = random_split(clips, 42)
    train, test = train_test_split(
        np.arange(len(clips)),
        test_size=0.2,
        random_state=42,
        stratify=[clip.emotion for clip in clips],
    )
    assert np.array_equal(split.train, train) and np.array_equal(split.test, test)
    assert split.name == "seed-42"


def test_the_random_split_has_every_clip_once_and_every_class_on_both_sides() -> None:
    clips = _clips()
    split = random_split(clips, 7)
    assert sorted([*split.train, *split.test]) == list(range(len(clips)))
    assert len(split.test) == round(0.2 * len(clips) + 0.5)
    assert {clips[row].emotion for row in split.test} == set(range(8))


def test_emobox_folds_test_every_actor_once() -> None:
    assert sorted(actor for fold in EMOBOX_FOLDS for actor in fold) == list(range(1, 25))


@pytest.mark.parametrize("songs", [False, True])
def test_emobox_tests_the_speech_of_actors_that_were_not_trained_on(songs: bool) -> None:
    clips = _clips()
    for split, actors in zip(emobox_splits(clips, songs), EMOBOX_FOLDS, strict=True):
        assert {clips[row].actor for row in split.test} == actors
        assert {clips[row].channel for row in split.test} == {"speech"}
        assert not {clips[row].actor for row in split.train} & actors
        channels = {clips[row].channel for row in split.train}
        assert channels == ({"speech", "song"} if songs else {"speech"})


def test_an_actor_on_both_sides_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Everybody(frozenset[int]):
        """Says of nobody that they are held out, as a wrong comparison would."""

        def __contains__(self, actor: object) -> bool:
            self.asked = not getattr(self, "asked", False)
            return self.asked

    monkeypatch.setattr(splits, "EMOBOX_FOLDS", (Everybody({1}),))
    with pytest.raises(CorpusError, match="both trained on and held out"):
        emobox_splits(_clips(("speech",)))


def test_a_fold_without_its_actors_is_an_error() -> None:
    clips = [clip for clip in _clips() if clip.actor not in EMOBOX_FOLDS[2]]
    with pytest.raises(CorpusError, match="fold-3: no speech of its actors"):
        emobox_splits(clips)


def test_a_class_without_recordings_is_named() -> None:
    clips = [clip for clip in _clips() if clip.emotion not in (1, 7)]
    for draw in (lambda: random_split(clips, 1), lambda: emobox_splits(clips)):
        with pytest.raises(CorpusError, match="for calm, surprised"):
            draw()
    with pytest.raises(CorpusError, match="for calm, surprised"):
        everything(clips)


def test_a_class_of_one_clip_cannot_be_split() -> None:
    clips = [
        clip for clip in _clips() if clip.emotion or (clip.actor == 1 and clip.channel == "song")
    ]
    with pytest.raises(CorpusError, match="cannot be split 80/20"):
        random_split(clips, 1)


@pytest.mark.parametrize(("songs", "clips"), [(False, 192), (True, 384)])
def test_the_model_that_ships_hears_every_actor_and_songs_only_if_told(
    songs: bool, clips: int
) -> None:
    split = everything(_clips(), songs)
    assert (len(split.train), len(split.test)) == (clips, 0)
