"""Addresses, credentials, certificates."""

import ssl
from pathlib import Path

import pytest

from clients.connect import STREAM_PATH, Access, connected
from clients.errors import UnreachableError
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
