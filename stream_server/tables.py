"""The tables of the settings' file: whom the server believes, whom it tells, and the files that hold
its secrets. Alerts' rules are `emotion.alerts.Rule`.
"""

import ipaddress
import logging
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from emotion.errors import ConfigurationError

MIN_SECRET_BYTES: Final = 32  # of an HS256 key: RFC 7518, section 3.2
MAX_SECRET_BYTES: Final = 1 << 16

RoleName = Literal["publish", "monitor"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Token:
    """A bearer token, known by its hash only.

    Tokens are made by `--new-token`, 256 random bits each: nothing can guess one, so the hash need
    not be slow, and SHA-256 is enough.

    Attributes:
        name: what logs, limits and sessions know its holder by.
        sha256: of the token's UTF-8 bytes, in hexadecimal.
        roles: what it is good for.
        streams: glob over the stream ids it is good for.
        max_sessions: sessions at once; None for no limit of its own.
    """

    name: str
    sha256: str
    roles: tuple[RoleName, ...]
    streams: str = "*"
    max_sessions: int | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: a value cannot be used; names it.
        """
        if not self.name or self.name.startswith("jwt:"):
            raise ConfigurationError(f"name is {self.name!r}: expected a text not led by 'jwt:'")
        if not re.fullmatch("[0-9a-fA-F]{64}", self.sha256):
            raise ConfigurationError(
                "sha256: expected 64 hexadecimal digits; --new-token NAME prints a whole table"
            )
        if not self.roles:
            raise ConfigurationError("roles: expected at least one of publish, monitor")
        if self.max_sessions is not None and self.max_sessions < 1:
            raise ConfigurationError(f"max_sessions is {self.max_sessions}: expected at least 1")


@dataclass(frozen=True, kw_only=True)
class Jwt:
    """Whose JSON Web Tokens are believed; the key's file says by which algorithm.

    Attributes:
        secret_file: with the shared secret of HS256, at least 32 bytes.
        public_key_file: with the RSA public key of RS256, in PEM.
        audience: that `aud` must name; a token that has an `aud` is refused where this is None.
        issuer: that `iss` must be.
    """

    secret_file: Path | None = None
    public_key_file: Path | None = None
    audience: str | None = None
    issuer: str | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: not exactly one key.
        """
        if (self.secret_file is None) == (self.public_key_file is None):
            raise ConfigurationError(
                "expected either secret_file (HS256) or public_key_file (RS256), not both"
            )


@dataclass(frozen=True, kw_only=True)
class Twilio:
    """Attributes: auth_token_file: with the account's auth token; None leaves calls unsigned."""

    auth_token_file: Path | None = None

    def auth_token(self) -> str | None:
        """The auth token, read now."""
        return read_secret(self.auth_token_file, "twilio.auth_token_file")


@dataclass(frozen=True, kw_only=True)
class Audiohook:
    """Genesys AudioHook's credentials.

    Attributes:
        api_key: what `x-api-key` must be; None where it is not checked.
        client_secret_file: with the client secret as Genesys shows it (base64); None leaves calls
            unsigned.
    """

    api_key: str | None = None
    client_secret_file: Path | None = None

    def client_secret(self) -> str | None:
        """The client secret, read now."""
        return read_secret(self.client_secret_file, "audiohook.client_secret_file")


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Where alerts are sent, and how patiently. The secret is as Standard Webhooks has it.

    Attributes:
        url: to which each alert is posted; redirects are not followed.
        secret_file: with `whsec_` and 24 to 64 random bytes in base64; while it is changed, with the
            new one and the old one in two lines: both sign.
        insecure: whether `http://` may leave this machine.
        timeout_s: for one attempt.
        max_attempts: of a delivery, in all.
        max_age_s: after which an alert is old news, and no longer tried.
        max_queued: deliveries that may wait; the oldest is dropped beyond.
    """

    url: str
    secret_file: Path
    insecure: bool = False
    timeout_s: float = 15.0
    max_attempts: int = 10
    max_age_s: float = 3600.0
    max_queued: int = 1000

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: a value cannot be used; names it.
        """
        for name, low, high in (
            ("timeout_s", 0.1, 60),
            ("max_attempts", 1, 100),
            ("max_age_s", 1, 86_400),
            ("max_queued", 1, 100_000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigurationError(f"{name} is {value:g}: expected {low:g} to {high:g}")
        self._check_url()

    def _check_url(self) -> None:
        """No message shows the address: some receivers have a secret in it."""
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # of a port, or brackets, that are none
            usable = False
        if not usable:
            raise ConfigurationError("url: expected an address such as https://example.com/alerts")
        if not self.url.isprintable() or " " in self.url or parts.fragment:
            raise ConfigurationError("url: expected no spaces, no control characters and no #part")
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError(
                "url: expected no user and no password in it: the receiver knows this server by "
                "the signature"
            )
        if parts.scheme == "http" and not (self.insecure or self.local):
            raise ConfigurationError(
                "url: http:// would send alerts in the clear beyond this machine; take https://, "
                "or say insecure = true in this table"
            )

    @property
    def where(self) -> str:
        """The address for the log: without what may be secret in it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}"

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")

    def secrets(self) -> str:
        """The secrets, one a line, read now."""
        return read_secret(self.secret_file, "webhook.secret_file") or ""


def read_secret(path: Path | None, name: str) -> str | None:
    """The text of a secret's file without the line's end; None where no file is configured.

    Raises:
        ConfigurationError: it cannot be read, or is empty; names the setting and the file.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        text = content.decode().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigurationError(f"{name}: {path}: cannot be read ({reason})") from error
    if not text or len(content) > MAX_SECRET_BYTES:
        raise ConfigurationError(
            f"{name}: {path}: expected a secret of 1 to {MAX_SECRET_BYTES} bytes"
        )
    if mode & 0o077 and os.name != "nt":  # Windows keeps its permissions elsewhere
        log.warning("%s: %s may be read by others (mode %o): chmod 600", name, path, mode)
    return text


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
