"""TLS: serving it, renewing it, and garbage at its door."""

import asyncio
import contextlib
import datetime
import ssl
from pathlib import Path
from urllib.parse import urlparse

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from emotion.engine import Engine
from emotion.errors import ConfigurationError
from stream_server.config import Config
from stream_server.server import running
from stream_server.tls import Certificate
from tests.stream_server.client import converse, of_type


def write_certificate(folder: Path, name: str, password: bytes | None = None) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    chain_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    chain_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return chain_file, key_file


def trusting(*chains: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for chain in chains:
        context.load_verify_locations(chain)
    return context


async def shown(url: str, trust: ssl.SSLContext) -> str:
    """The name in the certificate that a server shows."""
    port = urlparse(url).port
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=trust, server_hostname="localhost"
    )
    certificate = writer.get_extra_info("peercert")
    writer.close()
    await writer.wait_closed()
    return str(dict(pair[0] for pair in certificate["subject"])["commonName"])


async def test_a_stream_over_tls(engine: Engine, tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path, "one")
    async with running(Config(port=0, tls_cert=chain, tls_key=key), engine) as server:
        assert server.url.startswith("wss://127.0.0.1:")
        messages, code = await converse(
            server.url, {"vad": False}, [b"\1\0" * 16_000],
            ssl=trusting(chain), server_hostname="localhost",
        )  # fmt: skip
    assert len(of_type(messages, "emotion")) == 1 and code == 1000


async def test_a_renewed_certificate_is_shown_and_a_bad_one_is_not(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain, key = write_certificate(tmp_path, "one")
    renewed_chain, renewed_key = write_certificate(tmp_path, "two")
    trust = trusting(chain, renewed_chain)
    config = Config(port=0, tls_cert=chain, tls_key=key)
    async with running(config, engine) as server:
        assert await shown(server.url, trust) == "one"
        chain.write_bytes(renewed_chain.read_bytes())  # its key is not there yet
        server.reload(config)
        assert await shown(server.url, trust) == "one" and "the old one stays" in caplog.text
        key.write_bytes(b"")
        server.reload(config)
        assert await shown(server.url, trust) == "one"
        key.write_bytes(renewed_key.read_bytes())
        server.reload(config)
        assert await shown(server.url, trust) == "two"


async def test_there_is_nothing_to_renew_without_tls(engine: Engine) -> None:
    async with running(Config(port=0), engine) as server:
        server.reload(Config())
        assert server.url.startswith("ws://")


async def test_garbage_in_place_of_tls_is_cut_off_without_a_word(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain, key = write_certificate(tmp_path, "one")
    async with running(Config(port=0, tls_cert=chain, tls_key=key), engine) as server:
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 20, b"\x16\x03\x01\xff\xff"):
            reader, writer = await asyncio.open_connection("127.0.0.1", urlparse(server.url).port)
            writer.write(garbage)
            writer.write_eof()
            try:
                await asyncio.wait_for(reader.read(), 20)
            except ConnectionError:
                pass
            writer.close()
        assert await shown(server.url, trusting(chain)) == "one"
    assert not [line for line in caplog.records if line.levelname in ("ERROR", "CRITICAL")]


async def test_a_connection_too_many_is_cut_off_over_tls_too(
    engine: Engine, tmp_path: Path
) -> None:
    chain, key = write_certificate(tmp_path, "one")
    config = Config(port=0, max_connections=1, tls_cert=chain, tls_key=key)
    async with running(config, engine) as server:
        port, trust = urlparse(server.url).port, trusting(chain)
        _, held = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trust, server_hostname="localhost"
        )
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trust, server_hostname="localhost"
        )
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert await asyncio.wait_for(reader.read(), 20) == b""
        for one in (writer, held):
            one.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await one.wait_closed()
        await asyncio.sleep(0.1)
        assert await shown(server.url, trust) == "one"


async def test_old_tls_is_refused(engine: Engine, tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path, "one")
    assert Certificate(chain, key).context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("spoilt", ["chain", "key", "both", "swapped", "encrypted", "missing"])
def test_files_that_cannot_be_used_are_named(tmp_path: Path, spoilt: str) -> None:
    chain, key = write_certificate(tmp_path, "one", b"hush" if spoilt == "encrypted" else None)
    if spoilt in ("chain", "both"):
        chain.write_bytes(b"x")
    if spoilt in ("key", "both"):
        key.write_bytes(write_certificate(tmp_path, "two")[1].read_bytes())
    if spoilt == "swapped":
        chain, key = key, chain
    if spoilt == "missing":
        key.unlink()
    with pytest.raises(ConfigurationError, match=r"one\.key"):
        Certificate(chain, key)
