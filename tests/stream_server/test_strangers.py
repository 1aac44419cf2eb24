"""Whatever a stranger sends, who they are is decided without a surprise."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request

from emotion.errors import MessageError
from stream_server.admission import Proxies
from stream_server.auth import Authenticator
from stream_server.config import Config
from stream_server.logs import redacted
from stream_server.origins import Origins
from stream_server.tables import Token

# What the HTTP parser lets through: headers in ISO-8859-1 without line ends, paths in ASCII.
header_characters = [*"\t", *map(chr, range(0x20, 0x7F)), *map(chr, range(0x80, 0x100))]
values = st.text(st.sampled_from(header_characters), max_size=200)
likely = st.sampled_from(
    ["Bearer ", "bearer.", "emotion.v1, ", "VA", "T", "http://", "[", "]", ":", "@", "a.b.c", ","]
)
lines = st.lists(likely | values, max_size=6).map("".join)
names = st.sampled_from(
    ["Authorization", "Sec-WebSocket-Protocol", "Origin", "Host", "X-Forwarded-For"]
)
paths = st.lists(
    st.sampled_from(["/", "?token=", "&", "%", "%00", "#", "//", "[", "T", ";"])
    | st.text(st.characters(max_codepoint=126, min_codepoint=33), max_size=20),
    max_size=8,
).map("".join)
requests = st.builds(
    lambda path, headers: Request(path, Headers(headers)),
    paths,
    st.lists(st.tuples(names, lines), max_size=6),
)

TOKEN = Token(name="desk", sha256=hashlib.sha256(b"\0right").hexdigest(), roles=("publish",))
AUTHENTICATOR = Authenticator(Config(tokens=(TOKEN,)))


@given(requests)
def test_no_request_without_the_token_comes_in(request: Request) -> None:
    try:
        AUTHENTICATOR.of_request(request)
    except MessageError as refusal:
        assert refusal.code == "unauthorized"
    else:
        raise AssertionError("it came in")


@given(st.text())
def test_no_text_but_the_token_is_the_token(text: str) -> None:
    try:
        AUTHENTICATOR.of_token(text)
    except MessageError as refusal:
        assert refusal.code == "unauthorized"
    else:
        assert text == "\0right"


@given(requests)
def test_an_origin_is_allowed_or_not_and_nothing_else(request: Request) -> None:
    allowed = Origins(()).allow(request)
    assert allowed or request.headers.get_all("Origin")
    assert not Origins((), only_local=True).allow(request) or allowed


@given(values, st.lists(lines, max_size=3))
def test_an_address_is_always_found(peer: str, forwarded: list[str]) -> None:
    assert Proxies(["0.0.0.0/0"]).client("10.0.0.1", forwarded)
    assert Proxies([]).client(peer, forwarded) == Proxies([]).client(peer, [])


@given(st.text(max_size=300))
def test_cutting_secrets_out_fails_on_no_text(text: str) -> None:
    assert redacted(redacted(text)) is not None
