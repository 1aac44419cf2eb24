"""A picture of a recording: what is drawn, and where. `paint_svg` and `paint_png` draw it.

Each channel has a band, the eight probabilities stacked, and below it a strip with the smoothed emotion,
named by colour and letter. The picture is made of boxes and texts only, so that two painters of a few
lines give the same one: SVG without a library, PNG by Pillow. (matplotlib would bring 70 MB more.)
"""

from dataclasses import dataclass
from typing import Final, Literal

from clients.analyze.course import Course, Lane
from clients.analyze.rows import ChannelSummary, Summary
from clients.palette import SIGNS
from emotion.labels import EMOTIONS

WIDTH: Final = 960
LEFT: Final = 96  # channels' names
RIGHT: Final = 24
TOP: Final = 66
BAND: Final = 104
STRIP: Final = 24
LANE: Final = BAND + STRIP + 30
AXIS: Final = 26
LEGEND: Final = 62
LETTER: Final = 8  # px, about, of the texts in the strip
TICKS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)
MOST_TICKS: Final = 10
MAX_NAME: Final = 12
MAX_TITLE: Final = 64

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Box:
    """A filled rectangle in px; `role` names its colour, `title` is for a pointer that rests on it."""

    x: float
    y: float
    width: float
    height: float
    role: str
    title: str = ""


@dataclass(frozen=True)
class Text:
    """A line of text whose baseline is at y."""

    x: float
    y: float
    text: str
    role: str = "ink"
    size: int = 13
    anchor: Anchor = "start"
    bold: bool = False


@dataclass(frozen=True)
class Picture:
    """Boxes, later ones over earlier ones, and texts over all of them."""

    width: int
    height: int
    title: str
    boxes: list[Box]
    texts: list[Text]


def draw(name: str, summary: Summary, course: Course) -> Picture:
    """The picture of a recording.

    Args:
        name: of the recording.
        summary: of it.
        course: all of its windows.
    """
    channels = summary.channels
    height = TOP + LANE * len(channels) + AXIS + LEGEND
    picture = Picture(WIDTH, height, title_of(name, summary), [], [])
    title = name if len(name) <= MAX_TITLE else "…" + name[1 - MAX_TITLE :]
    subtitle = f"{length(summary.duration_s)}  ·  {said(summary)}"
    picture.texts.append(Text(LEFT, 28, title, size=18, bold=True))
    picture.texts.append(Text(LEFT, 48, subtitle, "soft"))
    scale = (WIDTH - LEFT - RIGHT) / max(summary.duration_s, course.step_s)
    bottom = TOP + LANE * len(channels)
    _ticks(picture, summary.duration_s, scale, bottom)
    for index, channel in enumerate(channels):
        lane = course.lanes[channel.channel]
        _lane(picture, channel, lane, TOP + LANE * index, course.step_s * scale, course.step_s)
    _legend(picture, channels, bottom + AXIS)
    return picture


def title_of(name: str, summary: Summary) -> str:
    """The picture in a sentence, for whoever does not see it."""
    return f"{name}, {length(summary.duration_s)}: {said(summary)}"


def said(summary: Summary) -> str:
    """What dominates each channel."""
    parts = list[str]()
    for channel in summary.channels:
        whose = f"{channel.channel}: " if len(summary.channels) > 1 else ""
        share = channel.speech_share
        speech = "" if share is None else f", {share:.0%} speech"
        mostly = f"mostly {channel.dominant}" if channel.dominant else "nothing judged"
        parts.append(f"{whose}{mostly}{speech}")
    return "  ·  ".join(parts)


def length(seconds: float) -> str:
    """Seconds as a duration: with a tenth below a minute."""
    return f"{seconds:.1f} s" if seconds < 59.95 else clock(seconds)


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _lane(
    picture: Picture, channel: ChannelSummary, lane: Lane, y: float, step: float, step_s: float
) -> None:
    name = channel.channel
    if len(name) > MAX_NAME:
        name = name[: MAX_NAME - 1] + "…"
    picture.texts.append(Text(LEFT - 12, y + BAND / 2 + 5, name, anchor="end", bold=True))
    end = WIDTH - RIGHT
    shares = lane.shares
    for index in range(len(shares)):
        if not lane.seen[index]:
            continue
        x, top = LEFT + index * step, y + BAND
        width = min(step, end - x)
        if not shares[index].any():
            picture.boxes.append(Box(x, y, width, BAND, "silence"))
        for label, share in zip(EMOTIONS, shares[index], strict=True):
            top -= BAND * float(share)
            picture.boxes.append(Box(x, top, width, BAND * float(share), label))
    _strip(picture, lane, y + BAND + 4, step, step_s)


def _strip(picture: Picture, lane: Lane, y: float, step: float, step_s: float) -> None:
    for first, last, label in lane.runs():
        x = LEFT + first * step
        width = min((last - first) * step, WIDTH - RIGHT - x)
        times = f"{clock(first * step_s)} to {clock(last * step_s)}: {label or 'silence'}"
        picture.boxes.append(Box(x, y, width, STRIP, label or "silence", times))
        if text := _fitting(label, width):
            role = f"on-{label}" if label else "soft"
            middle = x + width / 2
            picture.texts.append(Text(middle, y + STRIP / 2 + 5, text, role, anchor="middle"))


def _fitting(label: str | None, width: float) -> str:
    """What there is room for: the name, the letter, or nothing."""
    name = label or "silence"
    if width >= LETTER * len(name) + 8:
        return name
    return SIGNS[label] if label and width >= LETTER + 2 else ""


def _ticks(picture: Picture, duration_s: float, scale: float, bottom: float) -> None:
    step_s = next((s for s in TICKS_S if duration_s / s <= MOST_TICKS), TICKS_S[-1])
    while duration_s / step_s > MOST_TICKS:
        step_s *= 2
    for number in range(int(duration_s / step_s) + 1):
        x = LEFT + number * step_s * scale
        picture.boxes.append(Box(x, TOP - 6, 1, bottom - TOP, "line"))
        text = clock(number * step_s)
        picture.texts.append(Text(x, bottom - 2, text, "soft", 12, "middle"))


def _legend(picture: Picture, channels: tuple[ChannelSummary, ...], y: float) -> None:
    """What the colours mean; with one channel, each emotion's mean probability too."""
    column = (WIDTH - LEFT - RIGHT) / 4
    means = channels[0].probabilities if len(channels) == 1 else None
    for index, label in enumerate(EMOTIONS):
        x, top = LEFT + column * (index % 4), y + 26 * (index // 4)
        picture.boxes.append(Box(x, top, 18, 18, label))
        picture.texts.append(Text(x + 9, top + 14, SIGNS[label], f"on-{label}", 12, "middle"))
        share = f"  {means[label]:.0%}" if means else ""
        picture.texts.append(Text(x + 26, top + 14, f"{label}{share}"))
