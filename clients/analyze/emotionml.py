"""EmotionML 1.0 (https://www.w3.org/TR/2014/REC-emotionml-20140522/): an `<emotion>` a judged window.

Times count from the beginning of the recording, so they are `offset-to-start` and `duration` beside
`time-ref-uri`, in milliseconds: the attributes `start` and `end` are for absolute times (section 2.4.2).
A probability is a `confidence`: `value` would say how strong the emotion is (2.2.1), and the model does
not know that. The vocabulary of the eight labels is in the document (3.1), as W3C's own list has none
that fits. Windows without speech are no emotions and are only counted in the summary.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

from clients.analyze.found import Found
from clients.analyze.outputs import summary_records
from clients.analyze.rows import Judged, Row, Summary
from emotion.labels import EMOTIONS

NAMESPACE: Final = "http://www.w3.org/2009/10/emotionml"
OURS: Final = "urn:emotion-monitor:analyze:1"  # of what stands in <info>
VOCABULARY: Final = "emotions"
MODALITY: Final = "voice"


class EmotionML:
    """Writes one document."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._uri = ""
        self._count = 0
        items = "".join(f"<item name={quoteattr(label)}/>" for label in EMOTIONS)
        self._file.write(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<emotionml version="1.0" xmlns="{NAMESPACE}" xmlns:m="{OURS}" '
            f'category-set="#{VOCABULARY}">\n'
            f'<vocabulary type="category" id="{VOCABULARY}">{items}</vocabulary>\n'
        )

    def begin(self, found: Found, summary: Summary) -> None:
        self._uri = Path(found.path).absolute().as_uri()
        for record in summary_records(found.shown, summary):
            if record["dominant"] is not None:
                self._whole(record)

    def row(self, row: Row) -> None:
        if not isinstance(row, Judged):
            return
        offset_ms, end_ms = round(row.start_s * 1000), round(row.end_s * 1000)
        about = {
            "kind": "window",
            "channel": row.channel,
            "label": row.label,
            "smoothed": row.smoothed.label,
            "speech-ratio": row.speech_ratio,
        }
        self._emotion(offset_ms, end_ms, row.probabilities, about)

    def end(self) -> None:
        pass

    def close(self) -> None:
        self._file.write("</emotionml>\n")
        self._file.close()

    def _whole(self, record: dict[str, object]) -> None:
        """The summary of a channel: an emotion as long as the recording."""
        about = {"kind": "summary", "channel": record["channel"], "label": record["dominant"]}
        names = ("speech_share", "windows", "inferred", "silent")
        about |= {name.replace("_", "-"): record[name] for name in names}
        means = {label: float(str(record[label])) for label in EMOTIONS}
        self._emotion(0, round(float(str(record["duration_s"])) * 1000), means, about)

    def _emotion(
        self, offset_ms: int, end_ms: int, shares: dict[str, float], about: Mapping[str, object]
    ) -> None:
        self._count += 1
        categories = "".join(
            f'<category name={quoteattr(name)} confidence="{share:.6f}"/>'
            for name, share in shares.items()
        )
        fields = " ".join(
            f"{name}={quoteattr(str(value))}" for name, value in about.items() if value is not None
        )
        part = f"{self._uri}#t={offset_ms / 1000:.3f},{end_ms / 1000:.3f}"  # a media fragment
        self._file.write(
            f'<emotion id="e{self._count}" time-ref-uri={quoteattr(self._uri)} '
            f'time-ref-anchor-point="start" offset-to-start="{offset_ms}" '
            f'duration="{end_ms - offset_ms}" expressed-through="{MODALITY}">'
            f"<info><m:{about['kind']} {fields}/></info>{categories}"
            f'<reference uri={quoteattr(part)} role="expressedBy"/></emotion>\n'
        )
