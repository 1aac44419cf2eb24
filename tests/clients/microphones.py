"""A module `sounddevice` without a sound card: its microphone plays samples."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt


class PortAudioError(Exception):
    """What sounddevice raises."""


class FakeSounddevice(ModuleType):
    """Stands in for sounddevice.

    Args:
        samples: int16 [n], what the microphone plays, as fast as it can.
        rate: the device's own.
        takes: the rates that it can be opened with; its own where None.
        width: the channels that it insists on.
        then: what happens after the last sample: `quiet` (nothing comes any more), `gone`, `ctrl-c`.
    """

    PortAudioError = PortAudioError

    def __init__(
        self,
        samples: npt.NDArray[np.int16],
        rate: int = 16_000,
        *,
        takes: tuple[int, ...] | None = None,
        width: int = 1,
        then: str = "quiet",
    ) -> None:
        super().__init__("sounddevice")
        self.samples, self.rate, self.width, self.then = samples, rate, width, then
        self.takes = takes or (rate,)
        self.opened: list[dict[str, Any]] = []
        self.devices: list[dict[str, Any]] = [
            self.device(0, "Speakers", inputs=0),
            self.device(1, "USB microphone", inputs=max(2, width)),
        ]

    def device(self, index: int, name: str, inputs: int) -> dict[str, Any]:
        fields = {"index": index, "name": name, "max_input_channels": inputs}
        return fields | {"default_samplerate": float(self.rate)}

    def query_devices(self, device: int | str | None = None, kind: str | None = None) -> Any:
        if kind is None:
            return self.devices
        inputs = [info for info in self.devices if info["max_input_channels"]]
        if device is None:
            if not inputs:
                raise PortAudioError("Error querying device -1")
            return inputs[0]
        for info in inputs:
            if device in (info["index"], info["name"]) or str(device) in info["name"]:
                return info
        raise ValueError(f"No input device matching {device!r}")

    def check_input_settings(self, *, channels: int, samplerate: int, **_: object) -> None:
        if samplerate not in self.takes:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")
        if channels != self.width:
            raise PortAudioError("Invalid number of channels [PaErrorCode -9998]")

    def RawInputStream(self, **options: Any) -> "_Stream":
        self.opened.append(options)
        return _Stream(self, options)


class _Stream:
    def __init__(self, module: FakeSounddevice, options: dict[str, Any]) -> None:
        self._module, self._options = module, options
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> "_Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _play(self) -> None:
        module, size = self._module, self._options["blocksize"]
        hear: Callable[..., None] = self._options["callback"]
        wide = np.repeat(module.samples[:, np.newaxis], module.width, axis=1)
        for first in range(0, len(wide), size):
            block = wide[first : first + size]
            hear(block.tobytes(), len(block), None, SimpleNamespace(input_overflow=False))
        if module.then == "gone":
            self._options["finished_callback"]()
        if module.then == "ctrl-c":
            self._wait_until_heard()
            os.kill(os.getpid(), signal.SIGINT)

    def _wait_until_heard(self) -> None:
        """Until somebody listens, and so is ready for Ctrl-C."""
        microphone = self._options["finished_callback"].__self__
        for _ in range(2_000):
            if microphone._heard.empty():
                return
            time.sleep(0.01)
