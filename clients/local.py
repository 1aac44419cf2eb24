"""Judges a recording in this process: the same events as from a server, and no server.

The session is the one that the server runs; ONNX Runtime is all it takes. Nothing is skipped here, as
nothing has to keep up with a clock.
"""

import time
from uuid import uuid4

from clients.display import Display
from clients.recordings import Recording
from emotion.engine import Engine
from emotion.messages import Start, encode
from emotion.monitor import judged
from emotion.session import Session

PORTION_S = 1.0


def judge_recording(
    recording: Recording, start: Start, display: Display, *, engine: Engine
) -> None:
    """Judges a recording from beginning to end and shows every event as it comes.

    Args:
        recording: open.
        start: the stream's configuration.
        display: shows what comes of it.
        engine: the model, loaded.

    Raises:
        AudioError: the file cannot be read on.
        MessageError: `start` asks for what the model cannot do.
    """
    session = Session(
        start, engine.contract, engine.prior(), session_id=uuid4().hex, may_skip=False
    )
    started = session.started()
    display.show(started, encode(started))
    for portion in recording.portions(PORTION_S):
        session.feed(portion, time.monotonic())
        _show_judged(session, engine, display)
    session.stop()
    _show_judged(session, engine, display)


def _show_judged(session: Session, engine: Engine, display: Display) -> None:
    for event in judged(session, engine):
        display.show(event, encode(event))
