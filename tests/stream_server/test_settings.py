"""Settings: where they come from, which wins, and what a wrong one is told."""

from pathlib import Path
from typing import Any

import pytest

from emotion.alerts import Rule
from emotion.errors import ConfigurationError
from stream_server.config import Config, url
from stream_server.settings import flag_of, load, settings, variable_of
from stream_server.tables import Audiohook, Jwt, Token, Twilio, Webhook, is_loopback

HASH = "ab" * 32
TOKENS = f'[[tokens]]\nname = "desk"\nsha256 = "{HASH}"\nroles = ["monitor"]\n'
ALERT = "[[alerts]]\nname = 'a'\nemotions = ['angry']\n"


def webhook(url: str) -> str:
    return f"[webhook]\nurl = '{url}'\nsecret_file = 's'\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "server.toml"
    path.write_text(text)
    return path


def test_defaults_hold_where_nothing_is_said() -> None:
    assert load({}, {}) == Config()


def test_flags_win_over_variables_and_those_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "port = 1\nthreads = 1\nring_events = 1\n")
    read = load({"port": "3"}, {"EMOTION_PORT": "2", "EMOTION_THREADS": "2"}, file)
    assert (read.port, read.threads, read.ring_events) == (3, 2, 1)


def test_a_variable_names_the_file_unless_a_flag_does(tmp_path: Path) -> None:
    file = write(tmp_path, "port = 1")
    assert load({}, {"EMOTION_CONFIG": str(file)}).port == 1
    assert load({}, {"EMOTION_CONFIG": "/nowhere"}, file).port == 1


VALUES: dict[str, tuple[str, str, Any]] = {
    "model": ("m", '"m"', Path("m")),
    "host": ("::1", '"::1"', "::1"),
    "device": ("cpu", '"cpu"', "cpu"),
    "analyzable": ("agent, customer", '["agent", "customer"]', ("agent", "customer")),
    "tls_cert": ("c", '"c"', Path("c")),
    "tls_key": ("k", '"k"', Path("k")),
    "origins": ("https://a,http://b:1", '["https://a", "http://b:1"]', ("https://a", "http://b:1")),
    "trusted_proxies": ("10.0.0.0/8", '["10.0.0.0/8"]', ("10.0.0.0/8",)),
    "bus": ("redis://h:1/0", '"redis://h:1/0"', "redis://h:1/0"),
    "bus_password_file": ("p", '"p"', Path("p")),
    "public_url": ("wss://a", '"wss://a"', "wss://a"),
    "log_format": ("json", '"json"', "json"),
}


@pytest.mark.parametrize("name", [item.name for item in settings()])
def test_every_setting_is_reached_by_flag_variable_and_file(tmp_path: Path, name: str) -> None:
    default = getattr(Config(), name)
    numbers = {bool: ("true", "true", True), int: ("7", "7", 7), float: ("7", "7", 7.0)}
    text, toml, expected = VALUES[name] if name in VALUES else numbers[type(default)]
    rest = {"tls_cert": "c", "tls_key": "k"} if name in ("tls_cert", "tls_key") else {}
    others = {key: value for key, value in rest.items() if key != name}
    assert getattr(load({**others, name: text}, {}), name) == expected != default
    assert getattr(load(others, {variable_of(name): text}), name) == expected
    file = write(tmp_path, f"{name} = {toml}")
    found = getattr(load(others, {}, file), name)
    assert found == (tmp_path / expected if isinstance(expected, Path) else expected)


def test_names_follow_one_rule() -> None:
    assert flag_of("idle_timeout_s") == "--idle-timeout" and flag_of("port") == "--port"
    assert variable_of("idle_timeout_s") == "EMOTION_IDLE_TIMEOUT_S"


def test_an_empty_variable_does_not_count() -> None:
    assert load({}, {"EMOTION_PORT": "", "EMOTION_HOST": ""}) == Config()


def test_a_flag_without_a_value_says_yes_or_no() -> None:
    assert load({"insecure": True}, {}).insecure
    assert not load({"insecure": False}, {"EMOTION_INSECURE": "yes"}).insecure


