"""The signature on AudioHook's handshake: HMAC-SHA256 over some of its headers.

    Signature-Input: sig1=("@request-target" "@authority" "x-api-key" ...);keyid="...";nonce="...";
        alg="hmac-sha256";created=1641013200;expires=1641013203
    Signature: sig1=:base64:

Every failure says the same, so that a stranger learns nothing from it; answer it no sooner than
`FAILURE_DELAY_S` after the handshake came, so that its time says nothing either.

Source: https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-message-signatures-11 and
https://developer.genesys.cloud/devapps/audiohook
"""

import base64
import binascii
import hmac
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from emotion.errors import MessageError

FAILURE_DELAY_S: Final = 0.5
REQUIRED: Final = (
    "@request-target",
    "@authority",
    "audiohook-organization-id",
    "audiohook-session-id",
    "audiohook-correlation-id",
    "x-api-key",
)
"""What a signature has to cover."""
MAX_AGE_S: Final = 10.0
"""Since a signature was made."""
MAX_SKEW_S: Final = 3.0
"""By which the signer's clock may be ahead."""
MIN_NONCE: Final = 22
"""Characters in a nonce: 128 bits in base64."""
MAX_NONCES: Final = 65_536
"""Nonces that are remembered, those of 13 s; beyond, handshakes are refused until some are too old."""
MAX_FIELD: Final = 4096
"""Characters in a signature header."""

_STRING: Final = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
_KEY: Final = r"[a-z*][a-z0-9_.*-]*"
_PARAMETER: Final = re.compile(rf"; *({_KEY})=({_STRING}|-?\d{{1,15}})", re.ASCII)
_COMPONENTS: Final = re.compile(rf"({_KEY})=\( *((?:{_STRING} *)*)\)", re.ASCII)
_SIGNATURE: Final = re.compile(rf"({_KEY})=:([A-Za-z0-9+/=]*):", re.ASCII)
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")


class NonceCache:
    """Nonces of late, so that a handshake that was overheard cannot be sent again.

    Args:
        capacity: how many are remembered.
    """

    def __init__(self, capacity: int = MAX_NONCES) -> None:
        self._capacity = capacity
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def add(self, nonce: str, now: float) -> bool:
        """Remembers a nonce; False where it is known already, or nothing more can be remembered."""
        while self._until and next(iter(self._until.values())) < now:
            self._until.popitem(last=False)
        if nonce in self._until or len(self._until) >= self._capacity:
            return False
        self._until[nonce] = now + MAX_AGE_S + MAX_SKEW_S
        return True


@dataclass(frozen=True)
class _Input:
    """One member of `Signature-Input`."""

    components: tuple[str, ...]
    parameters: Mapping[str, str | int]

    def __str__(self) -> str:
        names = " ".join(map(_quoted, self.components))
        return f"({names})" + "".join(
            f";{key}={_quoted(value) if isinstance(value, str) else value}"
            for key, value in self.parameters.items()
        )


