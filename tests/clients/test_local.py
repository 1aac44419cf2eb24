"""Judging without a server: the same as with one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Ran
from tests.fakes import write_model

Client = Callable[..., Ran]
Wav = Callable[..., Path]


def events(ran: Ran) -> list[dict[str, Any]]:
    assert (ran.code, ran.err.count("error")) == (0, 0), ran.err
    return [message for message in ran.messages if message["type"] in ("emotion", "silence")]


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--no-vad",
        "--no-vad --no-adapt --window 2 --hop 0.25",
        "--no-vad --adapt --hop 0.25",
        "--no-vad --channels customer,right --analyze right,customer",
    ],
)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_file_and_local_print_the_same(
    client: Client, server: str, model_folder: Path, wav: Wav, options: str, rate: int
) -> None:
    path = wav(4.7, rate=rate, channels=2, speech=True)
    far = client("file", path, "--url", server, "--speed", "max", *options.split())
    near = client("local", path, "--model", model_folder, *options.split())
    assert len(events(far)) == len(events(near)) >= 5
    assert "emotion" in {event["type"] for event in events(near)}
    for ours, theirs in zip(events(near), events(far), strict=True):
        for name in ("id", "stream_id", "latency_ms"):
            del ours[name], theirs[name]
        assert list(ours) == list(theirs)
        for kind in ("probabilities", "smoothed"):
            mine, other = ours.pop(kind, {}), theirs.pop(kind, {})
            if kind == "smoothed" and mine:
                assert mine["label"] == other["label"]
                mine, other = mine["probabilities"], other["probabilities"]
            assert mine == pytest.approx(other, abs=1e-5)
        assert ours.pop("confidence", 0) == pytest.approx(theirs.pop("confidence", 0), abs=1e-5)
        assert ours == theirs
    ours, theirs = near.messages[-1], far.messages[-1]
    for name in ("id", "session_id", "stream_id"):
        del ours[name], theirs[name]
    assert ours == theirs


def test_a_model_that_cannot_adapt_judges_all_but_who_insists(
    client: Client, wav: Wav, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "fixed", classifier=False)
    path = wav(2.5)
    for options in ((), ("--no-adapt",)):
        ran = client("local", path, "--model", model, "--no-vad", *options)
        assert (ran.code, ran.err, ran.messages[0]["adapt"]) == (0, "", False)
        assert {event["adapted_s"] for event in events(ran)} == {0}
    ran = client("local", path, "--model", model, "--adapt")
    assert ran.code == 2 and "the model 'fake' cannot adapt" in ran.error


def test_every_message_is_one_line_from_started_to_summary(
    client: Client, model_folder: Path, wav: Wav
) -> None:
    ran = client("local", wav(2.5), "--model", model_folder, "--no-vad")
    assert ran.code == 0
    types = [message["type"] for message in ran.messages]
    assert types == ["started", "emotion", "emotion", "emotion", "summary"]


def test_noise_is_silence_to_voice_activity(client: Client, model_folder: Path, wav: Wav) -> None:
    ran = client("local", wav(2.5), "--model", model_folder)
    assert {event["type"] for event in events(ran)} == {"silence"}
    assert ran.messages[-1]["dominant"] == {"mono": None}


def test_a_missing_model_is_one_line(client: Client, tmp_path: Path, wav: Wav) -> None:
    ran = client("local", wav(), "--model", tmp_path)
    assert ran.code == 2
    assert "monitor.onnx" in ran.error


def test_a_missing_file_is_one_line(client: Client, tmp_path: Path) -> None:
    ran = client("local", tmp_path / "none.wav")
    assert ran.code == 2
    assert "no such file" in ran.error


def test_a_wrong_option_is_one_line(client: Client) -> None:
    ran = client("local", "a.wav", "--loud")
    assert ran.code == 2
    assert "--loud" in ran.error


def test_help_names_the_commands(client: Client) -> None:
    ran = client("--help")
    assert ran.code == 0
    assert "file" in ran.out and "local" in ran.out
