"""Log lines: as text or JSON, with the session's id, without secrets, and never a reason to stop.

Credentials reach a server in headers, subprotocols, addresses and messages, and audio in frames. Nothing
here logs them, and `websockets` is kept from it: at DEBUG it prints every header and frame. What an
exception may carry nevertheless is cut out of the finished line.
"""

import json
import logging
import os
import re
import sys
import time
from contextvars import ContextVar
from typing import Final

from stream_server.config import LogFormat

SESSION: Final[ContextVar[str | None]] = ContextVar("session", default=None)
"""The id of the session that the running task serves; set it once, and its log lines carry it."""

SECRETS: Final = re.compile(
    r"""(?ix)
    ( \b (?: proxy- )? authorization ["']? \s* [:=] \s* ["']? (?: [a-z]+ \s+ )?
    | \b (?: x-api-key | x-twilio-signature | signature | cookie ) ["']? \s* [:=] \s* ["']?
    | \b bearer [\s.]
    | ["']? \b token ["']? \s* [:=] \s* ["']?
    | :// [^\s/:@]* : (?= [^\s/@]+ @ )
    ) (?P<secret> [^\s"'&,;@]+ )
    """
)
"""What precedes a secret (in Sec-WebSocket-Protocol it is `bearer.`), and the secret. A little too much
is cut rather than a little too little. No part of it may look arbitrarily far ahead: strangers write
part of what is logged, and time that grows with the square of a text's length would be theirs to spend.
"""
CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
"""Of a message: a client's text must not make lines, or colours, of its own."""

TEXT_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class TextFormatter(logging.Formatter):
    """One line a record, then its exception."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter`, on one line, with the session before the message."""
        session = _session_of(record)
        if session is not None:
            record.message = f"session {session}: {record.message}"
        return super().formatMessage(record).translate(CONTROLS)

    def format(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter`, without secrets."""
        return redacted(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, session, exception."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter`."""
        fields = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        session = _session_of(record)
        if session is not None:
            fields["session"] = session
        if record.exc_info:
            fields["exception"] = redacted(self.formatException(record.exc_info))
        return json.dumps(fields)


def _session_of(record: logging.LogRecord) -> str | None:
    return getattr(record, "session", None) or SESSION.get()


class DescriptorHandler(logging.Handler):
    """Writes lines to a file descriptor.

    Nothing is buffered: what cannot be written now (disk full, nobody reads) is lost, and neither kept
    nor complained of when the program ends.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        """As `logging.Handler`."""
        try:
            line = self.format(record) + "\n"
            os.write(self._descriptor, line.encode(errors="backslashreplace"))
        except OSError:
            pass
        except Exception:
            self.handleError(record)


def redacted(text: str) -> str:
    """A text with its secrets cut out."""
    return SECRETS.sub(r"\1***", text)


def configure(kind: LogFormat, verbose: bool) -> None:
    """Sends every logger's records to stderr; a program calls it once.

    A record that cannot be written (disk full, stderr closed) is lost, and nothing else.
    """
    logging.raiseExceptions = False
    handler: logging.Handler
    try:
        handler = DescriptorHandler(sys.stderr.fileno())
    except (AttributeError, OSError):  # there is none, or only in name
        handler = logging.NullHandler()
    handler.setFormatter(JsonFormatter() if kind == "json" else TextFormatter())
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True
    )
    # One line a connection that says nothing about the session; failures still come through. Never
    # DEBUG: that is every header and every frame.
    logging.getLogger("websockets").setLevel(logging.INFO if verbose else logging.ERROR)
    # httpx logs whole addresses; a webhook's may hold a secret.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
