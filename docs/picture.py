"""Makes docs/terminal.svg: what `emotion-client local RECORDING` shows, as it shows it.

python docs/picture.py RECORDING docs/terminal.svg
"""

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from clients.display import Lines
from clients.local import judge_recording
from clients.recordings import open_recording
from emotion.engine import load_engine
from emotion.messages import start_from


def draw(path: Path, out: Path) -> None:
    console = Console(file=io.StringIO(), record=True, width=84, force_terminal=True)
    with open_recording(path) as recording:
        start = start_from(sample_rate=recording.sample_rate, hop_s=0.5)
        title = f"{path.name}, {recording.duration_s:.1f} s"
        judge_recording(recording, start, Lines(console, title), engine=load_engine())
    console.save_svg(str(out), title=f"emotion-client local {path.name} --hop 0.5", theme=MONOKAI)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
