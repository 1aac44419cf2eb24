"""Pictures of recordings."""

import os
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clients.analyze.course import MOST_STEPS, Course
from clients.analyze.paint_svg import paint_html, paint_svg
from clients.analyze.pictures import file_name
from clients.analyze.rows import ChannelSummary, Judged, Quiet, Row, Summary
from clients.analyze.timeline import BAND, STRIP, Picture, draw
from clients.palette import SIGNS, on, palette
from emotion.labels import EMOTIONS
from emotion.messages import Smoothed
from tests.clients.conftest import Ran
from tests.speech import speech_like

SVG = "{http://www.w3.org/2000/svg}"


def judged(label: str, end_s: float, channel: str = "mono", share: float = 0.65) -> Judged:
    shares = dict.fromkeys(EMOTIONS, (1 - share) / 7) | {label: share}
    return Judged(
        seq=1,
        channel=channel,
        start_s=max(0, end_s - 3),
        end_s=end_s,
        label=label,
        confidence=share,
        probabilities=shares,
        smoothed=Smoothed(label=label, probabilities=shares),
        speech_ratio=1.0,
        adapted_s=0.0,
    )


def quiet(end_s: float) -> Quiet:
    return Quiet(seq=1, channel="mono", start_s=0.0, end_s=end_s, speech_ratio=0.0)


def summary(duration_s: float, *channels: str) -> Summary:
    return Summary(
        duration_s=duration_s,
        sample_rate=16_000,
        channels=tuple(
            ChannelSummary(
                channel=name,
                windows=1,
                inferred=1,
                silent=0,
                speech_share=0.5,
                dominant="sad",
                probabilities=dict.fromkeys(EMOTIONS, 0.125),
            )
            for name in channels
        ),
    )


def picture(*rows: Row, duration_s: float, hop_s: float = 1.0, name: str = "a.wav") -> Picture:
    whole = summary(duration_s, *dict.fromkeys(row.channel for row in rows))
    course = Course(whole, hop_s)
    for row in rows:
        course.add(row)
    return draw(name, whole, course)


def strip(drawn: Picture) -> list[tuple[str, str]]:
    """The strip's stretches: role and title."""
    return [(box.role, box.title) for box in drawn.boxes if box.title]


def test_the_strip_says_when_which_emotion_was_dominant() -> None:
    drawn = picture(judged("sad", 1), judged("sad", 2), quiet(3), judged("angry", 4), duration_s=4)
    assert strip(drawn) == [
        ("sad", "0:00 to 0:02: sad"),
        ("silence", "0:02 to 0:03: silence"),
        ("angry", "0:03 to 0:04: angry"),
    ]
    texts = [text.text for text in drawn.texts]
    assert "angry" in texts and "silence" in texts


def test_the_band_is_as_high_as_the_probabilities() -> None:
    drawn = picture(judged("sad", 1, share=0.65), duration_s=1)
    bands = [box for box in drawn.boxes if not box.title and box.height > 1 and box.width > 100]
    heights = {box.role: box.height for box in bands}
    assert heights["sad"] == pytest.approx(0.65 * BAND)
    assert sum(heights.values()) == pytest.approx(BAND)


def test_colour_is_never_the_only_sign() -> None:
    rows = [judged(EMOTIONS[n % 8], n + 1.0) for n in range(40)]
    letters = {text.text for text in picture(*rows, duration_s=40).texts}
    assert set(SIGNS.values()) <= letters


@pytest.mark.parametrize("duration_s", [0.6, 59.0, 3_600.0, 100_000.0])
def test_a_picture_is_bounded_and_nothing_sticks_out(duration_s: float) -> None:
    hop_s = max(1.0, duration_s / 2_000)
    count = max(1, int(duration_s / hop_s))
    rows = [judged(EMOTIONS[n % 8], min(duration_s, (n + 1) * hop_s)) for n in range(count)]
    drawn = picture(*rows, duration_s=duration_s, hop_s=hop_s)
    assert len(drawn.boxes) < 12 * MOST_STEPS
    assert len(paint_svg(drawn)) < 250_000
    for box in drawn.boxes:
        assert 0 <= box.x and box.x + box.width <= drawn.width + 1e-6
        assert 0 <= box.y and box.y + box.height <= drawn.height + 1e-6
    for text in drawn.texts:
        assert 0 < text.x <= drawn.width and 0 < text.y <= drawn.height


