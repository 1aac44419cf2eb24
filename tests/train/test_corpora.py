"""Folders of recordings to clips."""

from collections.abc import Callable
from pathlib import Path

import pytest

from emotion.errors import CorpusError
from emotion.labels import EMOTIONS
from train.corpora import Clip, load_corpus, load_ravdess

WriteClip = Callable[..., Path]
Listed = Callable[..., list[Clip]]


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


@pytest.fixture
def listed(tmp_path: Path) -> Listed:
    """Loads a folder of four empty files by a manifest of this text."""
    for name in ("a.wav", "b.wav", "b.flac", "deep/a.wav"):
        (tmp_path / "corpus" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / name).touch()
    (tmp_path / "outside.wav").touch()

    def load(text: str, encoding: str = "utf-8") -> list[Clip]:
        (tmp_path / "corpus" / "clips.csv").write_text(text, encoding=encoding)
        return load_corpus(tmp_path / "corpus")

    return load


def test_a_manifest_says_emotion_speaker_and_channel(listed: Listed) -> None:
    clips = listed(
        "path,emotion,speaker,channel\n"
        'b.wav,angry,"Žofie, 2nd floor",song\n'
        "\n"
        "./deep/a.wav, calm , 7 ,\n"
        "a.wav,neutral,7,speech\n"
    )
    said = [(clip.name, EMOTIONS[clip.emotion], clip.speaker, clip.channel) for clip in clips]
    assert said == [
        ("a", "neutral", "7", "speech"),
        ("deep/a", "calm", "7", "speech"),
        ("b", "angry", "Žofie, 2nd floor", "song"),
    ]
    assert [clip.actor for clip in clips] == [1, 1, 2]
    assert [clip.path.is_file() for clip in clips] == [True] * 3


def test_the_order_of_columns_and_lines_and_a_byte_order_mark_change_nothing(
    listed: Listed,
) -> None:
    once = listed("path,emotion,speaker\na.wav,sad,x\nb.wav,happy,w\n")
    again = listed("speaker,path,emotion\r\nw,b.wav,happy\r\nx,a.wav,sad\r\n", "utf-8-sig")
    assert once == again


def test_where_there_is_a_manifest_files_that_it_does_not_list_are_no_clips(
    listed: Listed, tmp_path: Path, write_clip: WriteClip
) -> None:
    write_clip(tmp_path / "corpus", "03-01-05-02-01-02-24")
    assert [clip.name for clip in listed("path,emotion,speaker\na.wav,sad,x\n")] == ["a"]


def test_without_a_manifest_a_corpus_is_ravdess(tmp_path: Path, write_clip: WriteClip) -> None:
    write_clip(tmp_path, "03-01-05-02-01-02-24")
    assert load_corpus(tmp_path) == load_ravdess(tmp_path)
    assert load_corpus(tmp_path)[0].speaker == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: found no column 'path', no column 'emotion', no column 'speaker'"),
        ("path,emotion\n", "line 1: found no column 'speaker' in 'path,emotion', expected path,"),
        ("path;emotion;speaker\n", "an unknown column 'path;emotion;speaker'"),
        ("path,emotion,speaker,age\n", "an unknown column 'age'"),
        ("path,emotion,speaker,path\n", "a column twice"),
        ("path,emotion,speaker\n", "no clips, expected a line for each"),
        ("path,emotion,speaker\na.wav,sad\n", "line 2: found 2 fields, expected 3"),
        ("path,emotion,speaker\na.wav,sad,x,y\n", "line 2: found 4 fields, expected 3"),
        (
            "path,emotion,speaker\na.wav,sad,x\n\nb.wav,Bored,x\n",
            "line 4: found emotion 'Bored', expected one of neutral, calm, happy",
        ),
        ("path,emotion,speaker\na.wav,sad,  \n", "line 2: found no speaker, expected any name"),
        ("path,emotion,speaker,channel\na.wav,sad,x,left\n", "found channel 'left', expected sp"),
        ("path,emotion,speaker\nc.wav,sad,x\n", "found path 'c.wav', expected a file in"),
        ("path,emotion,speaker\n,sad,x\n", "line 2: found path '', expected a file in"),
        ("path,emotion,speaker\ndeep,sad,x\n", "line 2: found path 'deep', expected a file in"),
        ("path,emotion,speaker\n../outside.wav,sad,x\n", "expected a path inside"),
        ("path,emotion,speaker\ndeep/../../outside.wav,sad,x\n", "expected a path inside"),
        ("path,emotion,speaker\n/recordings/a.wav,sad,x\n", "expected a path inside"),
        (
            "path,emotion,speaker\na.wav,sad,x\n./deep/../a.wav,sad,x\n",
            "line 3: found path './deep/../a.wav' again after line 2",
        ),
        ("path,emotion,speaker\nb.wav,sad,x\nb.flac,sad,y\n", "line 3: found path 'b.flac' again"),
        ('path,emotion,speaker\n"a.wav,sad,x\n', "cannot be read"),
        ("path,emotion,speaker\na\0.wav,sad,x\n", "clips.csv"),
    ],
)
def test_a_manifest_that_cannot_be_obeyed_is_refused_with_the_line(
    text: str, said: str, listed: Listed
) -> None:
    with pytest.raises(CorpusError) as caught:
        listed(text)
    assert said in str(caught.value)
    assert "clips.csv" in str(caught.value)


def test_a_manifest_that_is_not_utf_8_is_refused(listed: Listed) -> None:
    with pytest.raises(CorpusError, match="save it as CSV in UTF-8"):
        listed("path,emotion,speaker\na.wav,sad,Zoë\n", "latin-1")
