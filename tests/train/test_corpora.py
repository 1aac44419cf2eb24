"""Folders of recordings to clips."""

from collections.abc import Callable
from pathlib import Path

import pytest

from emotion.errors import CorpusError
from train.corpora import load_ravdess

WriteClip = Callable[..., Path]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        load_ravdess(tmp_path / "nowhere")


def test_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no audio here")
    with pytest.raises(CorpusError, match="no RAVDESS recordings"):
        load_ravdess(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["03-01-09-01-01-01-01", "03-01-01-01-01-01-25", "01-01-01-01-01-01-01", "03-01-01", "hello",
     "03-03-01-01-01-01-01", "03-01-01-01-01-01-00"],
)  # fmt: skip
def test_misnamed_files_are_named_counted_and_left_out(
    name: str, tmp_path: Path, write_clip: WriteClip, caplog: pytest.LogCaptureFixture
) -> None:
    good = write_clip(tmp_path, "03-02-05-02-01-02-24")
    good.with_name(f"{name}.wav").write_bytes(good.read_bytes())
    assert [clip.path for clip in load_ravdess(tmp_path)] == [good]
    assert f"{name}.wav: not a RAVDESS name" in caplog.text
    assert "1 files skipped" in caplog.text


def test_a_second_copy_is_left_out_so_that_it_cannot_be_on_both_sides(
    tmp_path: Path, write_clip: WriteClip, caplog: pytest.LogCaptureFixture
) -> None:
    write_clip(tmp_path / "a", "03-01-05-02-01-02-24")
    write_clip(tmp_path / "b", "03-01-05-02-01-02-24", ".flac")
    assert len(load_ravdess(tmp_path)) == 1
    assert "a second copy" in caplog.text


def test_many_misnamed_files_are_counted_not_listed(
    tmp_path: Path, write_clip: WriteClip, caplog: pytest.LogCaptureFixture
) -> None:
    write_clip(tmp_path, "03-02-05-02-01-02-24")
    for number in range(50):
        (tmp_path / f"noise-{number:02}.wav").touch()
    load_ravdess(tmp_path)
    assert "skipped 30 more" in caplog.text
    assert "50 files skipped" in caplog.text


def test_names_say_emotion_actor_and_channel(tmp_path: Path, write_clip: WriteClip) -> None:
    write_clip(tmp_path, "03-02-05-02-01-02-24")
    clip = load_ravdess(tmp_path)[0]
    assert (clip.emotion, clip.actor, clip.channel) == (4, 24, "song")
    assert clip.name == "03-02-05-02-01-02-24"


def test_order_does_not_depend_on_where_the_files_lie(
    tmp_path: Path, write_clip: WriteClip
) -> None:
    names = ["03-02-01-01-01-01-02", "03-01-08-01-01-01-01", "03-01-01-01-01-01-02"]
    for layout in ("together", "apart"):
        for name in names:
            channel = name[3:5] if layout == "apart" else ""
            write_clip(tmp_path / layout / channel, name)
    together, apart = (load_ravdess(tmp_path / layout) for layout in ("together", "apart"))
    assert [clip.name for clip in together] == [names[1], names[2], names[0]]
    assert [clip.name for clip in apart] == [clip.name for clip in together]


def test_what_macos_leaves_in_archives_is_not_audio(
    tmp_path: Path, write_clip: WriteClip, caplog: pytest.LogCaptureFixture
) -> None:
    good = write_clip(tmp_path, "03-01-05-02-01-02-24")
    good.with_name("._" + good.name).write_bytes(b"\0")
    assert len(load_ravdess(tmp_path)) == 1
    assert not caplog.text
