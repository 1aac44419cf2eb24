"""Foreign JSON, checked: what does not fit is refused with the field, what was expected and found."""

from typing import Any, Final, TypeVar

import msgspec

from emotion.errors import MessageError
from emotion.messages import MAX_CONTROL_BYTES

SHOWN: Final = 40  # characters of a stranger's text that an error repeats

T = TypeVar("T")


def json_object(message: str | bytes) -> dict[str, Any]:
    """The JSON object in a text frame.

    Raises:
        MessageError: a binary frame, a text that is too long, not JSON or not an object.
    """
    if isinstance(message, bytes):
        raise bad("a binary frame: expected JSON in text frames")
    if len(message) > MAX_CONTROL_BYTES:
        raise MessageError(
            "too_large",
            f"a text frame of {len(message)} characters: expected at most {MAX_CONTROL_BYTES}",
        )
    try:
        value = msgspec.json.decode(message)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise bad(f"a text frame that is not JSON ({error}): expected one object") from error
    if not isinstance(value, dict):
        raise bad(f"JSON {type(value).__name__}: expected an object")
    return value


def fields(value: object, kind: type[T], where: str) -> T:
    """What was said, typed; numbers may come as text, and unknown fields are left out.

    Args:
        value: decoded JSON.
        kind: a `msgspec.Struct`.
        where: names the object in errors.

    Raises:
        MessageError: a field is missing or is not what it should be. Its value is not repeated: it may
            be a secret.
    """
    try:
        return msgspec.convert(value, kind, strict=False)
    except (msgspec.ValidationError, UnicodeError) as error:
        reason, _, path = str(error).partition(" - at `$")
        expected = reason[:1].lower() + reason[1:].replace("`", "").replace(", got", ", found")
        raise bad(f"{where}{path.rstrip('`')[:SHOWN]}: {expected}") from error


def nested(value: dict[str, Any], name: str, where: str = "") -> dict[str, Any]:
    """The object that a field holds.

    Raises:
        MessageError: it is missing, or something else.
    """
    inner = value.get(name)
    if not isinstance(inner, dict):
        found = "nothing" if inner is None else type(inner).__name__
        raise bad(f"{where}{name}: expected an object, found {found}")
    return inner


def camel(value: dict[str, Any]) -> dict[str, Any]:
    """The same object with `snake_case` names as `camelCase`."""
    return {_camel(name): inner for name, inner in value.items()}


def shown(text: str) -> str:
    """A stranger's text, short enough for an error."""
    return repr(text[:SHOWN])


def bad(message: str) -> MessageError:
    """The error for a message that cannot be understood."""
    return MessageError("bad_message", message)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other[:1].upper() + other[1:] for other in others)
