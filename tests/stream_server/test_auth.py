"""Who a client is: tokens, JSON Web Tokens, and refusals that tell nothing."""

import base64
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.datastructures import Headers
from websockets.http11 import Request

from emotion.errors import ConfigurationError, MessageError
from stream_server.auth import (
    ANONYMOUS,
    MAX_TOKEN_CHARS,
    Authenticator,
    Principal,
    Role,
    credentials,
    unauthorized,
)
from stream_server.config import Config
from stream_server.tables import Jwt, Token

jwt = pytest.importorskip("jwt", reason="PyJWT is not installed (pip install '.[jwt]')")

SECRET = "s" * 40
BOTH = frozenset(Role)
PRIVATE_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
PUBLIC_PEM = PRIVATE_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def token(text: str, **fields: Any) -> Token:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Token(**{"name": text, "sha256": digest, "roles": ("publish",), **fields})


def request(path: str = "/v1/stream", *headers: tuple[str, str]) -> Request:
    return Request(path, Headers(headers))


def base64url(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def by_secret(tmp_path: Path, **fields: Any) -> Authenticator:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return Authenticator(Config(jwt=Jwt(secret_file=path, **fields)))


def by_public_key(tmp_path: Path) -> Authenticator:
    path = tmp_path / "public.pem"
    path.write_bytes(PUBLIC_PEM)
    return Authenticator(Config(jwt=Jwt(public_key_file=path)))


def claims(**changes: Any) -> dict[str, Any]:
    fields = {"sub": "desk", "roles": ["monitor"], "exp": time.time() + 60, **changes}
    return {name: value for name, value in fields.items() if value is not None}


def refusal(authenticator: Authenticator, text: str) -> str:
    with pytest.raises(MessageError) as refused:
        authenticator.of_token(text)
    assert refused.value.code == "unauthorized"
    return refused.value.message


# --- where a token comes from ---


@pytest.mark.parametrize(
    "sent",
    [
        request("/", ("Authorization", "Bearer T")),
        request("/", ("authorization", "bearer  T ")),
        request("/", ("Sec-WebSocket-Protocol", "emotion.v1, bearer.VA")),
        request(
            "/", ("Sec-WebSocket-Protocol", "emotion.v1"), ("Sec-WebSocket-Protocol", "bearer.VA")
        ),
        request("/?token=T"),
        request("/?a=b&token=%54"),
        request("/?token=T", ("Authorization", "Bearer T")),
        request("/?token=T", ("Authorization", "Basic dTpw")),
    ],
)
def test_a_token_is_found_in_header_subprotocol_and_query(sent: Request) -> None:
    assert credentials(sent) == {"T"}


@pytest.mark.parametrize(
    "sent",
    [
        request("/"),
        request("/?token="),
        request("/", ("Authorization", "Bearer ")),
        request("/", ("Authorization", "T")),
        request("/", ("Sec-WebSocket-Protocol", "bearer.")),
        request("/", ("Sec-WebSocket-Protocol", "bearer.V A")),
        request("/", ("Sec-WebSocket-Protocol", "bearer.V")),
        request("/", ("Sec-WebSocket-Protocol", "bearer.VA==")),
        request("/", ("Sec-WebSocket-Protocol", "bearer._w")),
        request("/?token=T", ("Authorization", "Bearer U")),
        request("/?token=T&token=U"),
        request("/?token=T", ("Sec-WebSocket-Protocol", "bearer.!")),
        request("/?token=T&" + "&".join(f"x{i}=" for i in range(40))),
        request("//[?token=T"),
    ],
)
def test_no_token_an_unreadable_one_and_two_different_ones_are_unauthorized(sent: Request) -> None:
    with pytest.raises(MessageError):
        Authenticator(Config(tokens=(token("T"),))).of_request(sent)


def test_where_no_tokens_are_configured_everybody_may_do_everything() -> None:
    authenticator = Authenticator(Config())
    assert not authenticator.required
    assert authenticator.of_request(request("/?token=x")) is ANONYMOUS
    assert authenticator.of_token("") is ANONYMOUS
    assert all(ANONYMOUS.may(role, "any") for role in Role)


# --- tokens ---


def test_each_token_is_its_own_principal() -> None:
    tokens = (
        token("one"),
        token("two", roles=("publish", "monitor"), streams="call-*", max_sessions=3),
    )
    authenticator = Authenticator(Config(tokens=tokens))
    assert authenticator.of_token("one") == Principal("one", frozenset({Role.PUBLISH}))
    assert authenticator.of_token("two") == Principal("two", BOTH, "call-*", 3)


def test_a_hash_may_be_written_in_capitals() -> None:
    shouted = token("T", sha256=hashlib.sha256(b"T").hexdigest().upper())
    assert Authenticator(Config(tokens=(shouted,))).of_token("T").name == "T"


@pytest.mark.parametrize(
    "text", ["", "unknown", "T ", "t", "T\0", "\ud800", "é", "T" * MAX_TOKEN_CHARS * 2]
)
def test_any_other_text_is_unauthorized(text: str) -> None:
    refusal(Authenticator(Config(tokens=(token("T"),))), text)


def test_the_hash_is_no_token() -> None:
    refusal(Authenticator(Config(tokens=(token("T"),))), hashlib.sha256(b"T").hexdigest())


def test_all_hashes_are_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append(b) or a == b)
    authenticator = Authenticator(Config(tokens=tuple(map(token, "abc"))))
    assert authenticator.of_token("a").name == "a" and len(compared) == 3