def test_tables_are_read_whole(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        TOKENS + 'streams = "call-*"\nmax_sessions = 2\n'
        '[jwt]\nsecret_file = "s"\naudience = "a"\nissuer = "i"\n'
        '[twilio]\nauth_token_file = "t"\n'
        '[audiohook]\napi_key = "k"\nclient_secret_file = "/abs"\n',
    )
    read = load({}, {}, file)
    assert read.tokens == (
        Token(name="desk", sha256=HASH, roles=("monitor",), streams="call-*", max_sessions=2),
    )
    assert read.jwt == Jwt(secret_file=tmp_path / "s", audience="a", issuer="i")
    assert read.twilio == Twilio(auth_token_file=tmp_path / "t")
    assert read.audiohook == Audiohook(api_key="k", client_secret_file=Path("/abs"))
    assert read.guarded and not Config().guarded


def test_alerts_and_their_webhook_are_tables_too(tmp_path: Path) -> None:
    share = ALERT.replace("'a'", "'b'") + "share = 0.5\nwithin_s = 60\n"
    text = f"{ALERT}above = 0.6\nfor_s = 10\n{share}{webhook('http://127.0.0.1:9/x')}"
    read = load({}, {}, write(tmp_path, text))
    assert read.alerts == (
        Rule(name="a", emotions=("angry",), above=0.6, for_s=10),
        Rule(name="b", emotions=("angry",), share=0.5, within_s=60),
    )
    assert read.webhook is not None and read.webhook.secret_file == tmp_path / "s"
    assert read.webhook.where == "http://127.0.0.1"


def test_a_webhook_may_travel_in_the_clear_within_this_machine_or_where_told() -> None:
    for address in (
        "http://127.0.0.1:8/x",
        "http://[::1]/x",
        "http://localhost",
        "https://a/b?c=d",
    ):
        Webhook(url=address, secret_file=Path("s"))
    Webhook(url="http://10.0.0.1", secret_file=Path("s"), insecure=True)


