"""The eight emotions, in the order of the logits.

The order is RAVDESS's own numbering (01 neutral to 08 surprised, Livingstone and Russo 2018), so that
no part of the project has to discover it from data.
"""

from typing import Final

EMOTIONS: Final[tuple[str, ...]] = (
    "neutral",
    "calm",
    "happy",
    "sad",
    "angry",
    "fearful",
    "disgust",
    "surprised",
)
