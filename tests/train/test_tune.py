"""Fine-tuning: it learns, is the same twice, and goes on where it was interrupted."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from emotion.errors import ConfigurationError
from train import augment
from train import tune as tuning
from train.encoder import Embedder, load_whisper
from train.recipe import Recipe, Tuning
from train.tune import Lessons, identity, tune, without_head
from train.waves import Waves


def _embedder(whisper: Path, recipe: Recipe) -> Embedder:
    return Embedder(load_whisper(str(whisper)), recipe).eval()


def _with(recipe: Recipe, **changes: float) -> Recipe:
    assert recipe.tuning is not None
    return msgspec.structs.replace(recipe, tuning=msgspec.structs.replace(recipe.tuning, **changes))


def _same(first: Embedder, second: Embedder) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_is_tuned_is_a_copy_frozen_and_rounded_to_half(
    whisper: Path, tuned: Recipe, lessons: Lessons, tmp_path: Path
) -> None:
    before = _embedder(whisper, tuned)
    kept = copy.deepcopy(before)
    after = tune(before, lessons, tuned, 1, tmp_path)
    assert _same(before, kept)
    assert not after.training and not any(weight.requires_grad for weight in after.parameters())
    assert all(torch.equal(weight, weight.half().float()) for weight in after.parameters())
    assert torch.equal(after.positions, before.positions.half().float())
    assert not torch.equal(after.conv1.weight, before.conv1.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["tuning.pt"]


def test_the_same_seed_gives_bit_identical_weights_twice(
    whisper: Path, tuned: Recipe, lessons: Lessons, tmp_path: Path
) -> None:
    first, second, other = (
        tune(_embedder(whisper, tuned), lessons, tuned, seed, tmp_path) for seed in (1, 1, 2)
    )
    assert _same(first, second)
    assert not _same(first, other)


def test_an_interrupted_run_goes_on_and_ends_where_it_would_have(
    whisper: Path,
    tuned: Recipe,
    lessons: Lessons,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tuned = _with(tuned, epochs=3)
    expected = tune(_embedder(whisper, tuned), lessons, tuned, 1, tmp_path / "whole")
    write = tuning.write

    def interrupted(path: Path, save: object) -> None:
        write(path, save)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tuning, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tune(_embedder(whisper, tuned), lessons, tuned, 1, tmp_path / "run")
    assert (tmp_path / "run" / "tuning.pt").is_file()
    assert _same(expected, tune(_embedder(whisper, tuned), lessons, tuned, 1, tmp_path / "run"))


def test_what_another_recipe_left_is_not_gone_on_from(
    whisper: Path,
    tuned: Recipe,
    lessons: Lessons,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = tuning._Run(_embedder(whisper, tuned), lessons, tuned, 1)
    run.one_epoch()
    run.save(tmp_path / "tuning.pt")
    other = tuning._Run(_embedder(whisper, tuned), lessons, tuned, 2)
    other.resume(tmp_path / "tuning.pt")
    assert other.epoch == 0 and "from the beginning" in caplog.text


def test_a_finished_tuning_is_not_done_again(
    whisper: Path, tuned: Recipe, lessons: Lessons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tune(_embedder(whisper, tuned), lessons, tuned, 1, tmp_path)
    monkeypatch.setattr(tuning._Run, "one_epoch", None)
    assert _same(first, tune(_embedder(whisper, tuned), lessons, tuned, 1, tmp_path))


def test_a_damaged_state_is_left_alone(
    whisper: Path, tuned: Recipe, lessons: Lessons, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tuning.pt").write_bytes(b"no state")
    run = tuning._Run(_embedder(whisper, tuned), lessons, tuned, 1)
    run.resume(tmp_path / "tuning.pt")
    assert run.epoch == 0 and "damaged" in caplog.text


def test_too_few_clips_for_a_batch_are_refused(
    whisper: Path, tuned: Recipe, lessons: Lessons, tmp_path: Path
) -> None:
    tuned = msgspec.structs.replace(tuned, tuning=Tuning(actors=8, clips=16))
    with pytest.raises(ConfigurationError, match=r"64 clips to tune on: expected .*clips = 16"):
        tune(_embedder(whisper, tuned), lessons, tuned, 1, tmp_path)


def test_the_loss_falls(whisper: Path, tuned: Recipe, lessons: Lessons) -> None:
    tuned = _with(tuned, epochs=40, learning_rate=3e-3, head_rate=3e-3, dropout=0.0, plain=1.0)
    run = tuning._Run(_embedder(whisper, tuned), lessons, tuned, 1)
    losses = [run.one_epoch() for _ in range(40)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3


def test_a_teacher_holds_the_encoder_near_what_it_was(
    whisper: Path, tuned: Recipe, lessons: Lessons, tmp_path: Path
) -> None:
    before = _embedder(whisper, tuned)
    sound = torch.stack([lessons.waves.recording(row) for row in range(0, 64, 8)])

    def moved(teacher: float) -> float:
        recipe = _with(tuned, epochs=6, learning_rate=3e-3, teacher=teacher, dropout=0.0)
        after = tune(before, lessons, recipe, 1, tmp_path)
        with torch.no_grad():
            return float((after(sound) - before(sound)).square().mean())

    assert moved(30.0) < 0.5 * moved(0.0)


def test_the_teacher_hears_every_frame_of_the_quiet_piece(
    whisper: Path, tuned: Recipe, lessons: Lessons
) -> None:
    merging = msgspec.structs.replace(_with(tuned, teacher=1.0, plain=1.0), merge=(2, 1))
    run = tuning._Run(_embedder(whisper, merging), lessons, merging, 1)
    assert run._teacher is not None and run._embedder.merge == (2, 1)
    spoken, heard = run._hear(torch.arange(8))
    assert torch.equal(spoken, heard)  # plain: as it was spoken
    published = _embedder(whisper, msgspec.structs.replace(merging, merge=(1, 1)))
    with torch.no_grad():
        expected = published.mixed_precision(published.spectrogram(spoken))
    assert float(run._distance(spoken, expected)) == 0.0
    noisy = tuning._Run(_embedder(whisper, tuned), lessons, _with(tuned, plain=0.0), 1)
    spoken, heard = noisy._hear(torch.arange(64))
    assert not torch.equal(spoken, heard)


def test_whatever_else_is_learnt_from_is_another_tuning(
    whisper: Path, tuned: Recipe, lessons: Lessons, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves, actors = lessons.waves, lessons.actors
    others = [
        dataclasses.replace(waves, samples=waves.samples.flip(0)),
        dataclasses.replace(waves, starts=waves.starts.flip(0)),
        dataclasses.replace(waves, lengths=waves.lengths - 1),
        dataclasses.replace(waves, speech=waves.speech - 1),
        dataclasses.replace(actors, emotions=actors.emotions.flip(0)),
        dataclasses.replace(actors, actors=actors.actors.flip(0)),
        dataclasses.replace(actors, seconds=actors.seconds * 2),
    ]
    learnt = [lessons]
    for each in others:
        learnt.append(Lessons(each, actors) if isinstance(each, Waves) else Lessons(waves, each))
    before = _embedder(whisper, tuned)
    keys = {identity(before, each, tuned, 1) for each in learnt}
    keys.add(identity(before, lessons, tuned, 2))
    other = copy.deepcopy(before)
    with torch.no_grad():
        other.conv1.weight[0] += 1
    keys.add(identity(other, lessons, tuned, 1))
    attending = copy.deepcopy(before)
    attending.config.encoder_attention_heads = 4
    keys.add(identity(attending, lessons, tuned, 1))
    monkeypatch.setattr(tuning, "VERSION", tuning.VERSION + 1)
    keys.add(identity(before, lessons, tuned, 1))
    monkeypatch.setattr(augment, "PIECES_VERSION", augment.PIECES_VERSION + 1)
    keys.add(identity(before, lessons, tuned, 1))
    assert len(keys) == 8 + 5


def test_what_only_the_head_learns_by_changes_neither_the_weights_nor_their_digest(
    whisper: Path, tuned: Recipe, lessons: Lessons, tmp_path: Path
) -> None:
    pieces = tuned.augment
    assert pieces is not None
    other = msgspec.structs.replace(
        tuned,
        name="other",
        whisper="of-the-same-weights",
        augment=msgspec.structs.replace(pieces, plain_views=7, spoken_views=2, varied_views=0),
        adapted=0.9,
        traits=4,
        trust=0.5,
        learning_rate=1e-2,
        weight_decay=0.3,
        schedule="constant",
        batch_size=8,
        epochs=9,
        temperature=0.7,
        songs=True,
        seed=99,
    )
    changed = {f for f in tuned.__struct_fields__ if getattr(tuned, f) != getattr(other, f)}
    named = without_head(tuned)
    left = {f for f in tuned.__struct_fields__ if getattr(tuned, f) != getattr(named, f)}
    assert left <= changed  # all that is left out of the digest is tried here
    before = _embedder(whisper, tuned)
    assert identity(before, lessons, tuned, 1) == identity(before, lessons, other, 1)
    folders = tmp_path / "one", tmp_path / "other"
    both = [tune(before, lessons, r, 1, f) for r, f in zip((tuned, other), folders, strict=True)]
    assert _same(*both)


def test_every_setting_of_pieces_and_tuning_is_another_tuning(
    whisper: Path, tuned: Recipe, lessons: Lessons
) -> None:
    before = _embedder(whisper, tuned)
    here = identity(before, lessons, tuned, 1)
    head_alone = {"plain_views", "spoken_views", "varied_views"}
    for room in ("augment", "tuning"):
        settings = getattr(tuned, room)
        for field in settings.__struct_fields__:
            value = getattr(settings, field)
            # Halves stay within every field's limits.
            other = tuple(v + 0.01 for v in value) if isinstance(value, tuple) else value / 2 + 0.01
            changed = msgspec.structs.replace(settings, **{field: other})
            there = identity(before, lessons, msgspec.structs.replace(tuned, **{room: changed}), 1)
            assert (there == here) == (field in head_alone), field


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": (8,)},
        {"label_smoothing": 0.2},
        {"prior_s": 9.0},
        {"merge": (2, 1)},
        {"class_weights": False},
        {"attention": True},
    ],
)
def test_what_tuning_reads_is_another_tuning(
    whisper: Path, tuned: Recipe, lessons: Lessons, changes: dict[str, Any]
) -> None:
    before = _embedder(whisper, tuned)
    other = msgspec.structs.replace(tuned, **changes)
    assert identity(before, lessons, tuned, 1) != identity(before, lessons, other, 1)


def test_attention_is_learnt(
    whisper: Path, tuned: Recipe, lessons: Lessons, tmp_path: Path
) -> None:
    tuned = msgspec.structs.replace(tuned, attention=True)
    before = _embedder(whisper, tuned)
    even = _embedder(whisper, msgspec.structs.replace(tuned, attention=False))
    sound = lessons.waves.recording(0).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(before(sound), even(sound))
    after = tune(before, lessons, tuned, 1, tmp_path)
    assert after.attention is not None and after.attention[0].weight.any()


def test_a_recipe_that_does_not_say_how_is_refused(
    whisper: Path, recipe: Recipe, lessons: Lessons, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="needs both"):
        tune(_embedder(whisper, recipe), lessons, recipe, 1, tmp_path)


def test_batches_take_actors_and_clips_evenly(
    whisper: Path, tuned: Recipe, lessons: Lessons
) -> None:
    tuned = msgspec.structs.replace(tuned, tuning=Tuning(actors=4, clips=2))
    run = tuning._Run(_embedder(whisper, tuned), lessons, tuned, 1)
    batches = list(run._batches())
    assert len(batches) == 64 // 8
    for rows in batches:
        assert sorted(np.unique(lessons.actors.actors[rows], return_counts=True)[1]) == [2] * 4
    assert len(torch.cat(batches).unique()) == 64
