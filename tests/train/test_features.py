"""The feature cache: right, quick the second time, and never half written."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from emotion.errors import CorpusError
from train.audio import read_mono
from train.corpora import Clip, load_ravdess
from train.encoder import Embedder, load_whisper
from train.features import configuration, default_cache, extract
from train.recipe import Recipe

WriteClip = Callable[..., Path]


@pytest.fixture
def embedder(whisper: Path, recipe: Recipe) -> Embedder:
    return Embedder(load_whisper(str(whisper)), recipe).eval()


@pytest.fixture
def clips(tmp_path: Path, write_clip: WriteClip) -> list[Clip]:
    for actor in (1, 2, 3):
        write_clip(tmp_path / "data", f"03-01-05-01-01-01-{actor:02}")
    return load_ravdess(tmp_path / "data")


def test_the_second_run_asks_whisper_nothing(
    clips: list[Clip], embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = extract(clips, embedder, tmp_path / "cache")

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(Embedder, "forward", refuse)
    second = extract(clips, embedder, tmp_path / "cache")
    assert np.array_equal(first.embeddings, second.embeddings)
    assert first.clips == second.clips == tuple(clips)


def test_entries_follow_the_content_not_the_name(
    clips: list[Clip], embedder: Embedder, tmp_path: Path
) -> None:
    before = extract(clips, embedder, tmp_path / "cache").embeddings
    shutil.copyfile(clips[1].path, clips[0].path)
    after = extract(clips, embedder, tmp_path / "cache").embeddings
    assert not np.array_equal(before[0], after[0])
    assert np.array_equal(after[0], before[1])


@pytest.mark.parametrize(
    "change",
    [
        {"layers": (1, 3)},
        {"pooling": ("mean",)},
        {"context": "padded"},
        {"merge": (1, 2)},
        {"merge": (2, 1)},
    ],
)
def test_what_decides_the_features_decides_the_entry(
    change: dict[str, object], whisper: Path, recipe: Recipe, embedder: Embedder
) -> None:
    other = Embedder(load_whisper(str(whisper)), msgspec.structs.replace(recipe, **change))
    assert configuration(other, "soundfile") != configuration(embedder, "soundfile")


def test_other_weights_and_another_resampler_are_other_features(
    whisper_encoder: Path, recipe: Recipe, embedder: Embedder
) -> None:
    other = Embedder(load_whisper(str(whisper_encoder)), recipe)
    assert configuration(other, "soundfile") != configuration(embedder, "soundfile")
    assert configuration(embedder, "torchaudio") != configuration(embedder, "soundfile")


def test_what_only_the_head_reads_leaves_the_cache_valid(
    whisper: Path, recipe: Recipe, embedder: Embedder
) -> None:
    longer = msgspec.structs.replace(recipe, epochs=9, seed=8, hidden=(4,), merge=(1, 1))
    other = Embedder(load_whisper(str(whisper)), longer)
    assert configuration(other, "soundfile") == configuration(embedder, "soundfile")


def test_unreadable_files_are_named_counted_and_left_out(
    clips: list[Clip], embedder: Embedder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips[1].path.write_bytes(b"no audio at all")
    features = extract(clips, embedder, tmp_path / "cache")
    assert features.clips == (clips[0], clips[2])
    assert len(features) == len(features.embeddings) == 2
    assert str(clips[1].path) in caplog.text
    assert "1 files skipped" in caplog.text


def test_a_corpus_without_one_readable_file_is_refused(
    clips: list[Clip], embedder: Embedder, tmp_path: Path
) -> None:
    for clip in clips:
        clip.path.write_bytes(b"")
    with pytest.raises(CorpusError, match="none of the 3 recordings"):
        extract(clips, embedder, tmp_path / "cache")


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"garbage"])
def test_a_damaged_entry_is_computed_again(
    damage: bytes, clips: list[Clip], embedder: Embedder, tmp_path: Path
) -> None:
    before = extract(clips, embedder, tmp_path / "cache").embeddings
    for entry in (tmp_path / "cache").rglob("*.npy"):
        entry.write_bytes(damage)
    assert np.array_equal(extract(clips, embedder, tmp_path / "cache").embeddings, before)
    assert np.array_equal(extract(clips, embedder, tmp_path / "cache").embeddings, before)


def test_a_recording_over_30_s_is_cut_there(
    embedder: Embedder, tmp_path: Path, write_clip: WriteClip
) -> None:
    path = write_clip(tmp_path / "data", "03-01-05-01-01-01-01", seconds=31)
    assert len(read_mono(path)) > 480_000
    features = extract(load_ravdess(tmp_path / "data"), embedder, tmp_path / "cache")
    assert np.isfinite(features.embeddings).all()


def test_ctrl_c_in_the_middle_leaves_only_whole_entries(
    clips: list[Clip], embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = np.save, []

    def interrupted(file: object, row: object, **options: object) -> None:
        calls.append(row)
        if len(calls) == 2:
            file.write(b"half an entry")  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        save(file, row, **options)  # type: ignore[arg-type,call-overload]

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(clips, embedder, tmp_path / "cache")
    monkeypatch.undo()
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [np.load(path).shape for path in left] == [(embedder.dim,)]
    assert len(extract(clips, embedder, tmp_path / "cache")) == 3


def test_a_killed_program_says_so_and_the_next_run_goes_on(
    corpus: Path, whisper: Path, recipe_file: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "train", "fit", "--recipe", str(recipe_file)]
    command += ["--data", str(corpus), "--whisper", str(whisper), "--out", str(tmp_path / "run")]
    command += ["--cache", str(tmp_path / "cache")]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    program = subprocess.Popen(command, stderr=subprocess.PIPE, env=alone, text=True)
    while program.poll() is None and not any((tmp_path / "cache").rglob("*.npy")):
        time.sleep(0.005)
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=300)
    assert program.returncode == 130, said
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    whole = [np.load(path).shape for path in (tmp_path / "cache").rglob("*.npy")]
    assert whole and set(whole) == {(128,)}
    assert not (tmp_path / "run" / "run.json").exists()
    subprocess.run(command, check=True, capture_output=True, env=alone)
    assert (tmp_path / "run" / "run.json").exists()


def test_pieces_of_a_clip_are_cut_at_random_and_always_the_same(
    clips: list[Clip], whisper: Path, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = msgspec.structs.replace(recipe, crops=4, crop_s=(0.2, 0.6))
    embedder = Embedder(load_whisper(str(whisper)), recipe).eval()
    first = extract(clips, embedder, tmp_path / "cache")
    again = extract(clips, embedder, tmp_path / "elsewhere")
    assert first.crops is not None and first.crops.shape == (3, 4, embedder.dim)
    assert np.array_equal(first.crops, extract(clips, embedder, tmp_path / "cache").crops)
    assert np.array_equal(first.crops, again.crops)
    assert len(np.unique(first.crops[0], axis=0)) == 4
    assert not np.isclose(first.crops[0], first.embeddings[0]).all(axis=1).any()


def test_who_only_measures_cuts_no_pieces(
    clips: list[Clip], whisper: Path, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = msgspec.structs.replace(recipe, crops=4)
    embedder = Embedder(load_whisper(str(whisper)), recipe).eval()
    features = extract(clips, embedder, tmp_path / "cache", pieces=False)
    assert features.crops is None and not list((tmp_path / "cache").glob("*/crops-*"))


def test_a_piece_is_no_longer_than_its_clip(
    clips: list[Clip], whisper: Path, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = msgspec.structs.replace(recipe, crops=1, crop_s=(60, 60), crop_gain_db=0)
    features = extract(
        clips, Embedder(load_whisper(str(whisper)), recipe).eval(), tmp_path / "cache"
    )
    assert features.crops is not None and np.array_equal(features.crops[:, 0], features.embeddings)


def test_pieces_stand_behind_the_clips_they_were_cut_from(
    clips: list[Clip], whisper: Path, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = msgspec.structs.replace(recipe, crops=2, crop_s=(0.2, 0.6))
    embedder = Embedder(load_whisper(str(whisper)), recipe).eval()
    features = extract(clips, embedder, tmp_path / "cache")
    some = features[np.array([2, 0])].with_crops()
    assert features.crops is not None
    assert [clip.actor for clip in some.clips] == [3, 1, 3, 3, 1, 1]
    assert np.array_equal(some.embeddings[2:4], features.crops[2])
    assert len(some.actors) == len(some.embeddings) == 6


def test_the_default_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "emotion-monitor" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "emotion-monitor" / "features"
