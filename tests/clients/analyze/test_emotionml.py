"""EmotionML 1.0, held to the rules of the Recommendation of 22 May 2014 that a document alone can break.

The numbers are those of the assertions in W3C's implementation report
(https://www.w3.org/2002/mmi/2013/emotionml-ir/).
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pytest
import soundfile

from emotion.labels import EMOTIONS
from tests.clients.conftest import Ran
from tests.speech import speech_like

NAMESPACE = "{http://www.w3.org/2009/10/emotionml}"
XML_ID = re.compile(r"[A-Za-z_][\w.-]*")
ATTRIBUTES = {
    *("category-set", "version", "id", "start", "end", "duration", "time-ref-uri"),
    *("time-ref-anchor-point", "offset-to-start", "expressed-through"),
}


@pytest.fixture
def written(client: Callable[..., Ran], model_folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "calls & more").mkdir()
    both = np.stack([speech_like(4.2, 16_000, seed) for seed in (1, 2)], axis=1)
    both[32_000:, 1] = 0.0
    soundfile.write(tmp_path / "calls & more" / "a b.wav", both, 16_000)
    for name in ("out.emotionml", "out.jsonl"):
        ran = client("analyze", tmp_path / "calls & more", "--out", tmp_path / name, "--model",
                     model_folder, "--hop", 0.5, "--window", 1)  # fmt: skip
        assert ran.code == 0, ran.err
    return tmp_path / "out.emotionml"


def test_the_document_keeps_the_rules(written: Path) -> None:
    root = ET.parse(written).getroot()
    assert root.tag == NAMESPACE + "emotionml"  # 100, 102
    assert root.get("version") == "1.0"  # 110, 111
    (vocabulary,) = root.findall(NAMESPACE + "vocabulary")
    assert vocabulary.get("type") == "category"  # 602, 603
    assert XML_ID.fullmatch(vocabulary.get("id", ""))  # 604, 605
    assert root.get("category-set") == "#" + vocabulary.get("id", "")  # 114
    items = [item.get("name") for item in vocabulary.findall(NAMESPACE + "item")]
    assert items == list(EMOTIONS)  # 600, 607, 608
    emotions = root.findall(NAMESPACE + "emotion")
    ids = [emotion.get("id", "") for emotion in emotions]
    assert len(set(ids)) == len(ids) > 2 and all(map(XML_ID.fullmatch, ids))  # 174
    assert {child.tag for child in root} == {vocabulary.tag, emotions[0].tag}
    for emotion in emotions:
        keeps_the_rules(emotion)


def keeps_the_rules(emotion: ET.Element) -> None:
    assert set(emotion.attrib) <= ATTRIBUTES
    categories = emotion.findall(NAMESPACE + "category")
    names = [category.get("name") for category in categories]
    assert sorted(map(str, names)) == sorted(EMOTIONS)  # 156, 211, 212, 213
    for category in categories:
        assert 0 <= float(category.get("confidence", "nan")) <= 1  # 217, 218
    assert int(emotion.get("duration", "")) >= 0  # 422
    int(emotion.get("offset-to-start", ""))  # 425
    assert emotion.get("time-ref-anchor-point") in ("start", "end")  # 424
    assert urlsplit(emotion.get("time-ref-uri", "")).scheme == "file"  # 423
    (reference,) = emotion.findall(NAMESPACE + "reference")
    assert re.fullmatch(r"t=[\d.]+,[\d.]+", urlsplit(reference.get("uri", "")).fragment)  # 410, 412
    assert reference.get("role") == "expressedBy"  # 414
    (info,) = emotion.findall(NAMESPACE + "info")  # 155
    assert all(not child.tag.startswith(NAMESPACE) for child in info)  # 304


def test_it_says_what_the_lines_say(written: Path) -> None:
    lines = [
        msgspec.json.decode(line)
        for line in written.with_suffix(".jsonl").read_bytes().splitlines()
    ]
    judged = [line for line in lines if line["type"] == "emotion"]
    assert any(line["type"] == "silence" for line in lines)
    ours = "{urn:emotion-monitor:analyze:1}"
    windows = [
        emotion
        for emotion in ET.parse(written).getroot().findall(NAMESPACE + "emotion")
        if emotion.find(f"{NAMESPACE}info/{ours}window") is not None
    ]
    assert len(windows) == len(judged)
    for emotion, line in zip(windows, judged, strict=True):
        begin, length = (int(emotion.get(name, "")) for name in ("offset-to-start", "duration"))
        assert (begin, begin + length) == (line["start_s"] * 1000, line["end_s"] * 1000)
        window = emotion.find(f"{NAMESPACE}info/{ours}window")
        assert window is not None and window.get("channel") == line["channel"]
        shares = {
            c.get("name"): c.get("confidence") for c in emotion.findall(NAMESPACE + "category")
        }
        for name, share in line["probabilities"].items():
            assert float(shares[name] or "") == pytest.approx(share, abs=1e-6)
    uri = windows[0].get("time-ref-uri", "")
    assert uri == Path(lines[0]["path"]).absolute().as_uri()


def test_each_channel_has_a_summary_as_long_as_the_recording(written: Path) -> None:
    path = f"{NAMESPACE}info/{{urn:emotion-monitor:analyze:1}}summary"
    emotions = ET.parse(written).getroot().findall(NAMESPACE + "emotion")
    whole = [emotion for emotion in emotions if emotion.find(path) is not None]
    assert [emotion.get("duration") for emotion in whole] == ["4200", "4200"]
