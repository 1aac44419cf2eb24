"""Every error this project raises on purpose.

    EmotionError
    ├── AudioError (ValueError)          samples or files that cannot be heard
    ├── MessageError (ValueError)        a protocol message that cannot be obeyed; has `code`
    ├── ModelError                       a model that cannot be used
    │   ├── ModelNotFoundError (FileNotFoundError)
    │   ├── ContractError (ValueError)   metadata that is missing or does not fit
    │   └── DeviceError (RuntimeError)   a device that is missing or cannot run the model
    ├── ConfigurationError (ValueError)  a setting, recipe or command-line value out of range
    └── CorpusError (ValueError)         recordings that cannot be trained on

Each message names what was wrong, what was expected and, where there is something to do, what to do.
"""

from typing import Literal

ErrorCode = Literal[
    "bad_message",
    "bad_audio",
    "unsupported",
    "unauthorized",
    "unknown_session",
    "too_large",
    "at_capacity",
    "idle",
    "internal",
]
"""The protocol's error codes."""


class EmotionError(Exception):
    """Root of all errors that a user or a client can cause."""


class AudioError(EmotionError, ValueError):
    """Samples, bytes or a file that cannot be decoded as declared."""


class MessageError(EmotionError, ValueError):
    """A protocol message that cannot be obeyed.

    Args:
        code: one of the protocol's error codes, such as `bad_message` or `unsupported`.
        message: what was wrong, what was expected, what to do.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ModelError(EmotionError):
    """A model that cannot be used."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """A model folder or file that is not there."""


class ContractError(ModelError, ValueError):
    """A model's metadata is missing or does not fit.

    Args:
        field: the name of the contract's field.
        expected: what was expected of it.
        found: what was found instead.
        source: the file that carries it, when known.
    """

    def __init__(self, field: str, expected: str, found: str, source: str = "") -> None:
        where = f"{source}: " if source else ""
        super().__init__(
            f"{where}contract field '{field}': expected {expected}, found {found}; "
            "export the model again with emotion-export"
        )
        self.field, self.expected, self.found, self.source = field, expected, found, source


class DeviceError(ModelError, RuntimeError):
    """A device that is not there or cannot run the model."""


class ConfigurationError(EmotionError, ValueError):
    """A setting, a recipe or a command-line value that cannot be used."""


class CorpusError(EmotionError, ValueError):
    """Recordings that cannot be trained on or evaluated."""
