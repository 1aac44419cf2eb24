"""How many sessions a machine carries."""

import time
from typing import Any

import pytest

import stream_server.capacity
from emotion.engine import Engine, Judgement, Window
from stream_server.capacity import measure
from stream_server.config import Config
from stream_server.server import running
from tests.fakes import fake_engine


class Costly(Engine):
    """An engine whose windows cost what they are said to, by a clock of its own."""

    def __init__(self, judging_s: float, listening_s: float, **changes: bool) -> None:
        self.__dict__ = dict(fake_engine(**changes).__dict__)
        self._judging_s, self._listening_s = judging_s, listening_s
        self.now = 0.0
        self.judged = self.heard = self.adapted = 0

    def judge(self, window: Window) -> Judgement:
        self.judged += window.track is None
        self.heard += window.track is not None
        self.adapted += window.track is None and window.baseline is not None
        self.now += self._judging_s if window.track is None else self._listening_s
        return super().judge(window)


def measured(monkeypatch: pytest.MonkeyPatch, judging_s: float, cores: int = 2) -> int:
    engine = Costly(judging_s, 0.004)
    monkeypatch.setattr(time, "thread_time", lambda: engine.now)
    return measure(engine, 1, cores)


def test_a_session_costs_its_share_of_judging_its_listening_and_its_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_server.capacity, "LOOP_S", 0.003)
    # 0.6 * 0.025 + 0.004 + 0.003 = 0.022 s a second, and 0.85 of two cores
    assert measured(monkeypatch, 0.025) == 77
    assert measured(monkeypatch, 0.025, cores=4) == 154


def test_a_machine_that_is_too_slow_for_one_still_takes_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert measured(monkeypatch, 60.0) == 1


@pytest.mark.parametrize(
    ("judging_s", "rounds"), [(0.025, 3), (0.2, 3), (0.3, 2), (0.5, 1), (1.3, 1), (60.0, 1)]
)
def test_no_window_is_judged_again_once_half_a_second_is_spent(
    judging_s: float, rounds: int
) -> None:
    engine = Costly(judging_s, 0.004)
    measure(engine, 1, 2, clock=lambda: engine.now)
    assert (engine.judged, engine.heard) == (rounds, 3)


@pytest.mark.parametrize("adaptable", [True, False])
def test_windows_are_judged_as_a_session_has_them_that_says_nothing_of_adapting(
    adaptable: bool,
) -> None:
    engine = Costly(0.025, 0.004, adaptable=adaptable)
    measure(engine, 1, 2, clock=lambda: engine.now)
    assert (engine.judged, engine.adapted) == (3, 3 if adaptable else 0)


def test_each_worker_judges_a_slow_window_once() -> None:
    engine = Costly(60.0, 60.0)
    measure(engine, 4, 4, clock=lambda: engine.now)
    assert (engine.judged, engine.heard) == (4, 4)


async def test_what_was_measured_is_what_the_server_takes_and_says() -> None:
    engine: Any = fake_engine()
    async with running(Config(port=0), engine) as server:
        assert server.admission.max_sessions == server.metrics.registry.get_sample_value(
            "emotion_monitor_capacity_sessions"
        )
        assert server.admission.max_sessions > 1
    async with running(Config(port=0, max_sessions=7), engine) as server:
        assert server.admission.max_sessions == 7