def test_a_principal_may_what_its_roles_and_streams_permit() -> None:
    who = Principal("desk", frozenset({Role.MONITOR}), "call-[0-9]*")
    assert who.may(Role.MONITOR) and who.may(Role.MONITOR, "call-7")
    assert not who.may(Role.MONITOR, "Call-7") and not who.may(Role.MONITOR, "call-x")
    assert not who.may(Role.PUBLISH) and not who.may(Role.PUBLISH, "call-7")
    who.require(Role.MONITOR, "call-7")
    with pytest.raises(MessageError) as refused:
        who.require(Role.PUBLISH)
    assert refused.value.message == unauthorized().message


# --- JSON Web Tokens ---


def test_a_signed_token_says_who_its_holder_is(tmp_path: Path) -> None:
    text = jwt.encode(claims(streams="call-*", roles=["monitor", "admin"]), SECRET, "HS256")
    who = by_secret(tmp_path).of_token(text)
    assert who == Principal("jwt:desk", frozenset({Role.MONITOR}), "call-*")


def test_a_token_signed_with_the_private_key_is_believed(tmp_path: Path) -> None:
    text = jwt.encode(claims(), PRIVATE_KEY, "RS256")
    assert by_public_key(tmp_path).of_token(text).name == "jwt:desk"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"nbf": time.time() + 3600},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"roles": "monitor"},
        {"roles": [1]},
        {"streams": ["a"]},
        {"aud": "another"},
    ],
)
def test_every_refusal_of_a_signed_token_says_the_same(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    text = forged({"alg": "HS256"}, claims(**changes))
    assert refusal(by_secret(tmp_path), text) == unauthorized().message


def forged(header: dict[str, Any], body: dict[str, Any], key: bytes = SECRET.encode()) -> str:
    """A token that no library would sign; with the right signature for HS256."""
    import hmac

    signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, body))
    return f"{signed}.{base64url(hmac.digest(key, signed.encode(), 'sha256'))}"


def test_the_helper_of_these_tests_signs_well(tmp_path: Path) -> None:
    assert by_secret(tmp_path).of_token(forged({"alg": "HS256"}, claims())).name == "jwt:desk"


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS512"}, {"alg": 7}, {}])
def test_the_algorithm_is_not_the_tokens_to_choose(tmp_path: Path, header: dict[str, Any]) -> None:
    refusal(by_secret(tmp_path), forged(header, claims()))
    refusal(by_secret(tmp_path), forged(header, claims()).rsplit(".", 1)[0] + ".")


def test_a_public_key_is_no_secret_to_sign_with(tmp_path: Path) -> None:
    refusal(by_public_key(tmp_path), forged({"alg": "HS256"}, claims(), PUBLIC_PEM))


@pytest.mark.parametrize("text", ["a.b.c", "..", ".", "e30.e30.", "[" * 4000, "é.é.é"])
def test_garbage_is_no_signed_token(tmp_path: Path, text: str) -> None:
    refusal(by_secret(tmp_path), text)


def test_audience_and_issuer_are_asked_for_where_they_are_configured(tmp_path: Path) -> None:
    strict = by_secret(tmp_path, audience="calls", issuer="me")
    good = claims(aud="calls", iss="me")
    assert strict.of_token(jwt.encode(good, SECRET, "HS256")).name == "jwt:desk"
    for wrong in ({"aud": None}, {"iss": None}, {"aud": "x"}, {"iss": "you"}):
        refusal(
            strict, jwt.encode(claims(**{"aud": "calls", "iss": "me", **wrong}), SECRET, "HS256")
        )


def test_tokens_of_both_kinds_do_not_share_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="jwt:"):
        token("T", name="jwt:desk")


# --- keys ---


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected a secret"),
        (b"short", "at least 32 bytes"),
        (PUBLIC_PEM, "at least 32 bytes"),
        (b"\xff" * 40, "not text"),
        (b"x" * 70_000, "expected a secret"),
    ],
)
def test_a_secret_that_cannot_be_one_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=f"secret_file: .*secret: .*{said}") as refused:
        Authenticator(Config(jwt=Jwt(secret_file=path)))
    assert "short" not in str(refused.value)


def test_a_secret_that_others_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o640)
    Authenticator(Config(jwt=Jwt(secret_file=path)))
    assert "chmod 600" in caplog.text and SECRET not in caplog.text


def pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize(
    "content",
    [b"", b"-----BEGIN PUBLIC KEY-----\nx\n", pem(ec.generate_private_key(ec.SECP256R1())),
     pem(rsa.generate_private_key(public_exponent=65_537, key_size=1024))],
)  # fmt: skip
def test_a_key_that_is_no_rsa_public_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "public.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"public_key_file: .*public\.pem: expected"):
        Authenticator(Config(jwt=Jwt(public_key_file=path)))


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    for keys in ({"public_key_file": tmp_path / "no.pem"}, {"secret_file": tmp_path / "no.pem"}):
        with pytest.raises(ConfigurationError, match=r"no\.pem: cannot be read"):
            Authenticator(Config(jwt=Jwt(**keys)))


def test_without_the_package_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigurationError, match=r"'\.\[jwt\]'"):
        by_secret(tmp_path)


def test_a_server_without_signed_tokens_loads_nothing_that_checks_them() -> None:
    code = "import stream_server.server, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not {"jwt", "cryptography"} & set(done.stdout.split())
