"""How many sessions there may be at once.

A slot is taken by the task that serves the session and given back when that task ends, on every path,
because it is held by a `with` block. The handshake only asks whether there is one: what it would take,
it could not give back.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from emotion.errors import MessageError


class Admission:
    """Counts the sessions.

    Args:
        max_sessions: slots.
    """

    def __init__(self, max_sessions: int) -> None:
        self.max_sessions = max_sessions
        self.active = 0
        self.draining = False

    def refusal(self) -> str | None:
        """Why a session would be refused now; None where it would not."""
        if self.draining:
            return "the server is shutting down: connect again in a moment"
        if self.active >= self.max_sessions:
            return f"all {self.max_sessions} sessions are taken: connect again later"
        return None

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Holds a slot for as long as the block runs.

        Raises:
            MessageError: `at_capacity`.
        """
        reason = self.refusal()
        if reason is not None:
            raise MessageError("at_capacity", reason)
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