@pytest.mark.parametrize(
    ("flags", "environment", "said"),
    [
        ({"port": "x"}, {}, r"port is 'x': expected a whole number \(from --port\)"),
        ({"port": "8.5"}, {}, r"port is '8.5': expected a whole number"),
        ({"port": "70000"}, {}, r"port is 70000: expected 0 to 65535 \(from --port\)"),
        ({}, {"EMOTION_THREADS": "-1"}, r"threads is -1: .* \(from EMOTION_THREADS\)"),
        ({"idle_timeout_s": "nan"}, {}, r"idle_timeout_s is nan: .* \(from --idle-timeout\)"),
        ({"idle_timeout_s": "x"}, {}, "expected a number"),
        ({}, {"EMOTION_INSECURE": "maybe"}, "insecure is 'maybe': expected true or false"),
        ({"device": "tpu"}, {}, "device is 'tpu': expected one of auto, cpu, cuda"),
        ({"model": ""}, {}, "model is '': expected a path"),
        ({"tls_cert": "a"}, {}, "tls_cert and tls_key: expected both"),
        ({"trusted_proxies": "10.0.0.1/8"}, {}, "trusted_proxies: .*10.0.0.1/8"),
        ({"origins": "example.com"}, {}, "origins: .*'example.com'"),
        ({"origins": "http://example.com/"}, {}, "origins: expected scheme://host"),
        ({"bus": "rabbit://"}, {}, "bus: expected memory"),
        ({"public_url": "calls.example"}, {}, "public_url: expected"),
        ({"analyzable": " , "}, {}, "analyzable: expected at least one"),
        ({"host": "0.0.0.0"}, {}, "host is 0.0.0.0: .*--insecure"),
        ({"host": ""}, {}, "host is : .*--insecure"),
    ],
)
def test_a_wrong_value_is_told_its_setting_and_its_source(
    flags: dict[str, str], environment: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(flags, environment)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = '1'", r"port is '1': expected a whole number \(from .*server\.toml\)"),
        ("port = true", "port is True: expected a whole number"),
        ("verbose = 1", "verbose is 1: expected true or false"),
        ("analyzable = 'mono'", "expected a list of texts"),
        ("analyzable = [1]", "expected a list of texts"),
        ("prot = 1", r"server\.toml: unknown setting 'prot'; did you mean 'port'\?"),
        ("[jwt]\nsecret = 'x'", "server.toml: jwt: unknown setting 'secret'"),
        ("[jwt]", "jwt: expected either secret_file"),
        ("jwt = 1", "jwt: expected a table, found int"),
        ("tokens = ['hush']", r"tokens\[0\]: expected a table, found str"),
        ("[[tokens]]\nname = 'a'", r"tokens\[0\]: sha256 is missing"),
        (TOKENS + "[[tokens]]\nname = ''", r"tokens\[1\]: sha256 is missing"),
        (TOKENS.replace(HASH, "hush"), r"tokens\[0\]: sha256: expected 64"),
        (TOKENS.replace("monitor", "admin"), "roles is .*publish, monitor"),
        (TOKENS.replace('["monitor"]', "[]"), "roles: expected at least one"),
        (TOKENS + "max_sessions = 0", r"tokens\[0\]: max_sessions is 0"),
        (TOKENS + "stream = 'a'", "did you mean 'streams'"),
        (TOKENS + TOKENS, "tokens: expected distinct names"),
        (TOKENS + TOKENS.replace("desk", "other"), "tokens: two have the same sha256"),
        ("[[alerts]]\nname = 'a'", r"alerts\[0\]: emotions is missing"),
        (ALERT + "above = 1.5\nfor_s = 1", r"alerts\[0\]: above is 1.5: expected more than 0"),
        (ALERT + "above = 'hi'\nfor_s = 1", "above is 'hi': expected a number"),
        (ALERT + "above = 0.5\nfors = 1", r"alerts\[0\]: unknown setting 'fors'; .* 'for_s'"),
        (2 * (ALERT + "above = 0.5\nfor_s = 1\n"), "alerts: expected distinct names"),
        ("[webhook]\nurl = 'https://a'", "webhook: secret_file is missing"),
        (webhook("ftp://hush"), "webhook: url: expected an address such as https://"),
        (webhook("https://"), "webhook: url: expected an address"),
        (webhook("https://hush:x"), "webhook: url: expected an address"),
        (webhook("https://[hush"), "webhook: url: expected an address"),
        (webhook("https://a/hush b"), "webhook: url: expected no spaces"),
        (webhook("https://a/#hush"), "webhook: url: expected no spaces"),
        (webhook("https://me:hush@a"), "webhook: url: expected no user and no password"),
        (webhook("http://a/hush"), "webhook: url: http://.*insecure = true"),
        (
            webhook("https://a") + "max_attempts = 0",
            "webhook: max_attempts is 0: expected 1 to 100",
        ),
        (webhook("https://a") + "timeout_s = nan", "webhook: timeout_s is nan"),
        ("port = ", "not TOML"),
        ("bus = 'redis://:hush@h'", "bus_password_file"),
        ("# " + "x" * (1 << 20), "expected at most"),
    ],
)
def test_a_wrong_line_of_the_file_is_named_without_its_secrets(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        load({}, {}, write(tmp_path, text))
    assert "hush" not in str(refused.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"/nowhere\.toml: cannot be read \(No such"):
        load({}, {}, Path("/nowhere.toml"))


def test_a_misspelt_variable_is_named_and_others_variables_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    load({}, {"EMOTION_PROT": "1", "EMOTION_CI": "1", "EMOTION_MONITOR_SERVICE_HOST": "x"})
    (line,) = caplog.messages
    assert line == "EMOTION_PROT is not a setting: did you mean EMOTION_PORT?"


def test_beyond_this_machine_it_takes_tokens_or_a_word() -> None:
    token = Token(name="a", sha256=HASH, roles=("publish",))
    assert Config(host="0.0.0.0", tokens=(token,)).guarded
    assert Config(host="0.0.0.0", insecure=True).insecure
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert is_loopback(host) and Config(host=host)
    for host in ("", "0.0.0.0", "::", "10.0.0.1", "::ffff:1.2.3.4", "localhost.evil", "*"):
        assert not is_loopback(host)


def test_secrets_are_read_from_their_files_only(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("hush\r\n")
    assert Twilio(auth_token_file=tmp_path / "s").auth_token() == "hush"
    assert Audiohook(client_secret_file=tmp_path / "s").client_secret() == "hush"
    assert Config(bus_password_file=tmp_path / "s").bus_password() == "hush"
    assert Twilio().auth_token() is Audiohook().client_secret() is Config().bus_password() is None
    with pytest.raises(ConfigurationError, match=r"twilio\.auth_token_file: .*no: cannot be read"):
        Twilio(auth_token_file=tmp_path / "no").auth_token()


def test_addresses_of_ipv6_are_bracketed() -> None:
    assert url("::1", 80) == "ws://[::1]:80" and url("localhost", 80) == "ws://localhost:80"
    assert url("h", 1, "wss") == "wss://h:1"


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"idle_timeout_s is 0: expected 0\.01"):
        Config(idle_timeout_s=0)
