"""A live session over a trained model says what the server says over its export."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emotion.engine import load_engine, load_voice
from emotion.vad import VoiceActivity
from export.build import Settings, build, save
from export.graphs import Networks
from tests.export.conftest import tiny_networks
from tests.speech import speech_like
from train.checkpoint import Checkpoint
from train.held_out import embed
from train.live import Said, judged_windows, live
from train.recipe import load_recipe
from train.windows import served

RATE = 16_000


@pytest.fixture(scope="module")
def voice() -> VoiceActivity:
    return load_voice()


@pytest.fixture(scope="module")
def networks() -> Networks:
    return tiny_networks(load_recipe("stream"))


@pytest.fixture(scope="module")
def call() -> list[np.ndarray]:
    """Three clips with a second of silence around two of speech, and one that has none."""
    quiet = np.zeros(RATE, np.float32)
    spoken = [np.concatenate([quiet, 0.3 * speech_like(2.0, seed=s), quiet]) for s in range(3)]
    return [arr.astype(np.float32) for arr in (*spoken[:2], np.tile(quiet, 3), spoken[2])]


@pytest.fixture(scope="module")
def said(networks: Networks, call: list[np.ndarray], voice: VoiceActivity) -> list[Said]:
    return heard(networks, voice)(call)


def heard(networks: Networks, voice: VoiceActivity) -> Callable[[list[np.ndarray]], list[Said]]:
    embedder, head = networks.embedder, networks.head
    checkpoint = Checkpoint(embedder.recipe, embedder, head, {})

    def judge(call: list[np.ndarray]) -> list[Said]:
        embeddings = embed(embedder, judged_windows(call, voice))
        return live(call, checkpoint, embeddings, voice, 0.3)

    return judge


def test_it_says_what_a_server_says_of_the_same_call(
    networks: Networks, call: list[np.ndarray], said: list[Said], tmp_path: Path
) -> None:
    save(build(networks, Settings()), networks, Settings(), {}, tmp_path)
    engine = load_engine(tmp_path, "cpu")
    ways = []
    for adapt in (True, False):
        judged = [j for _, j in served(np.concatenate(call), engine, adapt=adapt)]
        ways.append([j.probabilities for j in judged if (j.speech_ratio or 0) >= 0.3])
    assert len(ways[0]) == len(said)  # no window here hears speech of two clips
    for adapted, unadapted, each in zip(*ways, said, strict=True):
        np.testing.assert_allclose(each.adapted, adapted, atol=1e-4)
        np.testing.assert_allclose(each.unadapted, unadapted, atol=1e-4)
    assert any(abs(each.adapted - each.unadapted).max() > 0.01 for each in said)


def test_a_window_belongs_to_the_clip_that_it_hears_speech_of(said: list[Said]) -> None:
    assert sorted({each.place for each in said}) == [0, 1, 3]


def test_a_window_that_hears_two_clips_belongs_to_none(
    networks: Networks, voice: VoiceActivity
) -> None:
    long = [(0.3 * speech_like(5.5, seed=s)).astype(np.float32) for s in (1, 2)]
    said = heard(networks, voice)(long)
    # Windows end at 1 to 11 s; those that end at 6, 7 and 8 hear both.
    assert [each.place for each in said] == [0] * 5 + [1] * 3
