"""The table: what is held against its limit, and what the verdict is."""

import io

import numpy as np
import pytest
from rich.console import Console

from tests.train.measured import measured
from train.rows import (
    RANDOM,
    UNSEEN,
    Row,
    as_markdown,
    as_table,
    calibration_by_chance,
    precision_row,
    rows,
    unseen,
)


def table(**changed: float) -> dict[str, Row]:
    folds = [measured("fold-1", 0.8, **changed), measured("fold-2", 0.9, **changed)]
    return {row.figure: row for row in rows(unseen(folds), [0.95, 0.97])}


def find(part: str, found: dict[str, Row]) -> Row:
    (row,) = [row for figure, row in found.items() if part in figure]
    return row


def test_there_is_a_row_for_every_figure_and_only_the_random_split_shares_actors() -> None:
    found = table()
    assert len(found) == 5 + 1 + 1 + 1 + 6 + 3 + 2
    shared = [row.figure for row in found.values() if row.protocol != UNSEEN]
    assert shared == ["accuracy, random split, no adaptation"]
    assert find("random", found).protocol == RANDOM


def test_a_figure_is_the_mean_over_the_models_with_its_spread() -> None:
    row = find("whole clips, no adaptation", table())
    assert row.value == row.judged == pytest.approx(0.85)
    assert row.sd == pytest.approx(np.std([0.8, 0.9], ddof=1))
    assert row.models == pytest.approx((0.8, 0.9))
    assert row.reached and row.aimed  # exactly at its aim


@pytest.mark.parametrize(
    ("part", "key", "right", "lost", "verdict"),
    [
        ("telephone", "telephone", 0.8, 0.05, (False, False)),
        ("babble 5 dB", "babble", 0.8, 0.05, (True, True)),
        ("babble 10 dB", "babble", 0.8, 0.05, (True, False)),
        ("speech-shaped 20 dB", "speech-shaped", 1.0, -0.15, (True, True)),
        ("windows as", "windows", 0.8, 0.05, (False, False)),
    ],
)
def test_a_condition_is_held_to_what_it_loses(
    part: str, key: str, right: float, lost: float, verdict: tuple[bool, bool]
) -> None:
    row = find(part, table(**{key: right}))
    assert row.value == pytest.approx(right)
    assert row.judged == pytest.approx(lost)
    assert (row.reached, row.aimed) == verdict


@pytest.mark.parametrize(
    ("right", "reached", "aimed"), [(0.6, False, False), (0.7, True, False), (0.8, True, True)]
)
def test_a_neutral_heavy_stream_is_held_to_what_adaptation_gains(
    right: float, reached: bool, aimed: bool
) -> None:
    row = find("neutral-heavy stream", table(heavy=right))
    assert row.judged == pytest.approx(right - 0.7)
    assert (row.reached, row.aimed) == (reached, aimed)


def test_a_balanced_stream_counts_from_the_21st_clip_on() -> None:
    row = find("balanced stream", table())
    # Of each class's ten answers, the first nine are right; those at places 10 to 18 do not count.
    assert row.value == pytest.approx(0.8)
    assert "unadapted 40.0; all positions 90.0" in row.note


def test_a_second_speakers_first_clips_have_a_row_of_their_own() -> None:
    found = table()
    # Answers stand at 10, 12, ... 28; the second speaker's begin behind 14. Eight of ten are right as
    # served, the first ones, and seven without adaptation.
    first, everything = (find(part, found) for part in ("first 10 clips", "call, all positions"))
    assert (first.value, first.judged) == pytest.approx((5 / 5, 5 / 5 - 4 / 5))
    assert (everything.value, everything.judged) == pytest.approx((5 / 7, 5 / 7 - 4 / 7))


def test_the_calibration_error_of_all_clips_stands_beside_the_folds_own() -> None:
    found = table()
    confidence = 0.9 + 0.1 / 8
    assert find("pooled", found).value == pytest.approx(confidence - 0.85, abs=1e-6)
    own = np.mean([confidence - 0.8, confidence - 0.9])
    assert find("folds' own", found).value == pytest.approx(own, abs=1e-6)


def test_beside_a_condition_stands_what_adapting_to_it_gives() -> None:
    assert find("telephone", table()).note == "adapted to it, from clip 21 on: 80.0"


def test_a_perfect_model_shows_some_calibration_error_where_clips_are_few() -> None:
    scores = np.random.default_rng(0).normal(0, 2, (20_000, 8))
    predicted = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)
    many, few = calibration_by_chance(predicted), calibration_by_chance(predicted[:240])
    assert many < 0.01 and 0.02 < few < 0.08
    certain = np.eye(8, dtype=np.float32)[np.arange(240) % 8]
    assert calibration_by_chance(certain) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("change", [-0.004, 0.004])
