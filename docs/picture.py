"""Makes docs/terminal.svg: what `emotion-client local RECORDING --hop 0.5` shows.

python docs/picture.py RECORDING docs/terminal.svg [MODEL]
"""

import argparse
import io
import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI

from clients.display import Lines
from clients.local import judge_recording
from clients.recordings import open_recording
from emotion.engine import load_engine
from emotion.errors import EmotionError
from emotion.parsing import start_from

# Without the fonts that rich would have a reader's browser fetch from elsewhere.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def draw(path: Path, out: Path, model: Path | None = None) -> None:
    """Judges a recording and draws what a terminal would have shown."""
    console = Console(file=io.StringIO(), record=True, width=84, force_terminal=True)
    with open_recording(path) as recording:
        start = start_from(sample_rate=recording.sample_rate, hop_s=0.5)
        title = f"{path.name}, {recording.duration_s:.1f} s"
        judge_recording(recording, start, Lines(console, title), engine=load_engine(model))
    command = f"emotion-client local {path.name} --hop 0.5"
    console.save_svg(str(out), title=command, theme=MONOKAI, code_format=FORMAT)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recording", metavar="RECORDING", type=Path)
    parser.add_argument("out", metavar="SVG", type=Path)
    parser.add_argument("model", metavar="MODEL", type=Path, nargs="?")
    asked = parser.parse_args()
    try:
        draw(asked.recording, asked.out, asked.model)
    except EmotionError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
