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
from torch import Tensor

from emotion.errors import CorpusError
from train import features
from train.audio import read_mono
from train.augment import Pieces
from train.corpora import Clip, load_ravdess
from train.encoder import Embedder, load_whisper
from train.features import Features, configuration, default_cache, extract, extract_pieces
from train.recipe import Recipe
from train.waves import read_waves

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


def test_pieces_are_cut_at_random_and_always_the_same(
    corpus: Path, whisper: Path, tuned: Recipe, tmp_path: Path
) -> None:
    _, waves = read_waves(load_ravdess(corpus)[:10])
    embedder = Embedder(load_whisper(str(whisper)), tuned).eval()
    first = extract_pieces(waves, embedder, tuned, 1, tmp_path / "cache")
    assert first is not None and first.shape == (10, 3, embedder.dim)
    assert np.isfinite(first).all()
    for cache in ("cache", "elsewhere"):
        again = extract_pieces(waves, embedder, tuned, 1, tmp_path / cache)
        assert again is not None and np.array_equal(first, again)
    other = extract_pieces(waves, embedder, tuned, 2, tmp_path / "cache")
    assert other is not None and not np.array_equal(first, other)
    assert len(np.unique(first[0], axis=0)) == 3
    some = extract_pieces(waves[np.arange(5)], embedder, tuned, 1, tmp_path / "cache")
    assert some is not None and len(some) == 5


def test_quiet_pieces_at_another_speed_are_asked_for_by_number(
    corpus: Path, whisper: Path, tuned: Recipe, tmp_path: Path
) -> None:
    _, waves = read_waves(load_ravdess(corpus)[:4])
    embedder = Embedder(load_whisper(str(whisper)), tuned).eval()
    assert tuned.augment is not None
    noisy = msgspec.structs.replace(tuned.augment, plain_views=0, varied_views=0, noise=1.0)
    found = [
        extract_pieces(
            waves, embedder, msgspec.structs.replace(tuned, augment=augment), 1, tmp_path
        )
        for augment in (
            msgspec.structs.replace(noisy, spoken_views=2),
            msgspec.structs.replace(noisy, varied_views=2),
        )
    ]
    assert found[0] is not None and found[1] is not None
    assert found[0].shape == found[1].shape == (4, 2, embedder.dim)
    assert not np.array_equal(found[0], found[1])


def test_plain_pieces_come_first_then_spoken_then_varied_ones(
    corpus: Path, whisper: Path, tuned: Recipe, tmp_path: Path
) -> None:
    _, waves = read_waves(load_ravdess(corpus)[:4])
    embedder = Embedder(load_whisper(str(whisper)), tuned).eval()
    assert tuned.augment is not None
    asked: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        for kind in ("plain", "spoken", "varied"):

            def cut(pieces: Pieces, rows: Tensor, samples: int, kind: str = kind) -> Tensor:
                asked.append(kind)
                return pieces.cut(rows, samples)

            patched.setattr(Pieces, kind, cut)
        augment = msgspec.structs.replace(
            tuned.augment, plain_views=2, spoken_views=1, varied_views=2
        )
        extract_pieces(waves, embedder, msgspec.structs.replace(tuned, augment=augment), 1, None)
    assert asked == ["plain", "plain", "spoken", "varied", "varied"]


def test_another_recording_of_the_corpus_leaves_the_pieces_in_the_cache(
    corpus: Path, whisper: Path, tuned: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, waves = read_waves(load_ravdess(corpus)[:6])
    embedder = Embedder(load_whisper(str(whisper)), tuned).eval()
    first = extract_pieces(waves[np.arange(4)], embedder, tuned, 1, tmp_path)
    monkeypatch.setattr(features, "_pieces", None)
    waves.samples[waves.starts[5] :] = 0
    again = extract_pieces(waves[np.arange(4)], embedder, tuned, 1, tmp_path)
    assert first is not None and again is not None and np.array_equal(first, again)


def test_a_recipe_without_pieces_cuts_none(
    corpus: Path, whisper: Path, recipe: Recipe, tmp_path: Path
) -> None:
    _, waves = read_waves(load_ravdess(corpus)[:2])
    embedder = Embedder(load_whisper(str(whisper)), recipe).eval()
    assert extract_pieces(waves, embedder, recipe, 1, tmp_path) is None


def test_a_clips_pieces_stand_behind_it() -> None:
    clips = tuple(Clip(Path(f"{row}.wav"), row, row, "speech") for row in range(3))
    whole = np.arange(6, dtype=np.float32).reshape(3, 2)
    pieces = whole[:, np.newaxis] + np.array([[[10], [20]]], np.float32)
    some = Features(clips, whole, pieces)[np.array([2, 0])]
    assert some.views[:, :, 0].tolist() == [[4, 14, 24], [0, 10, 20]]
    assert Features(clips, whole).views.shape == (3, 1, 2)


def test_the_default_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "emotion-monitor" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "emotion-monitor" / "features"
