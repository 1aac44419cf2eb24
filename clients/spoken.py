"""A microphone with what shows its emotions: what `mic` and `local` share."""

from collections.abc import Iterator
from contextlib import contextmanager

from clients.display import Display, displayed
from clients.microphone import Microphone, open_microphone


@contextmanager
def microphone_for(
    device: str | None, seconds: float | None, json: bool, lines: bool
) -> Iterator[tuple[Microphone, Display]]:
    """Opens a microphone, and a display for it: live at a terminal, JSON elsewhere.

    Args:
        device: as in `open_microphone`.
        seconds: likewise.
        json: whether JSON was asked for.
        lines: whether a line a window was asked for.

    Raises:
        MicrophoneError: as `open_microphone`.
    """
    said = list[Display]()  # notices come from the microphone, the display is named after it

    def notice(text: str) -> None:
        for display in said:
            display.notice(text)

    with open_microphone(device, seconds=seconds, notice=notice) as microphone:
        title = f"{microphone.name}, {microphone.sample_rate:,} Hz"
        with displayed(json, title, live=not lines) as display:
            said.append(display)
            try:
                yield microphone, display
            finally:
                microphone.stop()  # so that no thread waits for it any more
