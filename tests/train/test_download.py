"""Downloads against a real server on this machine, one that misbehaves on demand."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from emotion.errors import CorpusError
from train.download import Archive, download_ravdess, fetch, unpack


def _zip(*names: str, content: bytes = b"RIFF....") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name in names:
            bundle.writestr(name, content)
    return buffer.getvalue()


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


BODY = bytes(range(256)) * 4_000


@dataclass
class Behaviour:
    """What the server has and how it misbehaves.

    `cut` lists how many bytes each of the next answers sends before the connection breaks; `refuse`
    the status codes of the next answers.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    shift: int = 0
    cut: list[int] = field(default_factory=list)
    refuse: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour(files={"/file": BODY})


@pytest.fixture
def server(behaviour: Behaviour) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            behaviour.asked.append((self.path, wanted))
            if behaviour.refuse:
                self.send_error(behaviour.refuse.pop(0))
            elif self.path not in behaviour.files:
                self.send_error(404)
            else:
                self._send(behaviour.files[self.path], wanted)

        def _send(self, content: bytes, wanted: str | None) -> None:
            start = 0
            if wanted and behaviour.ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-")) + behaviour.shift
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                last = len(content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
            else:
                self.send_response(200)
            body = content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: behaviour.cut.pop(0)] if behaviour.cut else body)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def _fetch(url: str, to: Path, md5: str = _md5(BODY)) -> None:
    fetch(url, to, md5, pause_s=lambda _: 0.0)


def test_a_file_arrives_whole(server: str, tmp_path: Path) -> None:
    _fetch(f"{server}/file", tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == BODY


def test_a_broken_connection_is_resumed_where_it_broke(
    server: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.cut = [300_000, 200_000]
    _fetch(f"{server}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    starts = [wanted for _, wanted in behaviour.asked]
    assert len(starts) == 3 and starts[0] is None
    assert all(wanted and wanted.startswith("bytes=") for wanted in starts[1:])


def test_an_interrupted_download_goes_on_in_the_next_run(
    server: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    (tmp_path / "file.part").write_bytes(BODY[:123_456])
    _fetch(f"{server}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert behaviour.asked == [("/file", "bytes=123456-")]
    assert not (tmp_path / "file.part").exists()


def test_all_but_the_last_step_done_needs_no_second_copy(
    server: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    (tmp_path / "file.part").write_bytes(BODY)
    _fetch(f"{server}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_server_without_ranges_sends_everything_again(
    server: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.ranges, behaviour.cut = False, [500_000]
    _fetch(f"{server}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_server_that_answers_another_range_is_refused(
    server: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.shift = 10
    (tmp_path / "file.part").write_bytes(BODY[:1_000])
    with pytest.raises(CorpusError, match="expected one from 1000"):
        _fetch(f"{server}/file", tmp_path / "file")


def test_a_wrong_checksum_deletes_what_arrived(server: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=f"checksum {_md5(BODY)}, expected {'0' * 32}"):
        _fetch(f"{server}/file", tmp_path / "file", "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_busy_server_is_asked_again(server: str, behaviour: Behaviour, tmp_path: Path) -> None:
    behaviour.refuse = [503, 429]
    _fetch(f"{server}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_missing_file_is_not_asked_for_again(
    server: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match="404"):
        _fetch(f"{server}/nothing", tmp_path / "file")
    assert len(behaviour.asked) == 1


def test_an_unreachable_server_keeps_what_has_arrived(tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(BODY[:100])
    with pytest.raises(CorpusError, match="run the command again to go on"):
        _fetch("http://127.0.0.1:9/file", tmp_path / "file")
    assert (tmp_path / "file.part").read_bytes() == BODY[:100]


def test_archives_are_unpacked_once_and_not_fetched_again(
    server: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    name = "Actor_01/03-01-01-01-01-01-01.wav"
    content = _zip("Actor_01/", name)
    behaviour.files = {"/a.zip": content}
    archives = (Archive("a.zip", _md5(content), "speech"),)
    for _ in range(2):
        download_ravdess(tmp_path, server + "/", archives)
    assert (tmp_path / "speech" / name).read_bytes() == b"RIFF...."
    assert not (tmp_path / "a.zip").exists()
    assert len(behaviour.asked) == 1


def test_an_unpacking_that_was_interrupted_is_done_again(
    server: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    content = _zip("Actor_01/a.wav", "Actor_01/b.wav")
    behaviour.files = {"/a.zip": content}
    (tmp_path / "a.zip").write_bytes(content)
    (tmp_path / "speech" / "Actor_01").mkdir(parents=True)
    (tmp_path / "speech" / "Actor_01" / "a.wav").write_bytes(b"ha")
    download_ravdess(tmp_path, server, (Archive("a.zip", _md5(content), "speech"),))
    assert (tmp_path / "speech" / "Actor_01" / "a.wav").read_bytes() == b"RIFF...."
    assert behaviour.asked == []


@pytest.mark.parametrize(
    "name",
    ["../outside.wav", "/etc/outside.wav", "a/../../outside.wav", "..\\out.wav", "C:\\x.wav"],
)
def test_an_entry_outside_the_folder_unpacks_nothing(name: str, tmp_path: Path) -> None:
    archive = tmp_path / "bad.zip"
    archive.write_bytes(_zip("good.wav", name))
    with pytest.raises(CorpusError, match="unsafe entry"):
        unpack(archive, tmp_path / "in" / "here")
    assert [path.name for path in tmp_path.rglob("*.wav")] == []


def test_a_link_unpacks_nothing(tmp_path: Path) -> None:
    archive, link = tmp_path / "bad.zip", zipfile.ZipInfo("link.wav")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr(link, "/etc/passwd")
    with pytest.raises(CorpusError, match="unsafe entry"):
        unpack(archive, tmp_path / "here")


def test_an_archive_that_would_fill_the_disk_unpacks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.download.UNPACKED_LIMIT", 10)
    (tmp_path / "big.zip").write_bytes(_zip("a.wav", "b.wav"))
    with pytest.raises(CorpusError, match="unpacks to more than"):
        unpack(tmp_path / "big.zip", tmp_path / "here")


@pytest.mark.parametrize("content", [b"", b"<html>Not Found</html>"])
def test_what_is_no_zip_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "page.zip").write_bytes(content)
    with pytest.raises(CorpusError, match="not a zip archive"):
        unpack(tmp_path / "page.zip", tmp_path / "here")
