"""Whole calls over real sockets: who is let in, and what the hub and the caller hear."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from emotion.engine import Engine
from stream_server.config import Config
from stream_server.server import Server, running
from stream_server.tables import Audiohook, Token, Twilio
from tests.fakes import fake_engine, restless
from tests.speech import speech_like
from tests.stream_server.client import PATIENCE_S, until
from tests.stream_server.telephony.calls import (
    CALL,
    TWILIO_CONNECTED,
    TWILIO_STOP,
    mulaw,
    twilio_media,
    twilio_start,
)
from tests.stream_server.telephony.genesys import CONVERSATION, ORGANIZATION, SESSION, Client

SOUND = mulaw(speech_like(4.2, 8000))
PUBLIC = "wss://calls.example.com"
TWILIO_TOKEN = "0123456789abcdef0123456789abcdef"
API_KEY, SECRET = "an-api-key", b"a secret of Genesys"


def frames() -> list[str]:
    return [
        twilio_media(1 + start // 160, start // 8, SOUND[start : start + 160])
        for start in range(0, len(SOUND), 160)
    ]


async def call(server: Server, path: str, messages: list[str | bytes], **options: Any) -> list[str]:
    """Brings a call in; what the server says to it until it closes."""
    said: list[str] = []

    async def listen() -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                said.append(str(text))

    async with (
        asyncio.timeout(PATIENCE_S),
        connect(f"{server.url}{path}", compression=None, **options) as connection,
    ):
        listening = asyncio.create_task(listen())
        with contextlib.suppress(ConnectionClosed):
            for message in messages:
                await connection.send(message)
        await listening
    return said


async def published(server: Server, since: Any) -> list[dict[str, Any]]:
    """What the hub has heard, once all calls are over."""
    await until(lambda: len(server._calls) == 0)
    await server._calls.settled()
    server.hub.close()
    texts = [text async for text in server.hub.subscribe(since=since)]
    return [json.loads(text) for text in texts[1:]]


def token(name: str, text: str, streams: str = "*") -> Token:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Token(name=name, sha256=digest, roles=("publish",), streams=streams)


async def test_a_call_of_twilio_reaches_the_hub_under_its_sid(engine: Engine) -> None:
    async with running(Config(port=0, max_sessions=2), engine) as server:
        since = server.hub.newest
        messages = [TWILIO_CONNECTED, twilio_start(), *frames(), TWILIO_STOP]
        assert await call(server, "/telephony/twilio", messages) == []
        events = await published(server, since)
    assert events[0]["type"] == "started"
    assert {event["stream_id"] for event in events} == {CALL}
    assert [event["end_s"] for event in events[1:-1]] == [1, 2, 3, 4]
    assert events[-1]["type"] == "summary" and events[-1]["audio_s"] == 4.2


@pytest.mark.parametrize("adaptable", [True, False])
async def test_a_call_adapts_where_the_model_can(adaptable: bool) -> None:
    async with running(Config(port=0, max_sessions=2), fake_engine(adaptable=adaptable)) as server:
        since = server.hub.newest
        messages = [TWILIO_CONNECTED, twilio_start(), *frames(), TWILIO_STOP]
        await call(server, "/telephony/twilio", messages)
        events = await published(server, since)
    assert events[0]["adapt"] is adaptable
    adapted = [event["adapted_s"] for event in events if event["type"] == "emotion"]
    assert adapted and all((seconds > 0) is adaptable for seconds in adapted)


async def test_a_call_that_hangs_up_without_a_word_is_summed_up(engine: Engine) -> None:
    async with running(Config(port=0, max_sessions=2), engine) as server:
        since = server.hub.newest
        async with connect(f"{server.url}/telephony/twilio", compression=None) as connection:
            for message in [TWILIO_CONNECTED, twilio_start(), *frames()[:100]]:
                await connection.send(message)
            await until(lambda: server.metrics.audio_s._value.get() > 1.5)
            connection.transport.close()
        events = await published(server, since)
        await until(lambda: server.admission.active == 0)
    assert events[-1]["type"] == "summary"


@pytest.mark.parametrize("given", [None, "wrong", "right"])
async def test_a_token_in_twilios_parameters_opens_the_door(
    engine: Engine, given: str | None
) -> None:
    parameters = {} if given is None else {"token": given}
    config = Config(port=0, max_sessions=2, tokens=(token("twilio-1", "right", "CA*"),))
    async with running(config, engine) as server:
        since = server.hub.newest
        start = twilio_start(customParameters=parameters)
        await call(server, "/telephony/twilio", [TWILIO_CONNECTED, start, *frames(), TWILIO_STOP])
        events = await published(server, since)
    assert bool(events) == (given == "right")
    assert given is None or given not in json.dumps(events)


def secret_file(path: Path, text: str) -> Path:
    """The file, readable by its owner only, with this secret."""
    path.touch(0o600)
    path.write_text(text)
    return path


def twilio_headers(path: str, secret: str = TWILIO_TOKEN) -> dict[str, str]:
    """A signed handshake of Twilio, written without the code under test."""
    digest = hmac.new(secret.encode(), f"{PUBLIC}{path}".encode(), hashlib.sha1).digest()
    return {"X-Twilio-Signature": base64.b64encode(digest).decode()}


async def test_twilio_has_to_sign_where_its_auth_token_is_configured(
    engine: Engine, tmp_path: Path
) -> None:
    file = secret_file(tmp_path / "twilio", TWILIO_TOKEN)
    config = Config(port=0, max_sessions=2, public_url=PUBLIC, twilio=Twilio(auth_token_file=file))
    path = "/telephony/twilio"
    async with running(config, engine) as server:
        since = server.hub.newest
        for headers in ({}, twilio_headers("/telephony/other")):
            with pytest.raises(InvalidStatus) as refused:
                await call(server, path, [], additional_headers=headers)
            assert refused.value.response.status_code == 401
        messages = [TWILIO_CONNECTED, twilio_start(), *frames(), TWILIO_STOP]
        await call(server, path, messages, additional_headers=twilio_headers(path))
        assert (await published(server, since))[-1]["type"] == "summary"


def audiohook_headers(host: str, nonce: str, secret: bytes = SECRET) -> dict[str, str]:
    """A signed handshake of Genesys, written without the code under test."""
    headers = {
        "audiohook-organization-id": ORGANIZATION,
        "audiohook-session-id": SESSION,
        "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99e",
        "x-api-key": API_KEY,
    }
    values = {"@request-target": "/telephony/audiohook", "@authority": host} | headers
    created = int(time.time())
    line = "(" + " ".join(f'"{name}"' for name in values) + ")"
    line += f';keyid="{API_KEY}";nonce="{nonce}";alg="hmac-sha256"'
    line += f";created={created};expires={created + 10}"
    base = "".join(f'"{name}": {value}\n' for name, value in values.items())
    digest = hmac.new(secret, f'{base}"@signature-params": {line}'.encode(), hashlib.sha256)
    headers["Signature-Input"] = f"sig1={line}"
    headers["Signature"] = f"sig1=:{base64.b64encode(digest.digest()).decode()}:"
    return headers


async def test_a_call_of_genesys_is_answered_with_its_emotions(
    engine: Engine, tmp_path: Path
) -> None:
    file = secret_file(tmp_path / "secret", base64.b64encode(SECRET).decode())
    config = Config(
        port=0, max_sessions=2, audiohook=Audiohook(api_key=API_KEY, client_secret_file=file)
    )
    async with running(config, engine) as server:
        host = server.url.removeprefix("ws://")
        for headers in (
            {},
            audiohook_headers(host, "bm9uY2Ugb2YgZW5vdWdoIGxlbmd0aA", b"another"),
        ):
            with pytest.raises(InvalidStatus) as refused:
                await call(server, "/telephony/audiohook", [], additional_headers=headers)
            assert refused.value.response.status_code == 401
        since = server.hub.newest
        client = Client()
        messages: list[str | bytes] = [client.open()]
        messages += [client.say("ping")]
        messages += [SOUND[i : i + 800] for i in range(0, len(SOUND), 800)]
        messages += [client.say("close", {"reason": "end"})]
        texts = await call(
            server,
            "/telephony/audiohook",
            messages,
            additional_headers=audiohook_headers(host, "YW5vdGhlciBub25jZSBhcyBsb25n"),
        )
        said = [json.loads(text) for text in texts]
        events = await published(server, since)
    assert [message["seq"] for message in said] == list(range(1, len(said) + 1))
    types = [message["type"] for message in said]
    assert types[:2] == ["opened", "pong"] and types[-1] == "closed"
    entities = [
        entity for m in said if m["type"] == "event" for entity in m["parameters"]["entities"]
    ]
    heard = [e for e in events if e["type"] == "emotion"]
    assert [entity["data"]["id"] for entity in entities] == [event["id"] for event in heard] != []
    assert CONVERSATION in events[0]["stream_id"]
    assert events[0]["adapt"] is True


async def let_in(server: Server, path: str, headers: dict[str, str]) -> bool:
    """Whether a handshake is let in rather than refused with 401."""
    try:
        async with connect(f"{server.url}{path}", compression=None, additional_headers=headers):
            return True
    except InvalidStatus as refused:
        assert refused.response.status_code == 401
        return False


async def test_another_token_of_twilio_counts_from_the_reload_on_and_a_broken_one_never(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = "/telephony/twilio"
    old, new = twilio_headers(path), twilio_headers(path, "another")
    file = secret_file(tmp_path / "twilio", TWILIO_TOKEN)
    config = Config(port=0, public_url=PUBLIC, twilio=Twilio(auth_token_file=file))
    async with running(config, engine) as server:
        secret_file(file, "another")
        assert await let_in(server, path, old) and not await let_in(server, path, new)
        server.reload(config)
        assert await let_in(server, path, new) and not await let_in(server, path, old)
        secret_file(file, "")
        server.reload(config)
        assert "the old ones stay: twilio.auth_token_file" in caplog.text
        assert await let_in(server, path, new) and not await let_in(server, path, old)


async def test_another_secret_of_genesys_counts_from_the_reload_on_and_a_broken_one_never(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def opens(secret: bytes) -> bool:
        headers = audiohook_headers(server.url.removeprefix("ws://"), uuid4().hex, secret)
        return await let_in(server, "/telephony/audiohook", headers)

    file = secret_file(tmp_path / "secret", base64.b64encode(SECRET).decode())
    config = Config(port=0, audiohook=Audiohook(api_key=API_KEY, client_secret_file=file))
    async with running(config, engine) as server:
        secret_file(file, base64.b64encode(b"another").decode())
        assert await opens(SECRET) and not await opens(b"another")
        server.reload(config)
        assert await opens(b"another") and not await opens(SECRET)
        secret_file(file, "no base64!")
        server.reload(config)
        assert "the old ones stay: audiohook.client_secret_file" in caplog.text
        assert await opens(b"another") and not await opens(SECRET)


async def test_no_reload_decides_whether_telephony_has_to_sign(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    twilio = Twilio(auth_token_file=secret_file(tmp_path / "twilio", TWILIO_TOKEN))
    secret = secret_file(tmp_path / "secret", base64.b64encode(SECRET).decode())
    audiohook = Audiohook(api_key=API_KEY, client_secret_file=secret)
    guarded = Config(port=0, public_url=PUBLIC, twilio=twilio, audiohook=audiohook)
    async with running(guarded, engine) as server:
        for name, fewer in (
            ("twilio.auth_token_file", replace(guarded, twilio=Twilio())),
            ("audiohook.api_key", replace(guarded, audiohook=Audiohook())),
            (
                "audiohook.client_secret_file",
                replace(guarded, audiohook=Audiohook(api_key=API_KEY)),
            ),
        ):
            caplog.clear()
            server.reload(fewer)
            assert f"the old ones stay: {name} was removed" in caplog.text
            assert "restart" in caplog.text
            for path in ("/telephony/twilio", "/telephony/audiohook"):
                assert not await let_in(server, path, {"x-api-key": API_KEY})
            signed = audiohook_headers("calls.example.com", uuid4().hex)
            assert await let_in(server, "/telephony/audiohook", signed)
            signed = twilio_headers("/telephony/twilio")
            assert await let_in(server, "/telephony/twilio", signed)
    async with running(Config(port=0), engine) as server:
        server.reload(guarded)
        assert "the old ones stay: twilio.auth_token_file was added" in caplog.text
        for path in ("/telephony/twilio", "/telephony/audiohook"):
            assert await let_in(server, path, {})


async def test_the_log_says_which_of_tokens_and_secrets_stay_the_old_ones(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file = secret_file(tmp_path / "twilio", TWILIO_TOKEN)
    twilio = Twilio(auth_token_file=file)
    config = Config(port=0, public_url=PUBLIC, twilio=twilio, tokens=(token("desk", "old"),))
    async with running(config, engine) as server:
        file.unlink()
        server.reload(replace(config, tokens=(token("desk", "new"),)))
        assert "tokens were read again" in caplog.text
        assert "telephony's secrets were not read again, the old ones stay" in caplog.text
        for text in ("old", "new"):
            headers = {"Authorization": f"Bearer {text}"}
            assert await let_in(server, "/v1/stream", headers) == (text == "new")
        path = "/telephony/twilio"
        assert await let_in(server, path, twilio_headers(path))


async def test_vonage_jambonz_and_asterisk_reach_the_hub(engine: Engine) -> None:
    pcm = (restless(2.2, 8000)[:, 0] * 32_767).astype("<i2").tobytes()
    starts: dict[str, tuple[str, bytes, dict[str, Any]]] = {
        "vonage": (
            '{"event":"websocket:connected","content-type":"audio/l16;rate=8000","id":"v-1"}',
            pcm,
            {},
        ),
        "jambonz": (
            '{"callSid":"j-1","sampleRate":8000,"mixType":"mono"}',
            pcm,
            {"subprotocols": ["audio.jambonz.org"]},
        ),
        "asterisk": (
            "MEDIA_START connection_id:a-1 channel:PJSIP/x-1 format:ulaw optimal_frame_size:160",
            SOUND[: 8000 * 2],
            {},
        ),
    }
    for name, (start, audio, options) in starts.items():
        async with running(Config(port=0, max_sessions=2), engine) as server:
            since = server.hub.newest
            url = f"{server.url}/telephony/{name}"
            async with connect(url, compression=None, **options) as connection:
                assert connection.subprotocol == (options.get("subprotocols") or [None])[0]
                await connection.send(start)
                await connection.send(audio)
                await until(lambda: server.metrics.audio_s._value.get() >= 2)
            events = await published(server, since)
        ends = [event["end_s"] for event in events if event["type"] in ("emotion", "silence")]
        assert ends[:2] == [1, 2] and events[-1]["type"] == "summary", name
        assert events[0]["adapt"] is True, name


async def test_who_has_not_said_who_it_is_holds_no_slot(engine: Engine) -> None:
    config = Config(port=0, max_sessions=1, tokens=(token("desk", "right"),))
    async with running(config, engine) as server:
        async with (
            connect(f"{server.url}/telephony/twilio", compression=None) as stranger,
            connect(f"{server.url}/telephony/vonage", compression=None),
        ):
            await stranger.send(TWILIO_CONNECTED)
            headers = {"Authorization": "Bearer right"}
            url = f"{server.url}/v1/stream"
            async with connect(url, compression=None, additional_headers=headers) as client:
                await client.send('{"type":"start"}')
                assert '"started"' in str(await client.recv())


async def test_a_tokens_sessions_are_counted_over_telephony_too(engine: Engine) -> None:
    one = Token(
        name="one", sha256=hashlib.sha256(b"right").hexdigest(), roles=("publish",), max_sessions=1
    )
    async with running(Config(port=0, max_sessions=5, tokens=(one,)), engine) as server:
        start = twilio_start(customParameters={"token": "right"})
        url = f"{server.url}/telephony/twilio"
        async with (
            connect(url, compression=None) as first,
            connect(url, compression=None) as second,
        ):
            await first.send(start)
            await until(lambda: server.admission.active == 1)
            await second.send(start)
            await second.wait_closed()
            assert second.close_code == 1013 and server.admission.active == 1
