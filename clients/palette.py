"""The colours and signs of the pages, for pictures: `browser/theme.css` is where they stand."""

import functools
import re
from importlib import resources
from typing import Final

from emotion.labels import EMOTIONS

SIGNS: Final = dict(zip(EMOTIONS, "NCHSAFD!", strict=True))
"""A letter each, as in `browser/emotions.js`: colour is never the only sign."""

_BLOCK: Final = re.compile(r"\{([^{}]*)\}")
_COLOUR: Final = re.compile(r"--([a-z]+):\s*(#[0-9a-fA-F]{6})\s*;")


@functools.cache
def palette(dark: bool = False) -> dict[str, str]:
    """The colours by name, as #rrggbb: the emotions', and `ground`, `ink`, `soft`, `line`, `silence`."""
    text = (resources.files("clients") / "browser" / "theme.css").read_text(encoding="utf-8")
    light, _, rest = text.partition("prefers-color-scheme: dark")
    colours: dict[str, str] = {}
    for part in (light, rest) if dark else (light,):
        block = next(b for b in _BLOCK.findall(part) if "--ground" in b)
        colours |= dict(_COLOUR.findall(block))
    return colours


def on(colour: str) -> str:
    """Black or white, whichever is read better on a colour (WCAG 2's relative luminance)."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"
