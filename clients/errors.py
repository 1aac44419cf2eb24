"""What can go wrong between a client and a server.

EmotionError
└── StreamError (ConnectionError)   no stream, or one that ended early
    └── RefusedError                the server said why, with one of the protocol's codes
"""

from emotion.errors import EmotionError


class StreamError(EmotionError, ConnectionError):
    """A stream that could not be opened, or that ended before its summary."""


class RefusedError(StreamError):
    """The server answered with an `error`.

    Args:
        code: one of the protocol's error codes.
        message: the server's.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"the server refused ({code}): {message}")
        self.code = code
