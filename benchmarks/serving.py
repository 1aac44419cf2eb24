"""A server of a benchmark's own, and what Linux says of its process."""

import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from clients.connect import Access
from clients.scrape import fetch
from emotion.errors import EmotionError

ALLOCATOR: Final = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""For glibc, the thresholds that it begins with, held fast (mallopt(3)). Else they rise with what the
loading of a model frees, and much of that stays resident: a leak of 10 MiB, put in as a test, fitted in
there and was not seen. With these it was."""
INFO_PATH: Final = "/v1/info"
MAX_SAID: Final = 50  # log lines that are kept
END_S: Final = 30.0  # for the server to end by itself; its drain takes 10 s at most


class ServingError(EmotionError, RuntimeError):
    """The server did not start, or does not answer."""


class Held(msgspec.Struct, frozen=True):
    """What a process holds.

    Attributes:
        rss_kib: resident memory.
        fds: open file descriptors, its sockets among them.
        threads: how many run.
        cpu_s: seconds of processor time that it has used.
    """

    rss_kib: int
    fds: int
    threads: int
    cpu_s: float


@dataclass
class Serving:
    """A server that runs.

    Attributes:
        process: the server's.
        url: where it listens.
        failures: how many lines of its log are of level ERROR.
        said: the last lines of its log.
    """

    process: "subprocess.Popen[str]"
    url: str = ""
    failures: int = 0
    said: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_SAID))

    @property
    def access(self) -> Access:
        """To it."""
        return Access(self.url)

    def held(self) -> Held:
        """What its process holds now; Linux only.

        Raises:
            ServingError: it has ended.
        """
        if self.process.poll() is not None:
            raise ServingError(f"the server ended: {self.said[-1]}")
        folder = Path(f"/proc/{self.process.pid}")
        status = dict(re.findall(r"(\w+):\s+(\d+)", (folder / "status").read_text()))
        fds = sum(1 for _ in (folder / "fd").iterdir())
        # After the name, which may hold anything: user and system time are fields 14 and 15 (proc(5)).
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return Held(int(status["VmRSS"]), fds, int(status["Threads"]), cpu_s)

    async def info(self) -> dict[str, Any]:
        """What it says of itself at `/v1/info`.

        Raises:
            ServingError: it does not answer.
        """
        text = await fetch(self.access, INFO_PATH)
        if not text:
            raise ServingError(f"{self.url}{INFO_PATH}: no answer; the server's load is too high")
        info: dict[str, Any] = msgspec.json.decode(text)
        return info

    async def capacity(self) -> int:
        """Sessions that it takes at once."""
        return int((await self.info())["sessions"]["max"])

    def listen(self, log: IO[str]) -> None:
        """Reads its log to the end: a pipe that nobody reads would stop it."""
        for line in log:
            self._note(line)

    def wait(self, log: IO[str]) -> None:
        """Reads its log until it listens.

        Raises:
            ServingError: it ended instead.
        """
        for line in log:
            self._note(line)
            if found := re.search(r"listening on (wss?://\S+)", line):
                self.url = found[1]
                return
        last = self.said[-1] if self.said else "it said nothing"
        raise ServingError(f"the server did not start: {last.removeprefix('error: ')}")

    def _note(self, line: str) -> None:
        self.failures += " ERROR " in line
        self.said.append(line.rstrip())


@contextmanager
def serving(
    *options: str, model: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Serving]:
    """A server on a free port inside the block, which asks nobody to come less often.

    Args:
        options: for its command line.
        model: a folder with a model; the embedded one where None.
        environment: variables, besides this process's.

    Raises:
        ServingError: it did not start.
    """
    command = [sys.executable, "-m", "stream_server", "--port", "0"]
    command += ["--max-handshakes-per-minute", "0", *options]
    command += [] if model is None else ["--model", str(model)]
    variables = {**os.environ, **(environment or {})}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stderr is not None
        server = Serving(process)
        listener = threading.Thread(target=server.listen, args=(process.stderr,), name="log")
        try:
            server.wait(process.stderr)
            listener.start()
            yield server
        finally:
            _end(process)
            if listener.ident is not None:
                listener.join()


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
