"""Which files are recordings."""

from pathlib import Path

import pytest

from clients.analyze.found import _distinct, find
from emotion.errors import AudioError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(*paths: Path) -> list[str]:
    return [found.name for found in find(paths, pytest.fail)]


def test_a_folder_is_searched_to_its_bottom_for_what_is_audio(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.WAV",
        "a.flac",
        "x/y/z.mp3",
        "notes.txt",
        ".hidden.wav",
        "._a.flac",
        ".git/a.wav",
    )
    assert names(tmp_path) == ["a.flac", "b.WAV", "x/y/z.mp3"]


def test_a_file_that_is_named_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    touch(tmp_path, "recording", "a.wav")
    assert names(tmp_path / "recording") == ["recording"]


def test_a_recording_that_is_named_twice_is_judged_once(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.wav")
    assert names(tmp_path, tmp_path / "x", tmp_path / "x" / "a.wav") == ["x/a.wav"]


def test_recordings_of_one_name_have_pictures_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.wav", "y/a.wav", "z/a.wav")
    found = names(tmp_path / "x", tmp_path / "y", tmp_path / "z")
    assert found == ["a.wav", "a (2).wav", "a (3).wav"]
    touch(tmp_path, "x/a (2).wav", "y/a (2).wav")
    found = names(
        *(tmp_path / name for name in ("x/a (2).wav", "x/a.wav", "y/a.wav", "y/a (2).wav"))
    )
    assert found == ["a (2).wav", "a.wav", "a (3).wav", "a (2) (2).wav"]


def test_twenty_thousand_recordings_of_one_name_are_found_without_counting_each_time() -> None:
    """Each is looked up a time or two; counting from 2 on would be 200 million look-ups."""

    class Counted(dict[str, int]):
        looked_up = 0

        def __contains__(self, key: object) -> bool:
            self.looked_up += 1
            return super().__contains__(key)

    taken = Counted()
    found = [_distinct("call.wav", taken) for _ in range(20_000)]
    assert len(set(found)) == 20_000 and found[-1] == "call (20000).wav"
    assert taken.looked_up <= 40_000


def test_a_link_that_leads_back_is_not_followed_for_ever(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert names(tmp_path) == ["a.wav"]


def test_no_name_commands_a_terminal_or_breaks_a_picture(tmp_path: Path) -> None:
    touch(tmp_path, "a\x1b]0;b\x07.wav", "c\nd/e\u3000é.wav", "\ufffe.wav")
    assert names(tmp_path) == ["a\\x1b]0;b\\x07.wav", "\\ufffe.wav", "c\\nd/e\u3000é.wav"]


@pytest.mark.parametrize("first", "=+-@\t\r")
def test_a_path_in_a_table_is_no_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    touch(tmp_path, f"{first}1.wav", "a=b.wav")
    monkeypatch.chdir(tmp_path)
    shown = {one.shown for one in find([Path()], pytest.fail)}
    assert shown == {f"./{first}1.wav", "a=b.wav"}


def test_nothing_to_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no recordings; expected"):
        find([tmp_path], pytest.fail)
    with pytest.raises(AudioError, match="no such file or folder"):
        find([tmp_path / "none"], pytest.fail)
    with pytest.raises(AudioError, match=r"cannot be read \(File name too long\)"):
        find([tmp_path / ("x" * 300)], pytest.fail)
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(AudioError, match="cannot be read"):
        find([tmp_path / "round"], pytest.fail)
