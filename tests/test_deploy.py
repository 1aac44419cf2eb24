"""What lies under deploy/ fits what the server reads, serves and counts."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from emotion.alerts import Rule
from stream_server.config import Config
from stream_server.metrics import PREFIX, Metrics
from stream_server.settings import TABLES, load
from stream_server.tables import Audiohook, Jwt, Token, Twilio, Webhook

DEPLOY = Path(__file__).parents[1] / "deploy"
SETTING = re.compile(r"^# (?=\w+ = |\[)", re.MULTILINE)


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """The example with every comment mark before a setting taken away."""
    path = tmp_path / "server.toml"
    path.write_text(SETTING.sub("", (DEPLOY / "server.toml").read_text()))
    return path


def test_the_example_as_it_is_sets_nothing() -> None:
    assert load({}, {}, DEPLOY / "server.toml") == Config()


def test_the_example_can_be_read_with_everything_set(everything: Path) -> None:
    read = load({}, {}, everything)
    assert [token.name for token in read.tokens] == ["call-center", "dashboard"]
    assert read.jwt is not None and read.audiohook.api_key and read.twilio.auth_token_file
    assert [rule.name for rule in read.alerts] == ["shouting", "low spirits"]
    assert read.webhook is not None and read.webhook.timeout_s == 15
    assert read.tls_cert == everything.parent / "fullchain.pem"


def test_the_example_has_every_setting_and_shows_its_default(everything: Path) -> None:
    read, text = load({}, {}, everything), everything.read_text()
    head, tables = text.split("# --- tables")
    for item in dataclasses.fields(Config):
        if item.name not in TABLES:
            assert re.search(rf"^{item.name} = ", head, re.MULTILINE), item.name
            if item.default not in (None, ()):
                assert getattr(read, item.name) == item.default, item.name
    for kind in (Token, Jwt, Twilio, Audiohook, Rule, Webhook):
        for item in dataclasses.fields(kind):
            if item.name != "public_key_file":  # instead of secret_file
                assert re.search(rf"^{item.name} = ", tables, re.MULTILINE), item.name


def expressions(node: Any) -> list[str]:
    """All that a dashboard asks Prometheus for."""
    if isinstance(node, list):
        return [text for item in node for text in expressions(item)]
    if not isinstance(node, dict):
        return []
    own = [node[key] for key in ("expr", "query") if isinstance(node.get(key), str)]
    return own + [text for item in node.values() for text in expressions(item)]


def test_the_dashboard_asks_for_metrics_that_exist_and_shows_them_all() -> None:
    metrics = Metrics()
    metrics.rules(["shouting"])
    exposition = metrics.exposition().decode()
    served = {
        sample.name
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    } | {f"{PREFIX}_model_info"}
    asked = set()
    for text in expressions(json.loads((DEPLOY / "grafana-dashboard.json").read_text())):
        asked |= set(re.findall(r"\b(?:emotion_monitor|process)_\w+", text))
    assert asked <= served and len(asked) > 15
    ours = {name for name in served if name.startswith(PREFIX) and not name.endswith("_created")}
    roots = {re.sub("_(bucket|count|sum)$", "", name) for name in ours}
    assert {root for root in roots if not any(name.startswith(root) for name in asked)} == set()


def test_the_docker_file_says_that_it_is_untested() -> None:
    assert (DEPLOY / "Dockerfile").read_text().startswith("# UNTESTED")


def test_the_proxys_log_cannot_hold_a_token() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    (line,) = re.findall(r"^ *log_format .*$", text, re.MULTILINE)
    assert not re.search(r"\$(request|request_uri|args|query_string|http_\w+)\b", line)
    assert "access_log /var/log/nginx/emotion.log without_query;" in text
