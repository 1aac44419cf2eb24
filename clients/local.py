"""Judges a recording or a microphone in this process: the events of a server, and no server.

The session is the one that the server runs; ONNX Runtime is all it takes. Of a recording nothing is
skipped, as nothing has to keep up with a clock; of a microphone, what a slow machine does not manage is.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from clients.display import Display
from clients.microphone import Microphone
from clients.recordings import Recording
from emotion.engine import Engine, Window
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
    session = _begun(start, display, engine, may_skip=False)
    for portion in recording.portions(PORTION_S):
        session.feed(portion, time.monotonic())
        _show_judged(session, engine, display)
    session.stop()
    _show_judged(session, engine, display)


def judge_microphone(
    microphone: Microphone, start: Start, display: Display, *, engine: Engine
) -> None:
    """Judges a microphone until it is stopped, by Ctrl-C too, and shows every event as it comes.

    Args:
        microphone: open.
        start: the stream's configuration.
        display: shows what comes of it.
        engine: the model, loaded.

    Raises:
        MicrophoneError: it is gone.
        MessageError: `start` asks for what the model cannot do.
    """
    session = _begun(start, display, engine, may_skip=True)
    with on_first_interrupt(microphone.stop):
        while (portion := microphone.next()) is not None:
            session.feed(portion.pcm, portion.at)
            _keep_up(microphone, session, engine, display)
    session.stop()
    _show_judged(session, engine, display)


def _keep_up(microphone: Microphone, session: Session, engine: Engine, display: Display) -> None:
    """Judges what is due. Before each window what was heard meanwhile is fed, at the time when it was
    heard: so the session knows when it is late, and which windows to skip."""
    while (item := session.poll(time.monotonic())) is not None:
        if isinstance(item, Window):
            event = session.finish(item, engine.judge(item), time.monotonic())
            display.show(event, encode(event))
        else:
            display.show(item, encode(item))
        for portion in microphone.waiting():
            session.feed(portion.pcm, portion.at)


def _begun(start: Start, display: Display, engine: Engine, *, may_skip: bool) -> Session:
    session = Session(
        start, engine.contract, engine.prior(), session_id=uuid4().hex, may_skip=may_skip
    )
    started = session.started()
    display.show(started, encode(started))
    return session


def _show_judged(session: Session, engine: Engine, display: Display) -> None:
    for event in judged(session, engine):
        display.show(event, encode(event))


@contextmanager
def on_first_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Calls `act` on the first Ctrl-C, where that can be done; the second is what it always was."""
    before = signal.getsignal(signal.SIGINT)

    def interrupt(*_: Any) -> None:
        signal.signal(signal.SIGINT, before)
        act()

    try:
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
