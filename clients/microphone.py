"""A microphone of this machine -> PCM as it is streamed: 16 bits, one channel, in portions.

`sounddevice` (the extra `mic`) reaches it through PortAudio. The device is opened at its own rate where
a stream may have it, so nothing is resampled twice. What the device gives is kept for some seconds;
whoever does not take it in time loses the oldest, and is told.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np

from clients.errors import MicrophoneError
from emotion.audio import MAX_RATE, MIN_RATE
from emotion.contract import SAMPLE_RATE
from emotion.package import install_line

PORTION_S: Final = 0.1
KEPT_S: Final = 20.0
"""Of audio that waits for whoever takes it."""
STALLED_S: Final = 4.0
"""Without audio, after which the device counts as gone."""
WAIT_S: Final = 0.25  # at most, until it is noticed that somebody wants to stop
MUTE_S: Final = 4.0
"""Of nothing but zeros from the start on, after which something is wrong: a room is never so quiet."""
PORTAUDIO: Final = "apt install libportaudio2"


class Portion(NamedTuple):
    """What was heard: pcm_s16le, and when its last sample was there, by `time.monotonic`."""

    pcm: bytes
    at: float


class Microphone:
    """A microphone that is open; made by `open_microphone`.

    Args:
        name: of the device.
        sample_rate: Hz of what comes.
        seconds: to listen for; None for until `stop`.
        notice: told in one line what is wrong and does not end it.
    """

    def __init__(
        self, name: str, sample_rate: int, seconds: float | None, notice: Callable[[str], None]
    ) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self._notice = notice
        self._left = None if seconds is None else round(seconds * sample_rate) * 2  # bytes
        self._heard: queue.Queue[Portion | None] = queue.Queue(round(KEPT_S / PORTION_S))
        self._stopped = threading.Event()
        self._lost = 0
        self._zeros: int | None = 0  # bytes of nothing but zeros from the start on

    # --- in the device's thread ---

    def hear(self, data: bytes, overflowed: bool) -> None:
        """The device has given this; must not wait."""
        self._lost += overflowed
        portion = Portion(data, time.monotonic())
        try:
            self._heard.put_nowait(portion)
        except queue.Full:
            self._lost += 1
            self._drop_oldest()
            self._put(portion)

    def gone(self) -> None:
        """The device gives no more."""
        if self._heard.full():
            self._drop_oldest()
        self._put(None)

    def _drop_oldest(self) -> None:
        try:
            self._heard.get_nowait()
        except queue.Empty:
            pass

    def _put(self, portion: Portion | None) -> None:
        try:
            self._heard.put_nowait(portion)
        except queue.Full:
            pass

    # --- for whoever listens ---

    def stop(self) -> None:
        """Ends the portions; may be called from anywhere."""
        self._stopped.set()

    def portions(self) -> Iterator[bytes]:
        """What is heard, until `stop` or the time is over.

        Raises:
            MicrophoneError: the device is gone.
        """
        while (portion := self.next()) is not None:
            yield portion.pcm

    def next(self) -> Portion | None:
        """Waits for the next portion; None at the end.

        Raises:
            MicrophoneError: the device is gone.
        """
        waited_from = time.monotonic()
        while not self._stopped.is_set():
            try:
                portion = self._heard.get(timeout=WAIT_S)
            except queue.Empty:
                if time.monotonic() - waited_from > STALLED_S:
                    raise self._away(f"gives no audio for {STALLED_S:g} s") from None
                continue
            if portion is None:
                raise self._away("has gone")
            return self._taken(portion)
        return None

    def waiting(self) -> Iterator[Portion]:
        """What is there already, without waiting."""
        while not self._stopped.is_set():
            try:
                portion = self._heard.get_nowait()
            except queue.Empty:
                return
            if portion is None:
                self._put(None)  # for `next` to say so
                return
            yield self._taken(portion)

    def _taken(self, portion: Portion) -> Portion:
        self._tell(portion.pcm)
        if self._left is None:
            return portion
        pcm = portion.pcm[: self._left]
        self._left -= len(pcm)
        if not self._left:
            self.stop()
        return Portion(pcm, portion.at)

    def _tell(self, pcm: bytes) -> None:
        if self._lost:
            self._notice("this machine is too slow for its microphone: some audio is lost")
            self._lost = 0
        if self._zeros is not None:
            self._zeros = None if any(pcm) else self._zeros + len(pcm)
        if self._zeros is not None and self._zeros >= MUTE_S * self.sample_rate * 2:
            self._zeros = None
            self._notice(
                f"{self.name} gives nothing but zeros: is it muted, or may this program not use it? "
                "(on macOS: System Settings, Privacy & Security, Microphone)"
            )

    def _away(self, what: str) -> MicrophoneError:
        return MicrophoneError(f"{self.name} {what}; plug it in again, or choose with --device")


@contextmanager
def open_microphone(
    device: str | None = None,
    *,
    seconds: float | None = None,
    notice: Callable[[str], None] = lambda text: None,
) -> Iterator[Microphone]:
    """Opens a microphone.

    Args:
        device: its number, or a part of its name; None for the system's.
        seconds: to listen for; None for until it is stopped.
        notice: told in one line what is wrong and does not end it.

    Raises:
        MicrophoneError: there is none, it may not be used, or sounddevice or PortAudio is missing.
    """
    if seconds is not None and not 0 < seconds < float("inf"):
        raise MicrophoneError(
            f"seconds {seconds:g}: expected more than 0, or none for until Ctrl-C"
        )
    sounddevice = _sounddevice()
    info = _chosen(sounddevice, device)
    rate, width = _setting(sounddevice, info)
    microphone = Microphone(str(info["name"]), rate, seconds, notice)

    def hear(data: Any, frames: int, when: object, status: Any) -> None:
        microphone.hear(_mono(bytes(data), width), bool(status.input_overflow))

    try:
        stream = sounddevice.RawInputStream(
            samplerate=rate,
            blocksize=round(PORTION_S * rate),
            device=info["index"],
            channels=width,
            dtype="int16",
            callback=hear,
            finished_callback=microphone.gone,
        )
        with stream:
            yield microphone
    except sounddevice.PortAudioError as error:
        raise MicrophoneError(_refused(microphone.name, error)) from error


def list_microphones() -> list[str]:
    """A line for each microphone: its number, name, and rate, the system's own marked by `*`.

    Raises:
        MicrophoneError: there is none, or sounddevice or PortAudio is missing.
    """
    sounddevice = _sounddevice()
    try:
        usual = sounddevice.query_devices(None, "input")["index"]
    except (sounddevice.PortAudioError, ValueError):
        usual = None
    inputs = [info for info in sounddevice.query_devices() if info["max_input_channels"] > 0]
    if not inputs:
        raise MicrophoneError(_none())
    return [
        f"{'*' if info['index'] == usual else ' '} {info['index']:3}  {info['name']}  "
        f"({info['default_samplerate']:,.0f} Hz)"
        for info in inputs
    ]


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise MicrophoneError(
            f"sounddevice is not installed: {install_line('mic')}; "
            f"on Debian and Ubuntu also: {PORTAUDIO}"
        ) from error
    except OSError as error:
        raise MicrophoneError(
            f"PortAudio is not installed: on Debian and Ubuntu {PORTAUDIO}"
        ) from error
    except Exception as error:  # PortAudio's own, of a module that could not be imported
        reason = " ".join(str(error).split())
        raise MicrophoneError(
            f"PortAudio cannot start ({reason}); is sound set up here?"
        ) from error
    return sounddevice


def _chosen(sounddevice: Any, device: str | None) -> dict[str, Any]:
    """The device that was asked for."""
    wanted = int(device) if device is not None and device.isdecimal() else device
    try:
        info: dict[str, Any] = sounddevice.query_devices(wanted, "input")
    except (sounddevice.PortAudioError, ValueError) as error:
        if device is None:
            raise MicrophoneError(_none()) from error
        reason = " ".join(str(error).split())
        raise MicrophoneError(
            f"device {device}: no such microphone ({reason}); --list-devices names them"
        ) from error
    return info


def _setting(sounddevice: Any, info: dict[str, Any]) -> tuple[int, int]:
    """The rate and the number of channels that the device is opened with.

    Its own rate where a stream may have it, else the next best that the device takes; one channel,
    else two, which some devices insist on.
    """
    own = round(info["default_samplerate"])
    rates = [own] if MIN_RATE <= own <= MAX_RATE else []
    rates += [rate for rate in (MAX_RATE, SAMPLE_RATE) if rate not in rates]
    widths = [1] if info["max_input_channels"] == 1 else [1, 2]
    error: Exception | None = None
    for rate in rates:
        for width in widths:
            try:
                sounddevice.check_input_settings(
                    device=info["index"], channels=width, dtype="int16", samplerate=rate
                )
                return rate, width
            except (sounddevice.PortAudioError, ValueError) as refusal:
                error = error or refusal  # the first one is about the device's own setting
    raise MicrophoneError(_refused(str(info["name"]), error)) from error


def _mono(data: bytes, width: int) -> bytes:
    if width == 1:
        return data
    samples = np.frombuffer(data, np.int16).reshape(-1, width)
    return bytes(samples.mean(axis=1).round().astype(np.int16))


def _none() -> str:
    return "no microphone: plug one in, or allow this program to use it; --list-devices names all"


def _refused(name: str, error: object) -> str:
    reason = " ".join(str(error).split())
    return (
        f"{name}: cannot be opened ({reason}); close what else uses it, allow this program to use the "
        "microphone, or choose another with --device"
    )
