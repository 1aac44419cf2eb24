"""AudioHook's signature on the handshake."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emotion.errors import MessageError
from stream_server.telephony.signature import (
    MAX_AGE_S,
    MAX_FIELD,
    MAX_SKEW_S,
    REQUIRED,
    NonceCache,
    verify_audiohook,
)

# The example of Genesys' documentation, also in the tests of its reference implementation.
CREATED = 1641013200
KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = base64.b64decode("TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU=")
TARGET, HOST = "/api/v1/voicebiometrics/ws", "audiohook.example.com"
DOCUMENTED = {
    "host": HOST,
    "audiohook-organization-id": "d7934305-0972-4844-938e-9060eef73d05",
    "audiohook-session-id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
    "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99d",
    "x-api-key": KEY,
    "signature": "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:",
    "signature-input": (
        'sig1=("@request-target" "@authority" "audiohook-organization-id" "audiohook-session-id" '
        f'"audiohook-correlation-id" "x-api-key");keyid="{KEY}";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl";'
        f'alg="hmac-sha256";created={CREATED};expires=3282026430'
    ),
}


def verify(
    headers: dict[str, str] | list[tuple[str, str]],
    now: float = CREATED + 1,
    nonces: NonceCache | None = None,
    **changes: Any,
) -> None:
    handshake = {
        "method": "GET",
        "target": TARGET,
        "authority": HOST,
        "api_key": KEY,
        "client_secret": SECRET,
    } | changes
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    verify_audiohook(pairs, now=now, nonces=NonceCache() if nonces is None else nonces, **handshake)


def refused(*args: Any, **changes: Any) -> None:
    with pytest.raises(MessageError) as caught:
        verify(*args, **changes)
    assert caught.value.code == "unauthorized"
    assert caught.value.message == "the handshake's signature is missing or does not fit"


def signed(
    covered: tuple[str, ...] = REQUIRED,
    secret: bytes = SECRET,
    label: str = "sig1",
    api_key: str = KEY,
    **changes: Any,
) -> dict[str, str]:
    """A signed handshake, written without the code under test; None leaves a parameter out."""
    headers = {k: v for k, v in DOCUMENTED.items() if not k.startswith("signature")}
    headers["x-api-key"] = api_key
    values = {"@request-target": TARGET, "@authority": HOST, "@method": "GET"} | headers
    values |= {"@path": "/api/v1/voicebiometrics/ws", "@query": "?"}
    parameters = {
        "keyid": KEY,
        "nonce": "bm9uY2Ugb2YgZW5vdWdoIGxlbmd0aA",
        "alg": "hmac-sha256",
        "created": CREATED,
        "expires": CREATED + 10,
    } | changes
    line = "(" + " ".join(f'"{name}"' for name in covered) + ")"
    for name, value in parameters.items():
        if value is not None:
            line += f';{name}="{value}"' if isinstance(value, str) else f";{name}={value}"
    base = "".join(f'"{name}": {values[name]}\n' for name in covered)
    digest = hmac.new(secret, f'{base}"@signature-params": {line}'.encode(), hashlib.sha256)
    headers["signature-input"] = f"{label}={line}"
    headers["signature"] = f"{label}=:{base64.b64encode(digest.digest()).decode()}:"
    return headers


def test_the_documented_example_verifies() -> None:
    verify(DOCUMENTED)


def test_ours_verifies() -> None:
    verify(signed())


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if name != "host"])
def test_nothing_that_is_signed_may_be_missing_or_other(name: str) -> None:
    refused({k: v for k, v in DOCUMENTED.items() if k != name})
    refused(DOCUMENTED | {name: DOCUMENTED[name].translate(str.maketrans("dSI", "eTJ"))})
    refused(DOCUMENTED | {name: ""})


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "/telephony/audiohook"},
        {"target": TARGET + "?a=1"},
        {"authority": "another.example.com"},
        {"authority": HOST + ":8443"},
        {"api_key": "another"},
        {"client_secret": b"another"},
        {"client_secret": b""},
    ],
)
def test_another_handshake_is_refused(changes: dict[str, Any]) -> None:
    refused(DOCUMENTED, **changes)


def test_the_authority_may_be_in_capitals_and_with_its_port() -> None:
    verify(DOCUMENTED, authority="AudioHook.example.com:443")


def test_names_of_headers_may_be_in_capitals_and_in_any_order() -> None:
    verify([(name.upper(), f" {value}\t") for name, value in reversed(DOCUMENTED.items())])


def test_more_than_what_is_required_may_be_signed() -> None:
    verify(signed((*REQUIRED, "@method", "@path", "@query", "host")))


@pytest.mark.parametrize("name", REQUIRED)
def test_all_that_is_required_must_be_signed(name: str) -> None:
    refused(signed(tuple(covered for covered in REQUIRED if covered != name)))


def test_another_signature_may_come_first_in_the_same_header_or_in_another() -> None:
    ours = signed()
    other = signed(("@authority",), label="proxy", keyid="other")
    names = ("signature-input", "signature")
    one = ours | {name: f"{other[name]}, {ours[name]}" for name in names}
    verify(one)
    verify([*((name, other[name]) for name in names), *ours.items()])


@pytest.mark.parametrize("age", [0, 1, MAX_AGE_S, -MAX_SKEW_S])
def test_a_fresh_signature_is_taken(age: float) -> None:
    verify(signed(expires=None), now=CREATED + age)


@pytest.mark.parametrize("age", [MAX_AGE_S + 0.1, 3600, -MAX_SKEW_S - 0.1, float("nan")])
def test_an_old_one_and_one_from_the_future_are_refused(age: float) -> None:
    refused(signed(expires=None), now=CREATED + age)


@pytest.mark.parametrize(
    "changes",
    [
        {"expires": CREATED},
        {"expires": "never"},
        {"created": None},
        {"created": "now"},
        {"nonce": None},
        {"nonce": "x" * 21},
        {"nonce": 1234567890123},
        {"keyid": None},
        {"keyid": "another"},
        {"alg": "hmac-sha512"},
        {"alg": "none"},
        {"tag": "unknown"},
        {"created": -1},
    ],
)
def test_parameters_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    refused(signed(**changes), now=CREATED + 1)


def test_the_header_has_to_carry_the_key_too() -> None:
    refused(signed(api_key="another"))


def test_no_algorithm_means_the_only_one() -> None:
    verify(signed(alg=None))


def test_a_nonce_is_taken_once() -> None:
    nonces = NonceCache()
    verify(signed(), nonces=nonces)
    refused(signed(), nonces=nonces)
    verify(signed(nonce="another nonce of enough length"), nonces=nonces)


def test_who_does_not_know_the_secret_uses_up_no_nonce() -> None:
    nonces = NonceCache()
    refused(signed(secret=b"guessed"), nonces=nonces)
    refused(signed(), now=CREATED + 60, nonces=nonces)
    assert len(nonces) == 0
    verify(signed(), nonces=nonces)


def test_nonces_are_forgotten_only_when_their_signature_is_too_old() -> None:
    nonces = NonceCache()
    assert nonces.add("a", 100.0)
    assert not nonces.add("a", 100.0 + MAX_AGE_S + MAX_SKEW_S)
    assert nonces.add("a", 100.1 + MAX_AGE_S + MAX_SKEW_S)
    assert len(nonces) == 1


def test_no_more_nonces_are_remembered_than_fit() -> None:
    nonces = NonceCache(3)
    assert [nonces.add(str(i), 0.0) for i in range(5)] == [True, True, True, False, False]
    assert nonces.add("later", 1000.0) and len(nonces) == 1


BROKEN: list[Callable[[str], str]] = [
    lambda text: text + ",",
    lambda text: text + ";",
    lambda text: text + " x",
    lambda text: text.replace('"@authority"', "@authority"),
    lambda text: text.replace('"@authority"', '"@authority" "@authority"'),
    lambda text: text.replace('"@authority"', '"@authority";req'),
    lambda text: text.replace('"@authority"', '"@authority" "signature"'),
    lambda text: text.replace('"@authority"', '"@authority" "@signature-params"'),
    lambda text: text.replace('"@authority"', '"@authority" "absent"'),
    lambda text: text.replace(";created=", ";created=0;created="),
    lambda text: text.replace("(", "(("),
    lambda text: text.replace("sig1", "SIG1"),
    lambda text: text.replace("sig1", "sig2"),
    lambda text: text + ";tag=" + '"' + "x" * MAX_FIELD + '"',
    lambda text: '"' * 4000,
    lambda text: "sig1=(" + '"a" ' * 1000,
    lambda text: "sig1=()" + ";a=1" * 900,
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_field_is_refused(broken: Callable[[str], str]) -> None:
    headers = signed()
    refused(headers | {"signature-input": broken(headers["signature-input"])})


@pytest.mark.parametrize(
    "field", ["sig1=", "sig1=::", "sig1=:!!:", "sig1=:YQ:", "sig1=:ä:", ",", "\udc80"]
)
def test_a_broken_signature_is_refused(field: str) -> None:
    refused(signed() | {"signature": field})


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(list(DOCUMENTED)))
def test_garbage_is_refused(field: str, signature: str, name: str) -> None:
    refused(signed() | {"signature-input": f"sig1=({field}", "signature": signature})
    refused(signed() | {"signature": f"sig1=:{signature}:"})
    if name != "host" and field.strip(" \t") != signed()[name]:
        refused(signed() | {name: field})
