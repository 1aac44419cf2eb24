"""Files as they are streamed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import clients.recordings
from clients.recordings import open_recording
from emotion.audio import resample, to_pcm
from emotion.errors import AudioError

Wav = Callable[..., Path]


def pcm(path: Path, seconds: float = 0.1, channels: tuple[str, ...] | None = None) -> np.ndarray:
    with open_recording(path, channels) as recording:
        data = b"".join(recording.portions(seconds))
        return np.frombuffer(data, "<i2").reshape(-1, len(recording.channels))


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_pcm_goes_out_bit_for_bit_at_the_rate_of_the_file(wav: Wav, rate: int) -> None:
    path = wav(1.3, rate=rate)
    with open_recording(path) as recording:
        assert (recording.sample_rate, recording.channels) == (rate, ("mono",))
        assert recording.notices == ()
    np.testing.assert_array_equal(pcm(path)[:, 0], soundfile.read(path, dtype="int16")[0])


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
def test_other_formats_are_read_too(wav: Wav, name: str) -> None:
    assert len(pcm(wav(1.0, name=name))) >= 16_000


@pytest.mark.skipif("MP3" not in soundfile.available_formats(), reason="libsndfile without MP3")
@pytest.mark.parametrize("read_s", [0.1, 1.0])
def test_an_mp3_read_by_blocks_is_what_it_is_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_s: float
) -> None:
    monkeypatch.setattr(clients.recordings, "READ_S", read_s)
    path, rate = tmp_path / "bursts.mp3", 16_000
    at = np.arange(6 * rate) / rate
    bursts = np.random.default_rng(0).normal(0, 0.3, len(at)) * (at % 0.7 < 0.1)
    soundfile.write(path, np.clip(bursts + 0.2 * np.sin(2765 * at), -1, 1), rate)
    whole, _ = soundfile.read(path, dtype="float32")
    off = pcm(path)[:, 0].astype(int) - to_pcm(
        whole
    )  # the decoder's last digit may round otherwise
    assert np.abs(off).max() <= 1


@pytest.mark.parametrize("seconds", [0.001, 0.1, 1.0, 60.0])
def test_portions_of_any_length_add_up_to_the_same(wav: Wav, seconds: float) -> None:
    path = wav(2.5)
    np.testing.assert_array_equal(pcm(path, seconds), pcm(path, 0.37))


def test_every_portion_but_the_last_has_the_length_asked_for(wav: Wav) -> None:
    with open_recording(wav(0.25)) as recording:
        assert [len(portion) for portion in recording.portions(0.1)] == [3200, 3200, 1600]


def test_a_file_of_one_sample_is_one_portion_of_two_bytes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", np.array([0.5]), 16_000)
    with open_recording(tmp_path / "one.wav") as recording:
        assert list(recording.portions(0.1)) == [np.array([16_384], "<i2").tobytes()]


def test_stereo_without_names_is_mixed_to_the_mean_with_a_notice(wav: Wav) -> None:
    path = wav(channels=2)
    with open_recording(path) as recording:
        assert recording.channels == ("mono",)
        (notice,) = recording.notices
        assert "2 channels mixed down" in notice and "--channels" in notice
    mean = soundfile.read(path, dtype="float32")[0].mean(axis=1)
    np.testing.assert_array_equal(pcm(path)[:, 0], to_pcm(mean))


def test_named_channels_stay_apart(wav: Wav) -> None:
    path = wav(channels=2)
    both = soundfile.read(path, dtype="int16")[0]
    np.testing.assert_array_equal(pcm(path, channels=("customer", "agent")), both)


@pytest.mark.parametrize("names", [("customer",), ("a", "b", "c")])
def test_another_number_of_names_than_channels_is_refused(wav: Wav, names: tuple[str, ...]) -> None:
    with pytest.raises(AudioError, match=f"has 2 channels, but --channels names {len(names)}"):
        pcm(wav(channels=2), channels=names)


@pytest.mark.parametrize("rate", [4_000, 96_000])
def test_rates_that_no_stream_takes_are_resampled_with_a_notice(wav: Wav, rate: int) -> None:
    path = wav(2.5, rate=rate, channels=2)
    with open_recording(path, ("left", "right")) as recording:
        assert recording.sample_rate == 16_000
        assert "resampled" in recording.notices[0]
    whole = resample(soundfile.read(path, dtype="float32")[0], rate)
    np.testing.assert_array_equal(pcm(path, channels=("left", "right")), to_pcm(whole))


def test_floats_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", np.array([2.0, -2.0]), 16_000, subtype="FLOAT")
    assert pcm(tmp_path / "loud.wav")[:, 0].tolist() == [32_767, -32_768]


def test_a_sample_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="not finite"):
        pcm(tmp_path / "nan.wav")


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    with pytest.raises(AudioError, match="holds no audio"):
        pcm(tmp_path / "empty.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.raw", "a.txt"])
@pytest.mark.parametrize("content", [b"", b"not audio", b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_not_audio_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match="cannot be read as audio"):
        pcm(tmp_path / name)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        pcm(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="expected an audio file"):
        pcm(tmp_path)
