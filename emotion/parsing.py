"""What a client says, checked.

Unknown types and unknown fields are refused with the nearest known name, and so are values outside their
range; nothing is clamped.
"""

import difflib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from emotion.errors import ErrorCode, MessageError
from emotion.messages import (
    MAX_CONTROL_BYTES,
    MAX_METADATA_BYTES,
    MAX_NESTING,
    ClientSays,
    Flush,
    Gap,
    Keepalive,
    Start,
    Stop,
)

_CLIENT_MESSAGES: Final[dict[str, type[ClientSays]]] = {
    "start": Start,
    "flush": Flush,
    "keepalive": Keepalive,
    "gap": Gap,
    "stop": Stop,
}


def parse(text: str) -> ClientSays:
    """What a client said.

    Raises:
        MessageError: `bad_message`, or `unsupported` for an encoding this server does not know.
    """
    fields = _object(text)
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise _bad(f"no type: expected a text, one of {_listed(_CLIENT_MESSAGES)}")
    if kind not in _CLIENT_MESSAGES:
        raise _bad(f"unknown type {kind[:64]!r}{nearest(kind, list(_CLIENT_MESSAGES))}")
    return _converted(kind, fields)


def start_from(**fields: Any) -> Start:
    """A checked `start` from its fields, for callers that have no JSON.

    Args:
        fields: as in `Start`, in the types that JSON has.

    Raises:
        MessageError: as `parse`.
    """
    message = _converted("start", {"type": "start", **fields})
    assert isinstance(message, Start)
    return message


def _converted(kind: str, fields: dict[str, Any]) -> ClientSays:
    if _deeper(fields, MAX_NESTING):
        raise _bad(f"{kind}: nested deeper than {MAX_NESTING} levels")
    message_type = _CLIENT_MESSAGES[kind]
    known = [field.name for field in msgspec.structs.fields(message_type)]
    for name in fields:
        if name != "type" and name not in known:
            raise _bad(f"{kind}: unknown field {name[:64]!r}{nearest(name, known)}")
    try:
        message = msgspec.convert(fields, message_type)
    except msgspec.ValidationError as error:
        raise _refused(kind, fields, str(error)) from error
    if isinstance(message, Start):
        _check_start(message)
    return message


def _check_start(start: Start) -> None:
    """What the types of `start` alone do not say.

    Raises:
        MessageError: `bad_message`.
    """
    if start.hop_s > start.window_s:
        raise _bad(
            f"start: hop_s is {start.hop_s}: expected 0.25 to window_s, which is {start.window_s}"
        )
    if len(set(start.channels)) != len(start.channels):
        raise _bad(f"start: channels {list(start.channels)}: expected distinct names")
    for name in start.analyzed:
        if name not in start.channels:
            raise _bad(
                f"start: analyze names {name!r}: expected some of channels, {list(start.channels)}"
            )
    if len(set(start.analyzed)) != len(start.analyzed):
        raise _bad(f"start: analyze {list(start.analyzed)}: expected distinct names")
    try:
        size = len(msgspec.json.encode(start.metadata))
        msgspec.json.encode(start)
    except (TypeError, ValueError, OverflowError) as error:  # only where it did not come as JSON
        raise _bad(f"start: it cannot be written as JSON ({error})") from error
    if size > MAX_METADATA_BYTES:
        raise _bad(f"start: metadata is {size} bytes: expected at most {MAX_METADATA_BYTES}")


def _object(text: str) -> dict[str, Any]:
    if len(text) > MAX_CONTROL_BYTES:
        raise MessageError(
            "too_large",
            f"a text frame of {len(text)} characters: expected at most {MAX_CONTROL_BYTES}; "
            "audio goes into binary frames",
        )
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise _bad(f"a text frame that is not JSON ({error}): expected one object") from error
    if not isinstance(fields, dict):
        raise _bad(f"JSON {type(fields).__name__}: expected an object with a 'type'")
    return fields


def _refused(kind: str, fields: dict[str, Any], reason: str) -> MessageError:
    """msgspec's reason ("Expected `int` >= 8000 - at `$.sample_rate`") with what was found."""
    expected, _, where = reason.partition(" - at `$.")
    name = where.rstrip("`").split("[")[0].split(".")[0]
    found = f", found {_shown(fields.get(name))}" if name in fields else ""
    code: ErrorCode = "unsupported" if kind == "start" and name == "encoding" else "bad_message"
    if code == "unsupported":
        expected = "expected one of pcm_s16le, pcm_f32le, mulaw, alaw"
    field = f" {name}:" if name else ""
    return MessageError(code, f"{kind}:{field} {expected}{found}")


def _bad(message: str) -> MessageError:
    return MessageError("bad_message", message)


def _shown(value: object) -> str:
    """A value as JSON, short enough for an error."""
    return msgspec.json.encode(value, enc_hook=repr).decode(errors="replace")[:80]


def _deeper(value: object, levels: int) -> bool:
    """Whether arrays and objects are nested deeper than so many levels."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(item, levels - 1) for item in inner)


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of an error about an unknown name: the known one that was probably meant, or all."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known are {_listed(known)}"


def _listed(names: Sequence[str] | dict[str, Any]) -> str:
    return ", ".join(names) if names else "none"
