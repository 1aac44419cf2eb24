"""Which pages may connect."""

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from stream_server.origins import Origins


def request(host: str | None, *origins: str) -> Request:
    hosts = [] if host is None else [("Host", host)]
    return Request("/", Headers([*hosts, *(("Origin", origin) for origin in origins)]))


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://calls.example:8765", "calls.example:8765", True),
        ("https://calls.example", "calls.example", True),
        ("https://calls.example:443", "calls.example", True),
        ("http://CALLS.example", "calls.example:80", True),
        ("http://[::1]:8765", "[::1]:8765", True),
        ("http://calls.example:3000", "calls.example:8765", False),
        ("http://evil.example", "calls.example", False),
        ("http://calls.example.evil", "calls.example", False),
        ("http://calls.example@evil", "calls.example", False),
        ("null", "calls.example", False),
        ("", "calls.example", False),
        ("file://", "calls.example", False),
        ("ftp://calls.example", "calls.example", False),
        ("http://calls.example:x", "calls.example", False),
        ("http://calls.example:99999999", "calls.example", False),
        ("http://[", "[", False),
        ("http://calls.example", "", False),
        ("http://calls.example", None, False),
    ],
)
def test_by_default_only_the_servers_own_pages_connect(
    origin: str, host: str | None, allowed: bool
) -> None:
    assert Origins(()).allow(request(host, origin)) is allowed


def test_programs_send_no_origin_and_are_not_asked() -> None:
    assert Origins(()).allow(request("a")) and Origins(["http://b"]).allow(request("a"))


def test_a_list_is_exact_and_the_whole_of_it() -> None:
    origins = Origins(["https://desk.example"])
    assert origins.allow(request("calls.example", "https://desk.example"))
    for other in ("http://desk.example", "https://desk.example:8443", "https://calls.example"):
        assert not origins.allow(request("calls.example", other))


def test_a_star_allows_all_and_two_origins_are_none() -> None:
    assert Origins(["*"]).allow(request("a", "http://b"))
    assert not Origins(()).allow(request("a", "http://a", "http://a"))


def test_without_tokens_a_name_made_to_point_here_is_not_here() -> None:
    origins = Origins((), only_local=True)
    assert not origins.allow(request("evil.example:8765", "http://evil.example:8765"))
    for host in ("localhost:8765", "127.0.0.1:8765", "[::1]:8765"):
        assert origins.allow(request(host, f"http://{host}"))
