"""The microphone, to a server and without one; no machine of CI has any, so it is a fake one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from clients import microphone
from clients.errors import MicrophoneError
from clients.microphone import Microphone, open_microphone
from tests.clients.conftest import Ran
from tests.clients.microphones import FakeSounddevice

Client = Callable[..., Ran]
Wav = Callable[..., Path]
SECONDS = 4.7


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeSounddevice]:
    """Plugs in a microphone that plays these samples."""

    def put(samples: np.ndarray, *arguments: Any, **options: Any) -> FakeSounddevice:
        module = FakeSounddevice(samples, *arguments, **options)
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        return module

    return put


Plug = Callable[..., FakeSounddevice]


def pcm(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16")[0]


def events(ran: Ran) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.err
    found = [m for m in ran.messages if m["type"] in ("emotion", "silence")]
    for event in found:
        for name in ("id", "stream_id", "latency_ms"):
            del event[name]
    return found


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_a_microphone_gives_the_events_of_a_recording_of_the_same(
    client: Client, plug: Plug, model_folder: Path, wav: Wav, rate: int
) -> None:
    path = wav(SECONDS, rate=rate, speech=True)
    module = plug(pcm(path), rate)
    near = client("local", "--model", model_folder, "--seconds", SECONDS)
    assert module.opened[0]["samplerate"] == rate
    file = client("local", path, "--model", model_folder)
    assert events(near) == events(file)
    assert near.messages[-1]["type"] == "summary"
    assert near.messages[-1]["audio_s"] == SECONDS


def test_a_server_hears_the_microphone_as_it_hears_the_recording(
    client: Client, plug: Plug, server: str, wav: Wav
) -> None:
    path = wav(SECONDS, speech=True)
    plug(pcm(path))
    spoken = client("mic", "--url", server, "--seconds", SECONDS)
    sent = client("file", path, "--url", server, "--speed", "max")
    assert len(events(spoken)) == len(events(sent)) == 5
    for ours, theirs in zip(events(spoken), events(sent), strict=True):
        assert ours["type"] == theirs["type"] and ours["end_s"] == theirs["end_s"]
        assert ours.get("label") == theirs.get("label")


@pytest.mark.parametrize(
    ("own", "takes", "expected"),
    [
        (96_000, (96_000, 48_000), 48_000),
        (192_000, (192_000, 16_000), 16_000),
        (4_000, (4_000, 16_000), 16_000),
    ],
)
def test_a_rate_that_no_stream_has_is_not_asked_of_the_device(
    plug: Plug, own: int, takes: tuple[int, ...], expected: int
) -> None:
    module = plug(np.ones(100, np.int16), own, takes=takes)
    with open_microphone() as open_one:
        assert open_one.sample_rate == module.opened[0]["samplerate"] == expected


def test_a_device_that_insists_on_two_channels_is_mixed_down(plug: Plug) -> None:
    samples = np.arange(1_600, dtype=np.int16)
    plug(samples, width=2)
    with open_microphone(seconds=0.1) as open_one:
        assert b"".join(open_one.portions()) == samples.tobytes()


@pytest.mark.parametrize("command", ["mic", "local"])
def test_ctrl_c_ends_with_the_summary(
    client: Client, plug: Plug, server: str, model_folder: Path, command: str
) -> None:
    plug(np.ones(32_000, np.int16), then="ctrl-c")
    where = ("--url", server) if command == "mic" else ("--model", model_folder)
    ran = client(command, *where)
    assert ran.code == 0, ran.err
    assert ran.messages[-1]["type"] == "summary"


def test_one_that_is_unplugged_is_one_line(client: Client, plug: Plug, model_folder: Path) -> None:
    plug(np.ones(3_200, np.int16), then="gone")
    ran = client("local", "--model", model_folder)
    assert ran.code == 2
    assert "USB microphone has gone" in ran.error and "--device" in ran.error


def test_one_that_falls_silent_for_good_is_one_line(
    client: Client, plug: Plug, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "STALLED_S", 0.1)
    plug(np.ones(3_200, np.int16))
    ran = client("mic", "--url", server)
    assert ran.code == 2
    assert "gives no audio for 0.1 s" in ran.error


def test_a_machine_without_one_is_one_line(client: Client, plug: Plug) -> None:
    plug(np.zeros(0, np.int16)).devices.clear()
    for arguments in (("mic",), ("local",), ("mic", "--list-devices")):
        ran = client(*arguments)
        assert ran.code == 2
        assert "no microphone" in ran.error


def test_one_that_may_not_be_used_is_one_line(client: Client, plug: Plug) -> None:
    module = plug(np.zeros(0, np.int16))

    def refuse(**_: object) -> None:
        raise module.PortAudioError("Device unavailable [PaErrorCode -9985]")

    module.RawInputStream = refuse  # type: ignore[method-assign, assignment]
    ran = client("mic")
    assert ran.code == 2
    assert "Device unavailable" in ran.error and "allow this program" in ran.error


def test_devices_are_listed_and_chosen_by_number_or_name(client: Client, plug: Plug) -> None:
    module = plug(np.ones(1_600, np.int16))
    module.devices.append(module.device(2, "Headset", inputs=2))
    ran = client("mic", "--list-devices")
    assert ran.code == 0
    assert [line.split()[:3] for line in ran.out.splitlines()] == [
        ["*", "1", "USB"],
        ["2", "Headset", "(16,000"],
    ]
    for wanted in ("2", "Head"):
        with open_microphone(wanted) as chosen:
            assert chosen.name == "Headset"
    with pytest.raises(MicrophoneError, match=r"device Tape: no such.*--list-devices"):
        with open_microphone("Tape"):
            pass


@pytest.mark.parametrize("missing", ["sounddevice", "PortAudio"])
def test_without_its_library_one_line_says_what_to_install(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    if missing == "sounddevice":
        monkeypatch.setitem(sys.modules, "sounddevice", None)
    else:
        (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    ran = client("mic")
    assert ran.code == 2
    assert f"{missing} is not installed" in ran.error
    assert "libportaudio2" in ran.error
    assert ("'.[mic]'" in ran.error) == (missing == "sounddevice")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_time_that_is_none_is_refused(client: Client, plug: Plug, seconds: str) -> None:
    plug(np.zeros(0, np.int16))
    ran = client("mic", "--seconds", seconds)
    assert ran.code == 2 and "seconds" in ran.error


def test_what_only_a_recording_has_is_refused(client: Client, plug: Plug) -> None:
    plug(np.zeros(0, np.int16))
    ran = client("local", "--channels", "customer,agent")
    assert ran.code == 2 and "--channels" in ran.error


def test_nobody_who_listens_costs_the_oldest_audio_and_no_memory() -> None:
    told: list[str] = []
    slow = Microphone("m", 16_000, None, told.append)
    for number in range(1_000):
        slow.hear(bytes([number % 256 or 1]) * 3_200, False)
    kept = list(slow.waiting())
    assert len(kept) == 200
    assert kept[-1].pcm[0] == 999 % 256
    assert len(told) == 1 and "too slow" in told[0]


def test_nothing_but_zeros_is_told_once_and_a_quiet_room_is_not() -> None:
    for level, count in ((0, 1), (1, 0)):
        told: list[str] = []
        muted = Microphone("m", 16_000, None, told.append)
        for _ in range(100):
            muted.hear(bytes([level]) * 3_200, False)
        assert len(list(muted.waiting())) == 100
        assert len(told) == count
