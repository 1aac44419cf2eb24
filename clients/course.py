"""How far a stream has come, whatever connections it takes: pure, no socket and no clock.

What was recorded, sent and judged are positions in the stream's bytes. A session begins at `origin`; its
times and samples count from there. The first one begins at 0; one that follows because the server has
forgotten the first begins with what is not judged yet.
"""

from typing import Final

import msgspec

from clients.backlog import Backlog
from emotion.audio import BYTES_PER_SAMPLE
from emotion.messages import (
    MAX_GAP_S,
    Emotion,
    Error,
    Gap,
    Resume,
    ServerMessage,
    Silence,
    Start,
    Started,
    Stop,
    Summary,
)

BACKLOG_S: Final = 60.0
"""Of audio that is kept until it has been judged."""
LOST_AT_ONCE_S: Final = 1.0
"""Of audio that falls out of a full backlog at a time."""
MAX_UNJUDGED_S: Final = 40.0
"""Of audio that a stream which can wait sends ahead of what is judged: less than the backlog, so that
nothing is lost, and more than the longest hop, so that something is judged."""
FRAME_S: Final = 1.0
"""Of audio that is sent in one frame at most."""

ToSend = bytes | Gap | Stop


class Course:
    """A stream's progress.

    Args:
        start: its configuration.
        live: whether audio that cannot be sent is lost at last, rather than waited for.
    """

    def __init__(self, start: Start, *, live: bool) -> None:
        self._start = start
        self._live = live
        self._frame = BYTES_PER_SAMPLE[start.encoding] * len(start.channels)
        second = start.sample_rate * self._frame
        self._second = second
        self._backlog = Backlog(
            round(BACKLOG_S * second), self._frame, round(LOST_AT_ONCE_S * second)
        )
        self._origin = self._cursor = self._judged = 0
        self._session_id: str | None = None
        self._last_seq = 0
        self._stop_repeated = False
        self.stopped = False  # no more audio comes
        self.stop_sent = False

    # --- audio ---

    def record(self, data: bytes) -> int:
        """Takes the next bytes; gives the position behind them."""
        self._backlog.append(data)
        return self._backlog.end

    def next(self) -> ToSend | None:
        """What is to be sent next; None where that is nothing."""
        if self._cursor < self._backlog.first:
            lost = self._backlog.first // self._frame - self._cursor // self._frame
            return Gap(samples=min(lost, round(MAX_GAP_S * self._start.sample_rate)))
        if self._live or self._cursor - self._judged < MAX_UNJUDGED_S * self._second:
            size = max(self._frame, round(FRAME_S * self._start.sample_rate) * self._frame)
            if data := self._backlog.read(self._cursor, size):
                return data
        waiting = self._cursor < self._backlog.end
        return Stop() if self.stopped and not self.stop_sent and not waiting else None

    def sent(self, item: ToSend) -> None:
        """That has been sent."""
        match item:
            case Gap():
                self._cursor += item.samples * self._frame - self._cursor % self._frame
            case Stop():
                self.stop_sent = True
            case _:
                self._cursor += len(item)

    @property
    def cursor(self) -> int:
        """Position of what is sent next."""
        return self._cursor

    @property
    def judged(self) -> int:
        """Position up to which results have come."""
        return self._judged

    @property
    def all_judged(self) -> bool:
        """Whether results have come for all that was recorded."""
        return self._judged >= self._backlog.end - self._backlog.end % self._frame

    @property
    def sent_s(self) -> float:
        """Seconds of audio that have been sent, or declared as lost."""
        return self._cursor / self._second

    # --- the session ---

    def greeting(self) -> Start:
        """The first message of a new connection: starts a session, or goes on with it."""
        if self._session_id is None:
            self._restart()
            return self._start
        resume = Resume(session_id=self._session_id, last_seq=self._last_seq)
        return msgspec.structs.replace(self._start, resume=resume)

    @property
    def resuming(self) -> bool:
        """Whether the next connection goes on with a session."""
        return self._session_id is not None

    def begin(self, started: Started) -> str | None:
        """The connection's session has begun, or goes on.

        Returns:
            what should be said of it.
        """
        if (
            self.resuming and not started.resumed
        ):  # a server that does not know how has begun another
            self.forget()
            self._restart()
        resumed, self._session_id = self.resuming, started.session_id
        if not resumed:
            since_s = self._origin / self._second
            return f"a new session: its times count from {since_s:.1f} s" if self._origin else None
        heard = self._origin + started.received_samples * self._frame
        self._cursor = min(heard, self._backlog.end)
        self._stop_repeated, self.stop_sent = self.stop_sent, False
        lost_s = (self._backlog.first - self._cursor) / self._second
        if lost_s > 0:
            return f"connected again; {lost_s:.1f} s of audio are lost and count as silence"
        return "connected again; nothing is lost"

    def forget(self) -> None:
        """The server does not have the session any more."""
        self._session_id, self._last_seq = None, 0

    def _restart(self) -> None:
        """A session begins with what is not judged yet, as far as it is kept."""
        self._backlog.forget(self._judged)
        self._origin = self._cursor = self._backlog.first
        self.stop_sent = self._stop_repeated = False

    def hear(self, message: ServerMessage) -> bool:
        """Learns from what the server said.

        Returns:
            whether it is news: an event that comes again is none.
        """
        match message:
            case Emotion() | Silence():
                if message.seq <= self._last_seq:
                    return False
                self._last_seq = message.seq
                self._answered(message.end_s)
            case Summary():
                self._answered(message.audio_s)
            case Error() if not message.fatal and self._stop_repeated:
                return False  # it had heard the first `stop`, of which the client could not know
        return True

    def _answered(self, end_s: float) -> None:
        position = self._origin + round(end_s * self._start.sample_rate) * self._frame
        self._judged = max(self._judged, min(position, self._cursor))
        self._backlog.forget(self._judged)
