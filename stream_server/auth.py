"""Who a client is, and what it may do.

A credential is a token whose hash the operator has configured, or a JSON Web Token signed with a key of
theirs. Whoever has none, or a wrong, an expired or an insufficient one, is told the same words:
a refusal says nothing about why.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from websockets.http11 import Request

from emotion.errors import ConfigurationError, MessageError
from emotion.package import install_line
from stream_server.config import Config
from stream_server.tables import MIN_SECRET_BYTES, Jwt, read_secret

MAX_TOKEN_CHARS: Final = 8192
"""Of a credential. A header's line cannot be longer; a message of telephony could."""
MAX_QUERY_FIELDS: Final = 32
CLOCK_SKEW_S: Final = 30.0  # between whoever signs a JSON Web Token and this machine
MIN_RSA_BITS: Final = 2048  # RFC 7518, section 3.3

log = logging.getLogger(__name__)


class Role(StrEnum):
    """What a credential is good for."""

    PUBLISH = "publish"
    MONITOR = "monitor"


def unauthorized() -> MessageError:
    """The refusal, the same whatever its reason."""
    return MessageError(
        "unauthorized", "not authorized: expected a valid token that permits this; ask the operator"
    )


@dataclass(frozen=True)
class Principal:
    """Who a client is.

    Attributes:
        name: of the token; `jwt:` and its subject for a JSON Web Token.
        roles: what it may do.
        streams: glob over the stream ids it may do it to.
        max_sessions: sessions at once; None for no limit of its own.
    """

    name: str
    roles: frozenset[Role]
    streams: str = "*"
    max_sessions: int | None = None

    def may(self, role: Role, stream_id: str | None = None) -> bool:
        """Whether it has a role, and, where a stream is named, for that stream."""
        return role in self.roles and (stream_id is None or fnmatchcase(stream_id, self.streams))

    def require(self, role: Role, stream_id: str | None = None) -> None:
        """
        Raises:
            MessageError: `unauthorized`, where it may not.
        """
        if not self.may(role, stream_id):
            raise unauthorized()


ANONYMOUS: Final = Principal("anonymous", frozenset(Role))
"""Everybody, where no tokens are configured."""


class Authenticator:
    """Tells who sent a request.

    Args:
        config: with the tokens and the keys, whose files are read now.

    Raises:
        ConfigurationError: a key cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self.required = config.guarded
        self._take(config)

    def reload(self, config: Config) -> None:
        """Takes other tokens and keys, for the connections to come.

        Raises:
            ConfigurationError: they cannot be used, or there are none where there were some, or the
                other way round; the old ones stay.
        """
        if config.guarded != self.required:
            raise ConfigurationError("whether tokens are needed is decided at the start: restart")
        self._take(config)

    def _take(self, config: Config) -> None:
        claims = None if config.jwt is None else _verifier(config.jwt)  # it may raise
        self._claims = claims
        self._tokens = [
            (
                bytes.fromhex(token.sha256),
                Principal(
                    token.name,
                    frozenset(map(Role, token.roles)),
                    token.streams,
                    token.max_sessions,
                ),
            )
            for token in config.tokens
        ]

    def of_request(self, request: Request) -> Principal:
        """Who sent a handshake or a plain request.

        Raises:
            MessageError: `unauthorized`.
        """
        if not self.required:
            return ANONYMOUS
        found = credentials(request)
        if len(found) != 1:
            raise unauthorized()
        return self.of_token(found.pop())

    def of_token(self, token: str) -> Principal:
        """Whose a token is; for telephony, where it comes in a message.

        Raises:
            MessageError: `unauthorized`.
        """
        if not self.required:
            return ANONYMOUS
        if not token or len(token) > MAX_TOKEN_CHARS:
            raise unauthorized()
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        # Every one is compared, whichever fits, so that the time taken tells nothing.
        fitting = [who for known, who in self._tokens if hmac.compare_digest(known, digest)]
        if fitting:
            return fitting[0]
        return self._of_jwt(token)

    def _of_jwt(self, token: str) -> Principal:
        if self._claims is None:
            raise unauthorized()
        try:
            return _principal(self._claims(token))
        except Exception as error:
            # Whatever a stranger's token breaks, on the way through a library, it is refused. The
            # error's text may quote the token.
            log.debug("a JSON Web Token was refused: %s", type(error).__name__)
            raise unauthorized() from None


def credentials(request: Request) -> set[str]:
    """The different tokens of a request; an empty text among them where one cannot be read.

    They come as `Authorization: Bearer T`, as the subprotocol `bearer.T` (T in base64url without
    padding) or as `?token=T`. Other schemes of `Authorization` belong to proxies in between.
    """
    found = set()
    for value in request.headers.get_all("Authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            found.add(token.strip())
    for value in request.headers.get_all("Sec-WebSocket-Protocol"):
        for offered in value.split(","):
            kind, dot, text = offered.strip().partition(".")
            if dot and kind.lower() == "bearer":
                found.add(_base64url(text))
    try:
        query = parse_qsl(
            urlsplit(request.path).query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS
        )
    except ValueError:
        return {"", *found}
    return found | {value for name, value in query if name == "token"}


def _base64url(text: str) -> str:
    """The decoded text; empty where it is none."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):  # the decoder would skip over anything else
        return ""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


# --- JSON Web Tokens ---


class _Claims(msgspec.Struct):
    """What a JSON Web Token says of its holder; roles that are not ours are somebody else's."""

    sub: str
    roles: list[str] = []
    streams: str = "*"


def _principal(claims: dict[str, Any]) -> Principal:
    said = msgspec.convert(claims, _Claims)
    if not said.sub:
        raise unauthorized()
    roles = frozenset(role for role in Role if role in said.roles)
    return Principal(f"jwt:{said.sub}", roles, said.streams)


def _verifier(config: Jwt) -> Callable[[str], dict[str, Any]]:
    """What checks a JSON Web Token and gives its claims; it raises where the token is no good.

    The algorithm is the configured key's. What the token says of its algorithm is never believed
    (RFC 8725, section 3.1).

    Raises:
        ConfigurationError: the key cannot be used, or the package is missing.
    """
    try:
        import jwt

        key, algorithm = _key(config)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"jwt: {error.name} is not installed; {install_line('jwt')} brings it"
        ) from error

    def claims(token: str) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=config.audience,
            issuer=config.issuer,
            leeway=CLOCK_SKEW_S,
            options={"require": ["exp", "sub"]},
        )

    return claims


def _key(config: Jwt) -> tuple[Any, str]:
    """The key and its algorithm."""
    secret = read_secret(config.secret_file, "jwt.secret_file")
    if secret is not None:
        if len(secret.encode()) < MIN_SECRET_BYTES or secret.startswith("-----BEGIN"):
            raise ConfigurationError(
                f"jwt.secret_file: {config.secret_file}: expected a random secret of at least "
                f"{MIN_SECRET_BYTES} bytes"
            )
        return secret, "HS256"
    return _rsa_key(config), "RS256"


def _rsa_key(config: Jwt) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    assert config.public_key_file is not None
    where = f"jwt.public_key_file: {config.public_key_file}"
    try:
        key = load_pem_public_key(config.public_key_file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{where}: cannot be read ({error.strerror})") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{where}: expected an RSA public key in PEM") from error
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_RSA_BITS:
        raise ConfigurationError(f"{where}: expected RSA of at least {MIN_RSA_BITS} bits")
    return key
