"""TLS: a certificate that can be renewed while the server runs."""

import logging
import ssl
from pathlib import Path

from emotion.errors import ConfigurationError

log = logging.getLogger(__name__)


class Certificate:
    """What the server shows who it is with.

    Args:
        chain: PEM file with the certificate and those between it and a known authority.
        key: PEM file with its private key, unencrypted.

    Raises:
        ConfigurationError: they cannot be used; names the file.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain = chain
        self._key = key
        self.context = self._fresh()

    def reload(self) -> None:
        """Reads both files again for the connections to come; where they are no good, the old stay."""
        try:
            self._fresh()  # a key that does not fit would leave a live context with half of each
            self.context.load_cert_chain(self._chain, self._key, _no_password)
        except (ConfigurationError, OSError) as error:
            log.error("the certificate was not renewed, the old one stays: %s", error)
        else:
            log.info("the certificate was read again from %s", self._chain)

    def _fresh(self) -> ssl.SSLContext:
        for path in (self._chain, self._key):
            try:
                path.open("rb").close()  # ssl does not say which of the two is not there
            except OSError as error:
                raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # it costs the server more than the client
        try:
            context.load_cert_chain(self._chain, self._key, _no_password)
        except (ssl.SSLError, ValueError, TypeError) as error:
            reason = getattr(error, "reason", None) or error
            raise ConfigurationError(
                f"{self._chain} and {self._key}: expected a certificate chain and its key, "
                f"unencrypted, in PEM ({reason})"
            ) from error
        return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # otherwise OpenSSL asks at the terminal, and waits
