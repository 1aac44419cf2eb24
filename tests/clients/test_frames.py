"""A load's audio: frames that any WebSocket server takes, mu-law that the server decodes."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from clients.frames import MAX_CALL_S, framed, masked, recorded, synthetic
from emotion.audio import Decoder, to_pcm
from emotion.errors import AudioError


def unmasked(data: bytes) -> Frame:
    """What a server reads."""
    reader = StreamReader()
    reader.feed_data(data)
    parsing = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    assert isinstance(done.value.value, Frame)
    return done.value.value


@pytest.mark.parametrize("length", [0, 125, 126, 640, 70_000])
def test_a_masked_frame_is_read_back(length: int) -> None:
    frame = unmasked(masked(b"\x07" * length))
    assert (frame.opcode, frame.data, frame.fin) == (Opcode.BINARY, b"\x07" * length, True)
    assert unmasked(masked("{}")).opcode is Opcode.TEXT


@pytest.mark.parametrize(("encoding", "size"), [("pcm_s16le", 640), ("mulaw", 160)])
def test_frames_hold_the_call_in_order(encoding: str, size: int) -> None:
    samples = synthetic(0.5, encoding, 3.0)  # type: ignore[arg-type]
    call = framed(samples, encoding, 20)  # type: ignore[arg-type]
    assert call.samples == call.rate // 50 and len(call.frames) == 60 * 50
    data = b"".join(bytes(unmasked(frame).data) for frame in call.frames[:100])
    assert len(data) == 100 * size
    heard = Decoder(encoding).feed(data)[:, 0]  # type: ignore[arg-type]
    sent = to_pcm(samples[: len(heard)]) / 32_768
    np.testing.assert_allclose(heard, sent, rtol=0.04, atol=3e-4)


def test_what_does_not_fill_a_frame_is_left_out() -> None:
    assert len(framed(np.zeros(16_000 + 319, np.float32), "pcm_s16le", 20).frames) == 50


def write(path: Path, seconds: float, rate: int, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full((round(seconds * rate), channels), 0.25), rate)


def test_recordings_of_any_rate_and_shape_follow_each_other_with_pauses(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 2, 48_000, 2)
    write(tmp_path / "deeper" / "b.flac", 3, 8_000)
    (tmp_path / "notes.txt").write_text("not audio")
    samples = recorded(tmp_path, 0.5, "pcm_s16le", 3.0)
    loud = np.abs(samples) > 0.1
    assert samples.dtype == np.float32
    assert loud.sum() / 16_000 == pytest.approx(5, abs=0.01)
    # Windows that hold 0.6 s of the two: (2 + 1.8) + (3 + 1.8) s of them.
    assert len(samples) / 16_000 == pytest.approx(8.6 / 0.5, abs=0.01)


def test_without_pauses_recordings_follow_at_once(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 2, 16_000)
    assert len(recorded(tmp_path, 1.0, "mulaw", 3.0)) == 16_000


def test_a_long_recording_is_read_as_far_as_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", MAX_CALL_S + 5, 8_000)
    write(tmp_path / "b.wav", 5, 8_000)
    assert len(recorded(tmp_path, 1.0, "mulaw", 3.0)) == MAX_CALL_S * 8_000


@pytest.mark.parametrize("name", [".", "nowhere"])
def test_a_folder_without_recordings_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AudioError, match="recordings"):
        recorded(tmp_path / name, 0.5, "pcm_s16le", 3.0)


def test_what_is_not_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"a\.wav: cannot be read"):
        recorded(tmp_path, 0.5, "pcm_s16le", 3.0)
