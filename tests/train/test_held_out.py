"""A fold hears its own held-out clips under every condition, once, and whatever is beside them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from emotion.engine import load_voice
from emotion.errors import CorpusError
from emotion.vad import VoiceActivity
from tests.speech import speech_like
from train import held_out
from train.checkpoint import ClipNames, save_checkpoint, save_clip_names
from train.conditions import telephone, voiced
from train.corpora import Clip, load_ravdess
from train.encoder import Embedder, load_whisper
from train.head import Head
from train.held_out import Fold, embed
from train.recipe import Recipe

NAMES = tuple(
    f"03-01-{emotion:02}-01-01-01-{actor:02}" for actor in (1, 2) for emotion in range(1, 9)
)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Two held-out actors and one that was trained on, 1.2 to 2.4 s a clip."""
    folder = tmp_path_factory.mktemp("spoken")
    names = [*NAMES, "03-01-05-01-01-01-03"]
    for seed, name in enumerate(names):
        samples = 0.3 * speech_like(1.2 + 0.3 * (seed % 5), seed=seed)
        soundfile.write(folder / f"{name}.wav", samples.astype(np.float32), 16_000)
    return load_ravdess(folder)


@pytest.fixture(scope="module")
def voice() -> VoiceActivity:
    return load_voice()


@pytest.fixture
def run(whisper: Path, recipe: Recipe, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    embedder = Embedder(load_whisper(str(whisper)), recipe).eval()
    folder = tmp_path / "fold-1"
    save_checkpoint(folder, recipe, embedder, Head(embedder.dim, recipe), {})
    save_clip_names(folder, ClipNames(("03-01-05-01-01-01-03",), NAMES))
    return folder


@pytest.fixture
def fold(run: Path, spoken: list[Clip], voice: VoiceActivity, tmp_path: Path) -> Callable[[], Fold]:
    return lambda: Fold(run, spoken, tmp_path / "cache", voice)


def test_it_holds_the_clips_that_were_held_out_and_no_other(fold: Callable[[], Fold]) -> None:
    assert [clip.name for clip in fold().clips] == list(NAMES)
    assert list(fold().emotions) == [*range(8), *range(8)]


def test_clips_of_one_length_are_embedded_together_and_stay_as_they_are_alone(
    fold: Callable[[], Fold],
) -> None:
    first = fold()
    together = first.clean()
    for row, waveform in zip(together, first.waveforms, strict=True):
        with torch.inference_mode():
            alone = first.checkpoint.embedder(torch.from_numpy(waveform[None]))[0].numpy()
        assert row == pytest.approx(alone, abs=1e-4)


def test_a_condition_is_what_the_encoder_says_of_the_changed_clip(
    fold: Callable[[], Fold],
) -> None:
    first = fold()
    changed = [telephone(waveform) for waveform in first.waveforms]
    expected = embed(first.checkpoint.embedder, changed)
    assert np.array_equal(first.over_telephone(), expected)
    distance = np.abs(first.in_noise("babble", 5) - first.clean()).mean()
    assert distance > np.abs(first.in_noise("babble", 20) - first.clean()).mean() > 0


def test_noise_is_made_of_the_folds_other_actors(
    fold: Callable[[], Fold], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, heard = fold(), []
    bystanders = held_out.Bystanders
    monkeypatch.setattr(
        held_out, "Bystanders", lambda others: heard.append(others) or bystanders(others)
    )
    first.in_noise("speech-shaped", 10)
    voices = [voiced(waveform) for waveform in first.waveforms]
    of_actor = {1: voices[:8], 2: voices[8:]}
    assert len(heard) == 2
    for others, expected in zip(heard, (of_actor[2], of_actor[1]), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(others, expected, strict=True))


def test_windows_keep_their_clips_label_where_half_of_them_is_speech(
    fold: Callable[[], Fold],
) -> None:
    windows = fold().windows()
    assert 16 <= len(windows.clip) <= windows.cut
    assert windows.embeddings.shape == (len(windows.clip), fold().checkpoint.embedder.dim)
    assert set(windows.clip) <= set(range(16)) and min(windows.samples) >= 8_000


def test_calls_are_embedded_once_and_other_calls_anew(
    fold: Callable[[], Fold], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [np.arange(4), np.array([7, 5])]
    first = fold().live(calls)
    assert len(first) == 2 and all(first)
    runs: list[int] = []
    monkeypatch.setattr(
        held_out, "embed", lambda embedder, sounds: runs.append(1) or embed(embedder, sounds)
    )
    again = fold().live(calls)
    assert not runs
    for one, other in zip(first, again, strict=True):
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a.adapted, b.adapted) and np.array_equal(a.unadapted, b.unadapted)
    assert len(fold().live(calls[:1])) == 1 and runs == [1]


def test_the_voices_are_the_actors_with_seconds_of_speech(fold: Callable[[], Fold]) -> None:
    voices = fold().voices()
    assert list(voices) == [1, 2]
    for voice in voices.values():
        assert list(voice.emotions) == list(range(8))
        assert ((voice.speech_s > 0.6) & (voice.speech_s < 2.5)).all()


def test_a_condition_is_embedded_once_and_again_where_the_encoder_is_another(
    fold: Callable[[], Fold], run: Path, whisper: Path, recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before = fold().over_telephone()
    runs: list[int] = []
    monkeypatch.setattr(
        held_out, "embed", lambda embedder, sounds: runs.append(1) or embed(embedder, sounds)
    )
    assert np.array_equal(fold().over_telephone(), before) and not runs
    embedder = Embedder(load_whisper(str(whisper)), recipe).eval()
    with torch.no_grad():
        embedder.positions.add_(0.5)
    save_checkpoint(run, recipe, embedder, Head(embedder.dim, recipe), {})
    assert not np.allclose(fold().over_telephone(), before) and runs == [1]


def test_another_voice_model_or_hop_is_asked_anew(
    fold: Callable[[], Fold], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {fold()._key}
    monkeypatch.setattr(held_out, "HOP_S", 0.5)
    keys.add(fold()._key)
    (tmp_path / "voice.onnx").write_bytes(b"another")
    monkeypatch.setattr(held_out, "voice_path", lambda: tmp_path / "voice.onnx")
    keys.add(fold()._key)
    assert len(keys) == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no archive"])
def test_a_damaged_cache_entry_is_computed_again(
    content: bytes, fold: Callable[[], Fold], tmp_path: Path
) -> None:
    before = fold().clean()
    (entry,) = tmp_path.glob("cache/held-out/*/clean.npz")
    entry.write_bytes(content)
    assert np.array_equal(fold().clean(), before)
    assert np.array_equal(fold().clean(), before) and entry.stat().st_size > before.nbytes


def test_a_corpus_without_a_held_out_clip_is_refused(
    run: Path, spoken: list[Clip], voice: VoiceActivity, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match="15 of its 16 held-out clips"):
        Fold(run, spoken[1:], tmp_path, voice)
