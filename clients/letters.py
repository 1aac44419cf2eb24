"""Large letters for a terminal: five rows of dots each, two rows to a line of half blocks."""

from typing import Final

ROWS: Final = 6  # the last one empty, so that they make whole lines
_GLYPHS: Final = {
    "a": "010 101 111 101 101",
    "b": "110 101 110 101 110",
    "c": "011 100 100 100 011",
    "d": "110 101 101 101 110",
    "e": "111 100 110 100 111",
    "f": "111 100 110 100 100",
    "g": "0110 1000 1011 1001 0110",
    "h": "101 101 111 101 101",
    "i": "1 1 1 1 1",
    "j": "001 001 001 101 010",
    "k": "101 101 110 101 101",
    "l": "100 100 100 100 111",
    "m": "10001 11011 10101 10001 10001",
    "n": "1001 1101 1011 1001 1001",
    "o": "010 101 101 101 010",
    "p": "110 101 110 100 100",
    "q": "010 101 101 110 011",
    "r": "110 101 110 101 101",
    "s": "011 100 010 001 110",
    "t": "111 010 010 010 010",
    "u": "101 101 101 101 111",
    "v": "101 101 101 101 010",
    "w": "10001 10001 10101 11011 10001",
    "x": "101 101 010 101 101",
    "y": "101 101 010 010 010",
    "z": "111 001 010 100 111",
}
_BLANK: Final = "00 00 00 00 00"
_BLOCKS: Final = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}


def large(word: str) -> list[str]:
    """The word in three lines; what has no large letter leaves a gap."""
    dots = [""] * ROWS
    for letter in word.lower():
        rows = [*_GLYPHS.get(letter, _BLANK).split(), ""]
        for index, row in enumerate(rows):
            dots[index] += row.ljust(len(rows[0]), "0") + "0"
    return [
        "".join(_BLOCKS[upper == "1", lower == "1"] for upper, lower in zip(*pair, strict=True))
        for pair in zip(dots[::2], dots[1::2], strict=True)
    ]