def verify_audiohook(
    headers: Iterable[tuple[str, str]],
    *,
    method: str,
    target: str,
    authority: str,
    api_key: str,
    client_secret: bytes,
    now: float,
    nonces: NonceCache,
) -> None:
    """Checks that a handshake comes from who knows the secret, now and for the first time.

    Args:
        headers: names and values as they came; a name may come several times.
        method: `GET`.
        target: path and query as the client wrote them.
        authority: host and port as the client wrote them, usually the header `Host`.
        api_key: what `x-api-key` and `keyid` have to be.
        client_secret: the key, no longer in base64.
        now: seconds since 1970.
        nonces: of this server's handshakes.

    Raises:
        MessageError: `unauthorized`.
    """
    values = _joined(headers)
    derived = {
        "@method": method,
        "@request-target": target,
        "@authority": authority.lower().removesuffix(":443"),
        "@path": urlsplit(target).path or "/",
        "@query": "?" + urlsplit(target).query,
    }
    label, signed = _chosen(values, api_key)
    base = _base(signed, derived, values)
    expected = hmac.digest(client_secret, base.encode(errors="replace"), "sha256")
    good = hmac.compare_digest(expected, _signature(values, label))
    known = _same(values.get("x-api-key"), api_key)
    nonce = signed.parameters.get("nonce")
    if not (good and known and _timely(signed, now)):
        raise _refused()
    # Only now: a stranger cannot fill the memory, nor use up the nonce of somebody else.
    if not isinstance(nonce, str) or len(nonce) < MIN_NONCE or not nonces.add(nonce, now):
        raise _refused()


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name in lower case; those that came several times as one list."""
    values: dict[str, str] = {}
    for name, value in headers:
        name, value = name.lower(), value.strip(" \t")
        values[name] = f"{values[name]}, {value}" if name in values else value
    return values


def _chosen(values: Mapping[str, str], api_key: str) -> tuple[str, _Input]:
    """The first signature that is made with this key and covers all it has to."""
    # All of it first: a field is good or it is not.
    for label, signed in tuple(_inputs(values.get("signature-input", ""))):
        if (
            _same(signed.parameters.get("keyid"), api_key)
            and signed.parameters.get("alg", "hmac-sha256") == "hmac-sha256"
            and set(REQUIRED) <= set(signed.components)
            and len(set(signed.components)) == len(signed.components)
        ):
            return label, signed
    raise _refused()


def _inputs(field: str) -> Iterable[tuple[str, _Input]]:
    """The members of `Signature-Input`."""
    position = 0
    while position < len(field) <= MAX_FIELD:
        found = _COMPONENTS.match(field, position)
        if found is None:
            raise _refused()
        components = tuple(_unquoted(text) for text in re.findall(_STRING, found[2]))
        position = found.end()
        parameters: dict[str, str | int] = {}
        while (parameter := _PARAMETER.match(field, position)) is not None:
            key, value = parameter.groups()
            if key not in ("alg", "created", "expires", "keyid", "nonce") or key in parameters:
                raise _refused()
            parameters[key] = _unquoted(value) if value[0] == '"' else int(value)
            position = parameter.end()
        yield found[1], _Input(components, parameters)
        if position < len(field):
            comma = _COMMA.match(field, position)
            if comma is None or comma.end() == len(field):
                raise _refused()
            position = comma.end()


def _base(signed: _Input, derived: Mapping[str, str], values: Mapping[str, str]) -> str:
    """What was signed."""
    lines = []
    for name in signed.components:
        value = derived.get(name) if name.startswith("@") else values.get(name)
        if value is None or name == "signature":
            raise _refused()
        lines.append(f"{_quoted(name)}: {value}")
    return "\n".join([*lines, f'"@signature-params": {signed}'])


def _signature(values: Mapping[str, str], label: str) -> bytes:
    """The member of `Signature` with this label."""
    field = values.get("signature", "")
    for member in _COMMA.split(field) if len(field) <= MAX_FIELD else ():
        found = _SIGNATURE.fullmatch(member)
        if found is not None and found[1] == label:
            try:
                return base64.b64decode(found[2], validate=True)
            except (binascii.Error, ValueError) as error:
                raise _refused() from error
    raise _refused()


def _timely(signed: _Input, now: float) -> bool:
    created, expires = signed.parameters.get("created"), signed.parameters.get("expires", now)
    if not isinstance(created, int) or isinstance(expires, str):
        return False
    return created - MAX_SKEW_S <= now <= created + MAX_AGE_S and now <= expires


def _same(found: object, expected: str) -> bool:
    """In a time that says nothing about the one that is expected."""
    text = found if isinstance(found, str) else ""
    return hmac.compare_digest(text.encode(errors="replace"), expected.encode())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _refused() -> MessageError:
    return MessageError("unauthorized", "the handshake's signature is missing or does not fit")
