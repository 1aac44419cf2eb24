"""Recordings in memory: what is cut out of them is what was recorded."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from emotion.errors import CorpusError
from train.corpora import Clip, load_ravdess
from train.waves import FRAME, Waves, read_waves, speech_span, to_int16


@pytest.fixture(scope="module")
def waves(corpus: Path) -> Waves:
    return read_waves(load_ravdess(corpus)[:3])[1]


def _tone(samples: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(samples) / 16_000)).astype(np.float32)


def _one(*recordings: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Waves:
    parts = [to_int16(recording) for recording in recordings]
    lengths = torch.tensor([len(part) for part in parts])
    spans = torch.tensor([speech_span(part) for part in parts])
    return Waves(
        torch.from_numpy(np.concatenate(parts)), lengths.cumsum(0) - lengths, lengths, spans
    )


def test_a_piece_at_its_own_speed_is_the_recording(waves: Waves) -> None:
    first = torch.tensor([7.0, 0.0])
    pieces = waves.pieces(torch.tensor([2, 0]), first, torch.ones(2), 100)
    assert torch.equal(pieces[0], waves.recording(2)[7:107])
    assert torch.equal(pieces[1], waves.recording(0)[:100])


def test_beyond_a_recording_there_is_silence_and_not_its_neighbour(waves: Waves) -> None:
    length = int(waves.lengths[1])
    first = torch.tensor([-10.0, length - 10.0])
    before, after = waves.pieces(torch.tensor([1, 1]), first, torch.ones(2), 20)
    assert not before[:10].any() and torch.equal(before[10:], waves.recording(1)[:10])
    assert not after[10:].any() and torch.equal(after[:10], waves.recording(1)[-10:])


def test_a_faster_piece_is_the_recording_at_a_higher_pitch() -> None:
    waves = _one(_tone(16_000))
    fast = waves.pieces(torch.tensor([0]), torch.tensor([100.0]), torch.tensor([1.25]), 8_000)[0]
    expected = 0.3 * np.sin(2 * np.pi * 440 * (100 + 1.25 * np.arange(8_000)) / 16_000)
    np.testing.assert_allclose(fast.numpy(), expected, atol=2e-3)


def test_some_of_the_recordings_are_still_the_same(waves: Waves) -> None:
    some = waves[np.array([2, 0])]
    assert len(some) == 2
    assert torch.equal(some.recording(0), waves.recording(2))


def test_a_digest_is_of_the_recordings_there_and_of_no_other(waves: Waves) -> None:
    waves = dataclasses.replace(waves, samples=waves.samples.clone())
    some = waves[np.array([1])]
    before = waves.digest(), some.digest()
    assert some.digest() != waves[np.array([0])].digest()
    waves.samples[0] += 1
    assert waves.digest() != before[0] and some.digest() == before[1]
    other = dataclasses.replace(some, speech=some.speech + 1)
    assert other.digest() != before[1]


def test_speech_lies_between_the_loud_frames() -> None:
    sound = np.zeros(20 * FRAME, np.float32)
    sound[5 * FRAME : 9 * FRAME] = _tone(4 * FRAME)
    assert speech_span(to_int16(sound)) == (5 * FRAME, 9 * FRAME)
    assert _one(sound).speech_s.tolist() == pytest.approx([4 * FRAME / 16_000])


def test_a_silent_recording_counts_as_speech_from_end_to_end() -> None:
    assert speech_span(np.zeros(10 * FRAME + 5, np.int16)) == (0, 10 * FRAME)


def test_what_was_stored_in_16_bits_comes_back_as_it_was() -> None:
    values = np.array([-32768, -1, 0, 1, 32767], np.int16)
    assert np.array_equal(to_int16(values.astype(np.float32) / 32768), values)
    assert to_int16(np.array([-1.5, 1.5], np.float32)).tolist() == [-32768, 32767]


def test_recordings_that_cannot_be_read_are_named_and_left_out(
    tmp_path: Path, write_clip: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    good = write_clip(tmp_path, "03-01-01-01-01-01-01")
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    clips = [Clip(path, 0, 1, "speech") for path in (bad, good)]
    read, waves = read_waves(clips)
    assert read == [clips[1]] and len(waves) == 1
    assert "bad.wav" in caplog.text
    with pytest.raises(CorpusError, match="none of the 1 recordings"):
        read_waves(clips[:1])
