"""Addresses, credentials, certificates."""

import datetime
import socket
import ssl
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from clients.connect import STREAM_PATH, Access, connected
from clients.errors import UnreachableError
from clients.options import websocket_url
from emotion.errors import ConfigurationError


@pytest.mark.parametrize("base", ["ws://h:1", "ws://h:1/", "ws://h:1/v1/stream"])
def test_the_path_is_appended_once(base: str) -> None:
    assert Access(base).address(STREAM_PATH) == "ws://h:1/v1/stream"
    assert Access("wss://[::1]").address(STREAM_PATH) == "wss://[::1]/v1/stream"


@pytest.mark.parametrize(
    "url", ["", "h:1", "http://h", "ws://", "ws://h:x", "ws://h/other", "ws://h?token=a", "ws://["]
)
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="expected ws://HOST:PORT"):
        Access(url).address(STREAM_PATH)


def test_the_command_line_takes_the_address_of_the_page_too() -> None:
    for given, meant in {
        "http://h:1": "ws://h:1",
        "HTTPS://h": "wss://h",
        "wss://h": "wss://h",
        "h:1": "h:1",
        "ftp://h": "ftp://h",
    }.items():
        assert websocket_url(given) == meant


@pytest.mark.parametrize("content", [None, b"", b"no certificates"])
def test_a_file_without_certificates_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"ca\.pem: cannot be read .*PEM"):
        Access("wss://h", ca=tmp_path / "ca.pem").tls()


def test_certificates_without_tls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected wss://"):
        Access("ws://h", ca=tmp_path).tls()


def test_tls_checks_the_servers_name() -> None:
    context = Access("wss://h").tls()
    assert context is not None and context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


async def test_nobody_there_may_be_over_in_a_moment(unused_tcp_port: int) -> None:
    with pytest.raises(UnreachableError, match="nothing listens there") as caught:
        async with connected(Access(f"ws://127.0.0.1:{unused_tcp_port}"), STREAM_PATH):
            pass
    assert caught.value.passing and caught.value.status is None


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography makes the certificate")
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    chain_file, key_file = folder / "chain.pem", folder / "key.pem"
    chain_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key_file.write_bytes(plain)
    return chain_file, key_file


async def test_a_certificate_is_trusted_where_its_issuer_is_named(tmp_path: Path) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("hello")

    chain, key = write_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    async with serve(handler, "127.0.0.1", 0, ssl=context) as listener:
        url = f"wss://localhost:{next(iter(listener.sockets)).getsockname()[1]}"
        async with connected(
            Access(url, ca=chain), STREAM_PATH, family=socket.AF_INET
        ) as connection:
            assert await connection.recv() == "hello"
        with pytest.raises(UnreachableError, match=r"not trusted .*--ca") as caught:
            async with connected(Access(url), STREAM_PATH, family=socket.AF_INET):
                pass
        assert not caught.value.passing