def test_a_precision_is_held_to_its_change_in_either_direction(change: float) -> None:
    row = precision_row("int8", [[(0.8, 0.8 + change), (0.9, 0.9 + change)]])
    assert row.judged == pytest.approx(0.004) and row.reached and not row.aimed
    assert row.seeds == ()


def test_what_a_precision_changes_does_not_cancel_out_between_seeds() -> None:
    row = precision_row("int8", [[(0.8, 0.81), (0.9, 0.91)], [(0.8, 0.76), (0.9, 0.9)]])
    assert row.judged == pytest.approx(0.015) and not row.reached
    assert row.seeds == pytest.approx((0.01, 0.02))
    assert row.models == pytest.approx((0.81, 0.91, 0.76, 0.9))
    assert row.note == "fp32 85.0; one fold by up to 4.0"


def test_of_several_seeds_each_ones_figure_stands_beside_the_mean() -> None:
    folds = [measured("fold-1", 0.8), measured("fold-1", 0.9, seed=43, telephone=0.7)]
    found = {row.figure: row for row in rows(unseen(folds), [0.95, 0.97])}
    clips = find("whole clips, no adaptation", found)
    assert (clips.value, clips.seeds) == (pytest.approx(0.85), pytest.approx((0.8, 0.9)))
    telephone = find("telephone", found)
    assert telephone.judged == pytest.approx(0.1) and telephone.seeds == pytest.approx((0, 0.2))
    assert find("random", found).seeds == ()
    line = next(text for text in as_markdown(list(found.values())).splitlines() if "telep" in text)
    assert "| +10.0 below clean (+0.0 / +20.0) |" in line
    one = rows(unseen(folds[:1]), [0.95])
    assert all(row.seeds == () for row in one) and "each seed" not in as_markdown(one)
    assert "held to (each seed)" in as_markdown(list(found.values()))


def test_seeds_are_not_pooled_when_calibration_is_judged() -> None:
    # Of two models that say 91 % and are right on 80 and on all, pooled errors would cancel out.
    # Within a seed they are: of folds that are right on 80 and on all, too much and too little do.
    folds = [
        measured(fold, right, seed)
        for seed, rights in ((42, (0.8, 0.8)), (43, (1.0, 0.8)))
        for fold, right in zip(("fold-1", "fold-2"), rights, strict=True)
    ]
    found = {each.figure: each for each in rows(unseen(folds), [0.95])}
    confidence = 0.9 + 0.1 / 8
    row = find("pooled", found)
    assert row.models == pytest.approx([confidence - 0.8, confidence - 0.9], abs=1e-6)
    assert row.seeds == row.models and row.value == pytest.approx(np.mean(row.models))
    assert row.note.endswith("± over seeds")
    own = find("folds' own", found)
    apart = [confidence - 0.8] * 2 + [1.0 - confidence, confidence - 0.8]
    assert own.models == pytest.approx(apart, abs=1e-6) and "seeds" not in own.note


def test_windows_that_every_seed_hears_are_counted_once() -> None:
    folds = [measured("fold-1", 0.8), measured("fold-1", 0.9, seed=43)]
    found = {each.figure: each for each in rows(unseen(folds), [0.95])}
    assert find("neutral-heavy call", found).note.endswith("; 240 windows")


def test_the_printed_table_says_which_figures_share_actors_and_which_were_missed() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(as_table(list(table(telephone=0.5).values()), "small"))
    others, shared = console.export_text().split(RANDOM)
    assert UNSEEN in others and "accuracy, random split" in shared
    (telephone,) = [line for line in others.splitlines() if "telephone" in line]
    assert "50.0 ± 0.0" in telephone and "+35.0 below clean" in telephone and "MISSED" in telephone


def test_live_windows_are_held_against_the_same_windows_unadapted() -> None:
    row = find("live sessions, causal adaptation, balanced call, from clip 21 on", table())
    assert (row.value, row.judged) == (pytest.approx(0.9), pytest.approx(0.2))
    assert row.reached and row.aimed
    assert row.note == "unadapted 70.0; 160 windows"  # of two folds, the last of three clips each
    assert find("neutral-heavy call", table()).note.endswith("; 480 windows")
    second = find("live sessions, causal adaptation, second speaker", table())
    assert second.note == "unadapted 70.0; 480 windows"
    worse = find("live sessions, causal adaptation, balanced", table(live=0.6))
    assert worse.judged == pytest.approx(-0.1) and not worse.reached


def test_the_table_for_documents_has_the_same_cells() -> None:
    said = list(table(telephone=0.5).values())
    lines = as_markdown(said).splitlines()
    assert lines[0] == "| figure | ± sd over models | held to | reach | aim |  |"
    assert {line.count("|") for line in lines} == {7}
    row = next(line for line in lines if "telephone" in line)
    assert row.endswith("| MISSED |") and "| ≤ 3 | ≤ 1 |" in row
    assert sum(line.startswith("| **") for line in lines) == 2
