"""The pages' colours: told apart by people who see colours in another way, and readable."""

import re
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from emotion.labels import EMOTIONS

THEME = Path(__file__).parents[3] / "clients" / "browser" / "theme.css"
DARK = "@media (prefers-color-scheme: dark)"
Colour = npt.NDArray[np.float64]

SEEN_BY: Final = {
    "everybody else": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
"""On linear RGB, severity 1.0: Machado, Oliveira and Fernandes 2009, "A Physiologically-based Model for
Simulation of Color Vision Deficiency" (doi:10.1109/TVCG.2009.113)."""
TO_LMS: Final = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB: Final = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
"""Oklab: B. Ottosson 2020, "A perceptual color space for image processing"."""
APART: Final = 0.085
"""Oklab distance of two colours that stand side by side; about 0.02 is just noticeable."""


def theme(dark: bool) -> dict[str, Colour]:
    """The colours in effect, as linear RGB."""
    light, _, rest = THEME.read_text().partition(DARK)
    block = rest.partition("\n}")[0]
    found = re.findall(r"--(\w+): (#[0-9a-f]{6});", light + (block if dark else ""))
    return {name: _linear(text) for name, text in found}


def _linear(text: str) -> Colour:
    values = np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear: Colour = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear


def oklab(linear: Colour) -> Colour:
    lab: Colour = TO_LAB @ np.cbrt(TO_LMS @ np.clip(linear, 0, 1))
    return lab


def contrast(one: Colour, other: Colour) -> float:
    """As WCAG 2 defines it, from 1 to 21."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    low, high = sorted((float(weights @ one), float(weights @ other)))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture(params=[False, True], ids=["light", "dark"])
def colours(request: pytest.FixtureRequest) -> dict[str, Colour]:
    return theme(request.param)


def test_the_dark_theme_names_every_colour_anew() -> None:
    light, dark = theme(False), theme(True)
    assert set(light) == set(dark) and set(EMOTIONS) < set(light)
    assert all((light[name] != dark[name]).any() for name in light)


@pytest.mark.parametrize("who", SEEN_BY)
def test_each_two_emotions_can_be_told_apart_by(who: str, colours: dict[str, Colour]) -> None:
    seen = {name: oklab(SEEN_BY[who] @ colours[name]) for name in EMOTIONS}
    distances = {(a, b): float(np.linalg.norm(seen[a] - seen[b])) for a, b in combinations(seen, 2)}
    closest = min(distances, key=distances.__getitem__)
    assert distances[closest] >= APART, (closest, distances[closest])


def test_a_simulation_makes_red_and_green_alike() -> None:
    red, green = _linear("#b05a3c"), _linear("#7a7a30")
    matrix = SEEN_BY["deuteranopia"]
    near = np.linalg.norm(oklab(matrix @ red) - oklab(matrix @ green))
    assert near < 0.5 * np.linalg.norm(oklab(red) - oklab(green))


@pytest.mark.parametrize("ground", ["ground", "raised"])
def test_graphics_stand_out_and_text_can_be_read(ground: str, colours: dict[str, Colour]) -> None:
    for name in EMOTIONS:
        assert contrast(colours[name], colours[ground]) >= 3, name
    for name in ("ink", "soft", "accent", "alarm", "good"):
        assert contrast(colours[name], colours[ground]) >= 4.5, name


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_text_can_be_read_on_the_tint_of_an_emotion(
    emotion: str, colours: dict[str, Colour]
) -> None:
    tint = _mixed(colours[emotion], colours["raised"], 0.09)
    assert contrast(colours["ink"], tint) >= 4.5 and contrast(colours["soft"], tint) >= 4.5


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    """As `color-mix(in srgb, ...)` does it: between the encoded values."""
    encoded = share * _encoded(one) + (1 - share) * _encoded(other)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _encoded(linear: Colour) -> Colour:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
