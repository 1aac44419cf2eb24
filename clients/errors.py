"""What can go wrong in a client.

EmotionError
├── MicrophoneError (OSError)        no microphone, or one that is gone
└── StreamError (ConnectionError)   no stream, or one that ended early
    ├── UnreachableError            no connection; says whether trying again may help
    └── RefusedError                the server said why, with one of the protocol's codes
"""

from emotion.errors import EmotionError


class MicrophoneError(EmotionError, OSError):
    """A microphone that is not there, may not be used, or has gone while it was used."""


class StreamError(EmotionError, ConnectionError):
    """A stream that could not be opened, or that ended before its summary."""


class UnreachableError(StreamError):
    """A connection that could not be opened.

    Args:
        message: why, and what to do.
        status: of the HTTP answer, where there was one.
        passing: whether it may be over in a moment: a server that starts again, is full or cannot
            be reached just now, other than a wrong address, token or certificate.
    """

    def __init__(self, message: str, *, status: int | None = None, passing: bool) -> None:
        super().__init__(message)
        self.status = status
        self.passing = passing


class RefusedError(StreamError):
    """The server answered with an `error`.

    Args:
        code: one of the protocol's error codes.
        message: the server's.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"the server refused ({code}): {message}")
        self.code = code
