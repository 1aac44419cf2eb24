"""Who is trained on and who is held out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from emotion.errors import CorpusError
from train import splits
from train.corpora import Clip
from train.splits import EMOBOX_FOLDS, emobox_splits, everything, random_split, speaker_splits


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


def _draws(clips: list[Clip]) -> list[Callable[[], object]]:
    return [
        lambda: random_split(clips, 1),
        lambda: emobox_splits(clips),
        lambda: speaker_splits(clips),
        lambda: everything(clips),
    ]


def test_a_class_without_recordings_is_done_without() -> None:
    for draw in _draws([clip for clip in _clips() if clip.emotion not in (1, 7)]):
        draw()


def test_a_single_class_is_refused() -> None:
    for draw in _draws([clip for clip in _clips() if clip.emotion == 4]):
        with pytest.raises(CorpusError, match="angry to train on, expected at least two emotions"):
            draw()


def test_a_class_that_only_held_out_speakers_have_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clips = [clip for clip in _clips(("speech",)) if clip.emotion != 6 or clip.actor == 20]
    emobox_splits(clips)
    assert [record.getMessage() for record in caplog.records] == [
        "fold-1: no recording to train on for disgust"
    ]


def _own(clips_of: dict[str, dict[int, int]], channel: str = "speech") -> list[Clip]:
    """By speaker and emotion, how many clips."""
    return [
        Clip(Path(f"{who}-{emotion}-{take}.wav"), emotion, actor, channel, who)
        for actor, (who, counts) in enumerate(sorted(clips_of.items()), start=1)
        for emotion, count in counts.items()
        for take in range(count)
    ]


@pytest.mark.parametrize(("speakers", "folds"), [(2, 2), (3, 3), (6, 6), (7, 6), (40, 6)])
def test_every_speaker_is_held_out_once_and_at_most_six_folds_are_made(
    speakers: int, folds: int
) -> None:
    clips = _own({f"s{number:02}": {0: 3, 4: 2 + number % 3} for number in range(speakers)})
    drawn = speaker_splits(clips)
    assert [split.name for split in drawn] == [f"fold-{n}" for n in range(1, folds + 1)]
    held_out = [{clips[row].speaker for row in split.test} for split in drawn]
    assert sum(map(len, held_out)) == speakers == len(set.union(*held_out))
    for split, voices in zip(drawn, held_out, strict=True):
        assert not {clips[row].speaker for row in split.train} & voices
        assert len(split.train) + len(split.test) == len(clips)


def test_speakers_go_together_so_that_each_fold_has_of_each_class_about_as_much() -> None:
    half = {f"calm{n}": {1: 8} for n in range(6)} | {f"angry{n}": {4: 8} for n in range(6)}
    clips = _own(half)
    for split in speaker_splits(clips):
        assert [clips[row].emotion for row in split.test].count(1) == 8 == len(split.test) / 2


def test_folds_by_speaker_depend_on_the_clips_alone() -> None:
    clips = _own({f"s{number}": {0: 1 + number, 3: 4} for number in range(9)})
    first, second = speaker_splits(clips), speaker_splits(clips)
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.train, other.train) and np.array_equal(one.test, other.test)


def test_songs_are_trained_on_if_told_and_never_held_out() -> None:
    counts = {who: {0: 2, 4: 2} for who in ("anna", "ben", "cleo")}
    clips = _own(counts) + _own(counts, "song")
    for songs, channels in ((False, {"speech"}), (True, {"speech", "song"})):
        for split in speaker_splits(clips, songs):
            assert {clips[row].channel for row in split.test} == {"speech"}
            assert {clips[row].channel for row in split.train} == channels
            voices = [{clips[row].speaker for row in rows} for rows in (split.train, split.test)]
            assert not voices[0] & voices[1]


@pytest.mark.parametrize(
    ("clips", "said"),
    [
        (_own({"anna": {0: 5, 4: 5}}), "speech of 1 speakers, expected at least 2"),
        (_own({"anna": {0: 5}, "ben": {4: 5}}, "song"), "speech of 0 speakers"),
        (_own({"anna": {0: 1}, "ben": {4: 1}}), "2 clips of speech cannot be dealt"),
        (_own({"anna": {0: 5}, "ben": {4: 5}}), "expected at least two emotions"),
    ],
)
def test_what_cannot_be_held_out_by_speaker_is_refused(clips: list[Clip], said: str) -> None:
    with pytest.raises(CorpusError, match=said):
        speaker_splits(clips)


def test_emoboxs_folds_are_refused_to_other_corpora() -> None:
    clips = _own({f"s{number:02}": {0: 2, 4: 2} for number in range(24)})
    with pytest.raises(CorpusError, match="use emotion-train crossval --folds speakers"):
        emobox_splits(clips)


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
