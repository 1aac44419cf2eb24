"""A picture as PNG, by Pillow, which the extra `png` brings."""

from pathlib import Path
from typing import Final

from clients.analyze.timeline import Picture
from clients.palette import on, palette
from emotion.errors import ConfigurationError
from emotion.labels import EMOTIONS
from emotion.package import install_line

SCALE: Final = 2  # px of the file for one of the picture: sharp on today's screens
ANCHORS: Final = {"start": "ls", "middle": "ms", "end": "rs"}  # Pillow's, at the baseline


def check_png() -> None:
    """
    Raises:
        ConfigurationError: there is no Pillow.
    """
    try:
        from PIL import ImageFont

        ImageFont.load_default(12)
    except ImportError as error:
        raise ConfigurationError(
            f"timeline format png: Pillow is not installed; {install_line('png')} brings it, "
            "or take svg or html"
        ) from error


def paint_png(picture: Picture, path: Path) -> None:
    """Draws the picture, in its light colours."""
    from PIL import Image, ImageDraw, ImageFont

    colours = palette() | {f"on-{label}": on(palette()[label]) for label in EMOTIONS}
    size = (picture.width * SCALE, picture.height * SCALE)
    image = Image.new("RGB", size, colours["ground"])
    drawing = ImageDraw.Draw(image)
    for box in picture.boxes:
        left, top = round(box.x * SCALE), round(box.y * SCALE)
        right, bottom = round((box.x + box.width) * SCALE), round((box.y + box.height) * SCALE)
        if right > left and bottom > top:  # Pillow draws the last pixel too
            drawing.rectangle((left, top, right - 1, bottom - 1), fill=colours[box.role])
    for text in picture.texts:
        place = (text.x * SCALE, text.y * SCALE)
        font = ImageFont.load_default(text.size * SCALE)
        weight = 0.6 if text.bold else 0.0  # the font that Pillow carries has one weight
        drawing.text(
            place,
            text.text,
            fill=colours[text.role],
            font=font,
            anchor=ANCHORS[text.anchor],
            stroke_width=weight,
        )
    image.save(path, "PNG", optimize=False)
