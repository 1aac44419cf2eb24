"""Fetches RAVDESS's two audio archives from Zenodo (record 1188976) and unpacks them.

An interrupted download goes on where it stopped, where the server allows it (Range). Nothing is
unpacked before its checksum is right, and nothing is unpacked outside the folder asked for.
"""

import hashlib
import logging
import shutil
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import httpx

from emotion.errors import CorpusError
from emotion.progress import track_bytes
from train.files import replacing, write

RECORD: Final = "https://zenodo.org/records/1188976/files"

ATTEMPTS: Final = 5
TIMEOUT_S: Final = 30.0
UNPACKED_LIMIT: Final = 4 << 30
"""Bytes; the archives unpack to about 1.1 GB together."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """One file of the record.

    Attributes:
        name: the file's name there.
        md5: as the record states it.
        folder: where it is unpacked, below the folder asked for.
    """

    name: str
    md5: str
    folder: str


ARCHIVES: Final = (
    Archive("Audio_Speech_Actors_01-24.zip", "bc696df654c87fed845eb13823edef8a", "speech"),
    Archive("Audio_Song_Actors_01-24.zip", "5411230427d67a21e18aa4d466e6d1b9", "song"),
)


def download_ravdess(
    out: Path,
    base_url: str = RECORD,
    archives: tuple[Archive, ...] = ARCHIVES,
    *,
    pause_s: Callable[[int], float] = lambda attempt: 2.0**attempt,
) -> None:
    """Fetches, verifies and unpacks the archives; what is there already is not fetched again.

    Args:
        out: the corpus's folder: gets `speech/Actor_NN/*.wav` and `song/Actor_NN/*.wav`.
        base_url: where the files are, without the last slash.
        archives: what to fetch.
        pause_s: seconds to wait after the n-th failure, counted from 0.

    Raises:
        CorpusError: the server cannot be reached, a checksum is wrong or an archive is unsafe.
    """
    for archive in archives:
        done = out / archive.folder / ".complete"
        if done.is_file() and done.read_text(encoding="utf-8").strip() == archive.md5:
            _log.info("%s: already there", archive.name)
            continue
        file = out / archive.name
        fetch(f"{base_url.rstrip('/')}/{archive.name}", file, archive.md5, pause_s=pause_s)
        unpack(file, out / archive.folder)
        with replacing(done) as temporary:
            temporary.write_text(archive.md5 + "\n", encoding="utf-8")
        file.unlink()


def fetch(
    url: str, to: Path, md5: str, *, pause_s: Callable[[int], float] = lambda attempt: 2.0**attempt
) -> None:
    """Downloads a file; goes on with `to`.part where an earlier attempt left one.

    Raises:
        CorpusError: the server cannot be reached or refuses, or the checksum is wrong.
    """
    if to.is_file() and _md5(to) == md5:
        return
    part = to.with_name(to.name + ".part")
    to.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        try:
            _fetch_rest(url, part)
            break
        except (httpx.TransportError, httpx.StreamError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            hopeless = isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol)
            if hopeless or attempt == ATTEMPTS - 1:
                raise CorpusError(
                    f"{url}: {reason}; what has arrived is kept, run the command again to go on"
                ) from error
            _log.warning("%s: %s; trying again", url, reason)
            time.sleep(pause_s(attempt))
    if (found := _md5(part)) != md5:
        part.unlink()
        raise CorpusError(f"{url}: checksum {found}, expected {md5}; deleted, try again")
    part.replace(to)


def unpack(archive: Path, to: Path) -> None:
    """Unpacks a zip; an earlier, unfinished attempt is written over.

    Raises:
        CorpusError: it is no zip, or an entry lies outside the folder, is a link or is too large.
    """
    try:
        with zipfile.ZipFile(archive) as bundle:
            entries = [entry for entry in bundle.infolist() if not entry.is_dir()]
            for entry in entries:
                _assert_safe(entry, archive)
            if sum(entry.file_size for entry in entries) > UNPACKED_LIMIT:
                raise CorpusError(f"{archive}: unpacks to more than {UNPACKED_LIMIT >> 30} GiB")
            for entry in entries:
                write(to / entry.filename, _copier(bundle, entry))
    except zipfile.BadZipFile as error:
        raise CorpusError(f"{archive}: not a zip archive: {error}") from error


def _copier(bundle: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Callable[[Path], None]:
    def copy(path: Path) -> None:
        with bundle.open(entry) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)

    return copy


def _assert_safe(entry: zipfile.ZipInfo, archive: Path) -> None:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or ":" in entry.filename
    if outside or stat.S_ISLNK(entry.external_attr >> 16):
        raise CorpusError(f"{archive}: unsafe entry {entry.filename!r}; nothing was unpacked")


def _fetch_rest(url: str, part: Path) -> None:
    """One attempt: asks for what is missing; starts over where the server sends everything."""
    have = part.stat().st_size if part.is_file() else 0
    with _response(url, have) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is there, or it is longer than it should be: the checksum will tell
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            reason = f"{response.status_code} {response.reason_phrase}"
            if response.status_code == 429 or response.status_code >= 500:
                raise httpx.ReadError(reason)
            raise CorpusError(f"{url}: the server answered {reason}, expected the file")
        start = _start(response, have)
        length = int(response.headers.get("Content-Length", 0))
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            # As they arrive: pieces gathered to a fixed size are lost when the connection breaks.
            chunks = response.iter_raw()
            for chunk in track_bytes(chunks, start, start + length, part.stem):
                file.write(chunk)


def _start(response: httpx.Response, have: int) -> int:
    """Where the body begins: a server that ignores Range, or misreads it, sends from elsewhere."""
    if response.status_code == httpx.codes.OK:
        return 0
    content_range = response.headers.get("Content-Range", "")
    if not content_range.startswith(f"bytes {have}-"):
        raise CorpusError(f"the server sent the range {content_range!r}, expected one from {have}")
    return have


@contextmanager
def _response(url: str, have: int) -> Iterator[httpx.Response]:
    # identity: a resumed transfer must continue the file's own bytes, not a compressed stream's.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with (
        httpx.Client(follow_redirects=True, timeout=TIMEOUT_S) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        yield response


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        # Against accidents, not attackers: MD5 is what the record publishes.
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
