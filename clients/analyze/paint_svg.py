"""A picture as SVG, in light and dark, and a page around it: no script, nothing fetched."""

from collections import defaultdict
from html import escape
from typing import Final

from clients.analyze.rows import Summary
from clients.analyze.timeline import Box, Picture, length
from clients.palette import on, palette
from emotion.labels import EMOTIONS

FONT: Final = 'system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif'
HONEST: Final = "An estimate of how the speech sounds, not of what anybody feels."


def paint_svg(picture: Picture, *, alone: bool = True) -> str:
    """A document of its own, or an element for a page that has the style already."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {picture.width} {picture.height}" '
        f'width="{picture.width}" height="{picture.height}" role="img" '
        f'aria-label="{escape(picture.title)}">'
        + (f"<style>{style()}</style>" if alone else "")
        + f'<rect class="ground" width="{picture.width}" height="{picture.height}"/>'
        + _boxes(picture)
        + _texts(picture)
        + "</svg>\n"
    )


def style() -> str:
    """Every role's colour, by light and by dark."""
    light = _colours(palette())
    dark = _colours(palette(dark=True))
    return f"text{{font-family:{FONT}}}{light}@media(prefers-color-scheme:dark){{{dark}}}"


def paint_html(picture: Picture, name: str, summary: Summary) -> str:
    """A page with the picture and the figures."""
    heads = "".join(f'<th scope="col">{label}</th>' for label in ("channel", "speech", *EMOTIONS))
    rows = "".join(_row(summary, index) for index in range(len(summary.channels)))
    page = (
        f"body{{margin:24px auto;max-width:{picture.width}px;font:15px/1.5 {FONT}}}"
        "body{background:var(--g);color:var(--i)}svg{max-width:100%;height:auto}"
        "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
        "th,td{padding:4px 10px;text-align:right;border-bottom:1px solid var(--l)}"
        "th:first-child{text-align:left}div{overflow-x:auto}"
        ".unseen{position:absolute;clip-path:inset(50%)}"
        + _variables(palette())
        + f"@media(prefers-color-scheme:dark){{{_variables(palette(dark=True))}}}"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(name)}</title><style>{page}{style()}</style></head><body>"
        f'<main><h1 class="unseen">{escape(name)}</h1>'
        f"<div>{paint_svg(picture, alone=False)}</div>"
        f"<p>{length(summary.duration_s)} at {summary.sample_rate:,} Hz. {HONEST}</p>"
        f"<h2>Mean probabilities</h2><div><table><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div></main></body></html>\n"
    )


def _row(summary: Summary, index: int) -> str:
    channel = summary.channels[index]
    share = "" if channel.speech_share is None else f"{channel.speech_share:.0%}"
    means = channel.probabilities or {}
    cells = "".join(f"<td>{means[n]:.0%}</td>" if n in means else "<td></td>" for n in EMOTIONS)
    return f'<tr><th scope="row">{escape(channel.channel)}</th><td>{share}</td>{cells}</tr>'


def _colours(colours: dict[str, str]) -> str:
    roles = ("ground", "ink", "soft", "line", "silence", *EMOTIONS)
    fills = "".join(f".{role}{{fill:{colours[role]}}}" for role in roles)
    return fills + "".join(f".on-{label}{{fill:{on(colours[label])}}}" for label in EMOTIONS)


def _variables(colours: dict[str, str]) -> str:
    return f":root{{--g:{colours['ground']};--i:{colours['ink']};--l:{colours['line']}}}"


def _boxes(picture: Picture) -> str:
    """One path for all boxes of a role that have no title: a tenth of as many elements."""
    plain, titled = defaultdict[str, list[str]](list), list[str]()
    for box in picture.boxes:
        if box.title:
            titled.append(
                f'<path class="{box.role}" d="{_outline(box)}">'
                f"<title>{escape(box.title)}</title></path>"
            )
        else:
            plain[box.role].append(_outline(box))
    paths = (f'<path class="{role}" d="{"".join(parts)}"/>' for role, parts in plain.items())
    return "".join([*paths, *titled])


def _outline(box: Box) -> str:
    width, height = _short(box.width), _short(box.height)
    return f"M{_short(box.x)} {_short(box.y)}h{width}v{height}h-{width}z"


def _texts(picture: Picture) -> str:
    return "".join(
        f'<text class="{t.role}" x="{_short(t.x)}" y="{_short(t.y)}" font-size="{t.size}"'
        + (f' text-anchor="{t.anchor}"' if t.anchor != "start" else "")
        + (' font-weight="bold"' if t.bold else "")
        + f">{escape(t.text)}</text>"
        for t in picture.texts
    )


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