def test_the_letters_are_read_on_their_colours_in_light_and_dark() -> None:
    def luminance(colour: str) -> float:
        values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        lin = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * lin[0] + 0.7152 * lin[1] + 0.0722 * lin[2]

    for colours in (palette(), palette(dark=True)):
        for label in EMOTIONS:
            ground, letter = luminance(colours[label]), luminance(on(colours[label]))
            ratio = (max(ground, letter) + 0.05) / (min(ground, letter) + 0.05)
            assert ratio >= 4.5, label


NASTY = '<script>alert("1")</script> & "quotes".wav'


def test_svg_is_well_formed_whatever_the_recording_is_called() -> None:
    drawn = picture(judged("sad", 1, channel="<b>"), duration_s=1, name=NASTY)
    root = ET.fromstring(paint_svg(drawn))
    assert root.tag == SVG + "svg" and NASTY in (root.get("aria-label") or "")
    assert not list(root.iter(SVG + "script"))
    assert "<b>"[0:3] in {text.text for text in root.iter(SVG + "text")}


def test_html_fetches_and_runs_nothing() -> None:
    drawn = picture(judged("sad", 1), duration_s=1, name=NASTY)
    page = paint_html(drawn, NASTY, summary(1, "mono"))
    assert "<script" not in page and "default-src 'none'" in page
    assert not re.search(r"(src|href|url\()\s*=?\s*[\"']?(http|//)", page.replace("xmlns", ""))
    assert "not of what anybody feels" in page


@pytest.mark.parametrize("form", ["svg", "html", "png"])
def test_each_recording_has_a_picture_at_its_place(
    client: Callable[..., Ran], model_folder: Path, tmp_path: Path, form: str
) -> None:
    if form == "png":
        pytest.importorskip("PIL", reason="pip install '.[png]'")
    for place in ("a.wav", "inner/a.wav"):
        (tmp_path / "calls" / place).parent.mkdir(parents=True, exist_ok=True)
        samples = np.stack([speech_like(3.0, 16_000, seed) for seed in (1, 2)], axis=1)
        soundfile.write(tmp_path / "calls" / place, samples, 16_000)
    pictures = tmp_path / "pictures"
    ran = client(
        *("analyze", tmp_path / "calls", "--out", tmp_path / "out.csv", "--model", model_folder),
        *("--timelines", pictures, "--timeline-format", form),
    )
    assert ran.code == 0, ran.err
    files = sorted(p.relative_to(pictures).as_posix() for p in pictures.rglob("*") if p.is_file())
    assert files == [f"a.wav.{form}", f"inner/a.wav.{form}"]
    if form == "png":
        from PIL import Image

        with Image.open(pictures / "a.wav.png") as image:
            image.load()
            colours = {colour for _, colour in image.getcolors(1 << 20) or ()}
            assert image.width == 1920 and image.height > 2 * 2 * (BAND + STRIP)
        ground = palette()["ground"]
        assert tuple(int(ground[i : i + 2], 16) for i in (1, 3, 5)) in colours


def test_png_without_pillow_is_one_line(
    client: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "a.wav").touch()
    ran = client(
        *("analyze", tmp_path / "a.wav", "--out", tmp_path / "out.csv"),
        *("--timelines", tmp_path / "t", "--timeline-format", "png"),
    )
    assert ran.code == 2 and "'.[png]'" in ran.error


@pytest.mark.parametrize("letter", ["a", "é", "\udc80"])
def test_a_pictures_name_fits_a_file_system_and_differs_where_recordings_do(letter: str) -> None:
    names = [f"calls/{letter * 120}{letter * 90}{end}" for end in (".wav", "2.wav")]
    files = [file_name(name, "svg") for name in names]
    assert file_name("calls/a.wav", "svg") == "calls/a.wav.svg"
    assert files[0] != files[1]
    assert all(file.startswith("calls/") and file.endswith(".svg") for file in files)
    assert all(len(os.fsencode(file)) < 240 for file in files)
