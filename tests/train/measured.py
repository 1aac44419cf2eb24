"""What a model of a fold might have said, made up."""

import numpy as np

from train.measure import Measured, Streams
from train.streams import Answers

TRUTH = np.repeat(np.arange(8), 10)


def said(right: float, truth: np.ndarray = TRUTH) -> np.ndarray:
    """Probabilities that are right on a share of each class's answers, and say 90 %."""
    label = np.array([t if i % 10 < 10 * right else (t + 1) % 8 for i, t in enumerate(truth)])
    return (0.9 * np.eye(8)[label] + 0.1 / 8).astype(np.float32)


def answers(right: float) -> Answers:
    return Answers(TRUTH, np.tile(np.arange(10, 30, 2), 8), said(right))


def live(right: float) -> Answers:
    """Windows of three of a call's clips."""
    return Answers(
        np.tile(TRUTH, 3), np.repeat([5, 17, 25], len(TRUTH)), np.tile(said(right), (3, 1))
    )


def measured(name: str, clean: float, seed: int = 42, **changed: float) -> Measured:
    conditions = ["telephone"] + [
        f"{k} {d} dB" for k in ("speech-shaped", "babble") for d in (20, 10, 5)
    ]
    clips = {"clean": said(clean)} | {c: said(changed.get(c.split()[0], clean)) for c in conditions}
    return Measured(
        name=name,
        seed=seed,
        truth=TRUTH,
        clips=clips,
        window_truth=TRUTH,
        windows=said(changed.get("windows", clean)),
        window_samples=np.full(len(TRUTH), 48_000),
        window_share=0.4,
        streams={
            "balanced": Streams(answers(0.9), answers(0.7)),
            "neutral-heavy": Streams(answers(changed.get("heavy", 0.8)), answers(0.7)),
        },
        conditions={c: Streams(answers(0.9), answers(0.6)) for c in clips},
        hand_over={
            "unadapted": answers(0.7),
            "as served": answers(changed.get("served", 0.8)),
            "fresh start": answers(0.9),
        },
        live={
            "balanced": Streams(live(changed.get("live", 0.9)), live(0.7)),
            "neutral-heavy": Streams(live(0.8), live(0.7)),
            "second speaker": Streams(live(0.8), live(0.7)),
        },
    )
