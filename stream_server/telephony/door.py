"""Who may bring calls in over telephony's paths, and how they speak.

Twilio and Genesys sign their handshakes. Where the operator has configured a key, only a signed
handshake is let in; where not, telephony needs a token like anybody else, in the handshake or in a
message.
"""

import base64
import binascii
import hmac
import time
from typing import Final
from urllib.parse import urlsplit

from websockets.http11 import Request

from emotion.errors import ConfigurationError
from stream_server.auth import Principal, Role, unauthorized
from stream_server.config import Config
from stream_server.dialect import Dialect
from stream_server.telephony import DIALECTS
from stream_server.telephony.audiohook import AudioHook
from stream_server.telephony.signature import FAILURE_DELAY_S, NonceCache, verify_audiohook
from stream_server.telephony.twilio import verify_twilio

TWILIO: Final = "/telephony/twilio"
AUDIOHOOK: Final = "/telephony/audiohook"


class Door:
    """Telephony's entrance.

    Args:
        config: the settings; secrets are read now.

    Raises:
        ConfigurationError: a secret cannot be used, or `public_url` is missing.
    """

    def __init__(self, config: Config) -> None:
        self._analyzable = config.analyzable
        self._nonces = NonceCache()
        self._expected = _credentials(config)
        self._take(config)

    def reload(self, config: Config) -> None:
        """Takes other secrets, for the handshakes to come; where one is no good, the old ones stay.

        Raises:
            ConfigurationError: as where it was made, or one is missing that there was, or the other
                way round: a path that somebody guarded must not be left open.
        """
        for name, expected in _credentials(config).items():
            if expected != self._expected[name]:
                raise ConfigurationError(
                    f"{name} was {'removed' if self._expected[name] else 'added'}: "
                    "whether telephony has to sign is decided at the start: restart"
                )
        self._take(config)

    def _take(self, config: Config) -> None:
        twilio, key = config.twilio.auth_token(), config.audiohook.api_key
        secret = _decoded(config.audiohook.client_secret())
        if twilio is not None and config.public_url is None:
            raise ConfigurationError(
                "public_url: expected the address that Twilio calls, since its signature covers that"
            )
        if secret is not None and key is None:
            raise ConfigurationError("audiohook.api_key: expected one beside client_secret_file")
        self._public_url, self._twilio = config.public_url, twilio
        self._key, self._secret = key, secret

    def signed(self, path: str) -> bool:
        """Whether handshakes at a path have to be signed."""
        return (path == TWILIO and self._twilio is not None) or (
            path == AUDIOHOOK and self._key is not None
        )

    def identify(self, path: str, request: Request) -> Principal:
        """Who signed a handshake.

        Args:
            path: one of those that `signed`, without the query.
            request: the handshake.

        Raises:
            MessageError: `unauthorized`; to be told no sooner than `delay_s` after the handshake.
        """
        if path == TWILIO and self._twilio is not None:
            signature = _single(request, "X-Twilio-Signature")
            verify_twilio(f"{self._public_url}{request.path}", signature, self._twilio)
            return Principal("twilio", frozenset({Role.PUBLISH}))
        assert self._key is not None
        if self._secret is None:
            found = _single(request, "X-API-KEY") or ""
            if not hmac.compare_digest(found.encode(errors="replace"), self._key.encode()):
                raise unauthorized()
        else:
            self._verify_audiohook(request, self._key, self._secret)
        return Principal("audiohook", frozenset({Role.PUBLISH}))

    def delay_s(self, path: str) -> float:
        """How long a refusal at a path waits."""
        return FAILURE_DELAY_S if path == AUDIOHOOK else 0.0

    def dialect(self, path: str, request: Request) -> Dialect:
        """How whoever comes to a path speaks."""
        if path == AUDIOHOOK:
            return AudioHook(
                self._analyzable,
                session_id=_single(request, "Audiohook-Session-Id"),
                organization_id=_single(request, "Audiohook-Organization-Id"),
            )
        return DIALECTS[path](self._analyzable)

    def _verify_audiohook(self, request: Request, key: str, secret: bytes) -> None:
        authority = _single(request, "Host") or ""
        if self._public_url is not None:  # behind a proxy, what the client wrote is not what came
            authority = urlsplit(self._public_url).netloc
        verify_audiohook(
            request.headers.raw_items(),
            method="GET",
            target=request.path,
            authority=authority,
            api_key=key,
            client_secret=secret,
            now=time.time(),
            nonces=self._nonces,
        )


def _credentials(config: Config) -> dict[str, bool]:
    """The settings that say how telephony has to sign, and whether each is there."""
    return {
        "twilio.auth_token_file": config.twilio.auth_token_file is not None,
        "audiohook.api_key": config.audiohook.api_key is not None,
        "audiohook.client_secret_file": config.audiohook.client_secret_file is not None,
    }


def _single(request: Request, name: str) -> str | None:
    """A header's value; None where it is missing or comes more than once."""
    values = request.headers.get_all(name)
    return values[0] if len(values) == 1 else None


def _decoded(secret: str | None) -> bytes | None:
    if secret is None:
        return None
    try:
        return base64.b64decode(secret, validate=True)
    except binascii.Error as error:
        raise ConfigurationError(
            "audiohook.client_secret_file: expected base64, as Genesys shows the secret"
        ) from error
