"""The monitor itself: pure, synchronous, no sockets; also the Python API.

from emotion import Monitor

for event in Monitor(sample_rate=16_000).feed(samples):
    print(event.end_s, event.label)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emotion.engine import Engine, load_engine
    from emotion.errors import EmotionError
    from emotion.labels import EMOTIONS
    from emotion.monitor import Monitor

__all__ = ["EMOTIONS", "EmotionError", "Engine", "Monitor", "load_engine"]

_HOMES = {
    "EMOTIONS": "emotion.labels",
    "EmotionError": "emotion.errors",
    "Engine": "emotion.engine",
    "Monitor": "emotion.monitor",
    "load_engine": "emotion.engine",
}


def __getattr__(name: str) -> Any:
    """Imports on first use: training shares this package and needs no ONNX Runtime."""
    if name not in _HOMES:
        raise AttributeError(f"module 'emotion' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
