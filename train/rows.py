"""The evaluation's table: what each figure has to reach, what it aims at, and what it is.

All but one row are about actors that the judged model never heard: EmoBox's folds, speech only, mean
and standard deviation over the models, each judged on its own held-out actors. Where every fold is
trained with several seeds, what each seed alone would have shown stands beside: how much of a figure
is a training's chance. What four other actors in a fold would have changed, it does not show.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.table import Table

from train.evaluate import calibration_error, figures
from train.held_out import NOISES, SNRS_DB
from train.measure import AS_SERVED, Measured, Streams
from train.streams import SETTLED

UNSEEN: Final = "unseen actors, EmoBox folds, speech"
RANDOM: Final = "random 80/20 of every clip, actors on both sides"

FIRST_CLIPS: Final = 10
"""Of a second speaker: until the change is noticed, and a while after."""

CHANCE_DRAWS: Final = 50
DIGITS: Final = 9
"""Figures are compared to so many: 0.9 - 0.85 is more than 0.05 in floating point."""

NOISE_LOSSES: Final = {20: (0.02, 0.01), 10: (0.05, 0.03), 5: (0.09, 0.06)}
"""By SNR in dB: how much UA may be lost, and what to aim at."""


@dataclass(frozen=True)
class Row:
    """One figure. All are fractions of 1.

    Attributes:
        figure: what it is.
        protocol: on whom it was measured.
        value: mean over the models.
        sd: standard deviation over them; 0 for one.
        models: each one's figure.
        judged: what is held against `reach`: the figure itself, or its distance to another.
        basis: what `judged` is, where it is not the figure.
        reach: what it has to be.
        aim: what it should be.
        at_most: whether less is better.
        note: what else belongs to it.
        seeds: `judged` of each seed's models alone; empty where there is one seed.
    """

    figure: str
    protocol: str
    value: float
    sd: float
    models: tuple[float, ...]
    judged: float
    basis: str
    reach: float
    aim: float
    at_most: bool
    note: str = ""
    seeds: tuple[float, ...] = ()

    @property
    def reached(self) -> bool:
        """Whether it is as good as it has to be."""
        return self._as_good_as(self.reach)

    @property
    def aimed(self) -> bool:
        """Whether it is as good as it should be."""
        return self._as_good_as(self.aim)

    def as_json(self) -> dict[str, Any]:
        """The row as the result file holds it."""
        return asdict(self) | {"reached": self.reached, "aimed": self.aimed}

    def _as_good_as(self, limit: float) -> bool:
        judged = round(self.judged, DIGITS)
        return judged <= limit if self.at_most else judged >= limit


def rows(
    heard: Sequence[Row], random: Sequence[float], precisions: Sequence[Row] = ()
) -> list[Row]:
    """The table.

    Args:
        heard: its part on unseen actors, as `unseen` gives it.
        random: accuracy on each random split.
        precisions: what other number formats change.
    """
    shared = _row("accuracy, random split, no adaptation", random, 0.94, 0.97, protocol=RANDOM)
    return [*heard, *precisions, shared]


def unseen(folds: Sequence[Measured]) -> list[Row]:
    """The table's part on actors that the models never heard.

    Args:
        folds: what each model said, of one seed or of several.
    """
    together = _unseen(folds)
    seeds = by_seed(folds)
    if len(seeds) == 1:
        return together
    alone = zip(*map(_unseen, seeds), strict=True)
    return [
        replace(row, seeds=tuple(each.judged for each in same))
        for row, same in zip(together, alone, strict=True)
    ]


def by_seed(folds: Sequence[Measured]) -> list[list[Measured]]:
    """What the models of each seed said, in order of the seeds."""
    seeds: defaultdict[int, list[Measured]] = defaultdict(list)
    for fold in folds:
        seeds[fold.seed].append(fold)
    return [seeds[seed] for seed in sorted(seeds)]


def _unseen(folds: Sequence[Measured]) -> list[Row]:
    clean = _over(folds, lambda fold: fold.figures()["ua"])
    table = [_row("UA, whole clips, no adaptation", clean, 0.79, 0.85)]
    if folds[0].streams:
        table += [_balanced(folds), _neutral_heavy(folds)]
        table += [_second_speaker(folds, clips) for clips in (FIRST_CLIPS, None)]
    table += [_windows(folds, clean), _condition(folds, clean, "telephone", 0.03, 0.01)]
    for kind in NOISES:
        for snr_db in SNRS_DB:
            table.append(_condition(folds, clean, f"{kind} {snr_db} dB", *NOISE_LOSSES[snr_db]))
    if folds[0].live:
        table += _live(folds)
    return table + _calibration(folds)


def precision_row(precision: str, seeds: Sequence[Sequence[tuple[float, float]]]) -> Row:
    """What a precision changes: the mean over the seeds of how far each one's mean moves.

    Args:
        precision: its name.
        seeds: for each seed, UA of each fold's clips in float32 and in the precision.
    """
    changes = [abs(float(np.mean([ours - fp32 for fp32, ours in folds]))) for folds in seeds]
    fp32, judged = zip(*chain(*seeds), strict=True)
    most = max(abs(one - other) for one, other in zip(judged, fp32, strict=True))
    note = f"fp32 {100 * np.mean(fp32):.1f}; one fold by up to {100 * most:.1f}"
    basis = "from fp32, either way"
    figure = f"UA, whole clips, {precision}"
    change = float(np.mean(changes))
    row = _row(figure, judged, 0.005, 0.002, change, basis, at_most=True, note=note)
    return replace(row, seeds=tuple(changes) if len(changes) > 1 else ())


def adapted_ua(folds: Sequence[Measured], condition: str) -> float | None:
    """UA under a condition that the whole call is in, once the voice is known in it; the mean over
    the models. None where the model cannot adapt."""
    if not folds[0].conditions:
        return None
    known = _settled(folds, lambda fold: fold.conditions[condition])
    return float(np.mean([both.adapted.ua() for both in known]))


def header(table: Sequence[Row]) -> tuple[str, ...]:
    """Of the columns."""
    held_to = "held to (each seed)" if any(row.seeds for row in table) else "held to"
    return ("figure", "± sd over models", held_to, "reach", "aim", "")


def as_table(table: Sequence[Row], title: str) -> Table:
    """The rows for people, in percent and in points."""
    shown = Table(*header(table), title=title)
    for protocol, same in groupby(table, lambda row: row.protocol):
        shown.add_section()
        shown.add_row(f"[bold]{protocol}[/bold]")
        for row in same:
            note = f"\n  [dim]{row.note}[/dim]" if row.note else ""
            shown.add_row(row.figure + note, *_cells(row))
    return shown


def as_markdown(table: Sequence[Row]) -> str:
    """The same table for documents."""
    names = header(table)
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for protocol, same in groupby(table, lambda row: row.protocol):
        lines.append(f"| **{protocol}** |" + " |" * (len(names) - 1))
        for row in same:
            note = f" ({row.note})" if row.note else ""
            lines.append(f"| {row.figure}{note} | {' | '.join(_cells(row))} |")
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    """What a row says behind its name."""
    sign = "≤" if row.at_most else "≥"
    plus = "+" if row.basis else ""
    judged = f"{100 * row.judged:{plus}.1f} {row.basis}".strip()
    if row.seeds:
        judged += f" ({' / '.join(f'{100 * each:{plus}.1f}' for each in row.seeds)})"
    limits = (f"{sign} {100 * limit:g}" for limit in (row.reach, row.aim))
    spread = f" ± {100 * row.sd:.1f}" if len(row.models) > 1 else ""
    verdict = "aim" if row.aimed else "reached" if row.reached else "MISSED"
    return (f"{100 * row.value:.1f}{spread}", judged, *limits, verdict)


def _settled(folds: Sequence[Measured], streams: Callable[[Measured], Streams]) -> list[Streams]:
    """Each fold's streams from the clip on from which a voice counts as known."""
    each = [streams(fold) for fold in folds]
    return [both[both.adapted.position >= SETTLED] for both in each]


def _balanced(folds: Sequence[Measured]) -> Row:
    known = _settled(folds, lambda fold: fold.streams["balanced"])
    without = float(np.mean([both.unadapted.ua() for both in known]))
    everywhere = float(np.mean(_over(folds, lambda fold: fold.streams["balanced"].adapted.ua())))
    note = f"unadapted {100 * without:.1f}; all positions {100 * everywhere:.1f}"
    figure = f"UA, causal adaptation, balanced stream, from clip {SETTLED + 1} on"
    return _row(figure, [both.adapted.ua() for both in known], 0.87, 0.92, note=note)


def _neutral_heavy(folds: Sequence[Measured]) -> Row:
    values = _over(folds, lambda fold: fold.streams["neutral-heavy"].adapted.ua())
    without = _over(folds, lambda fold: fold.streams["neutral-heavy"].unadapted.ua())
    gain = float(np.mean(values)) - float(np.mean(without))
    figure = "UA, causal adaptation, neutral-heavy stream, all positions"
    note = f"unadapted {100 * np.mean(without):.1f}"
    return _row(figure, values, 0.0, 0.05, gain, "over unadapted", note=note)


def _second_speaker(folds: Sequence[Measured], clips: int | None) -> Row:
    """Of all that the second one says, or of so many clips."""

    def second(way: str) -> list[float]:
        found = []
        for fold in folds:
            said = fold.hand_over[way]
            place = said.position - (said.position.max() // 2 + 1)
            found.append(said[(place >= 0) & (place < (clips or len(place)))].ua())
        return found

    values = second(AS_SERVED)
    others = {way: float(np.mean(second(way))) for way in folds[0].hand_over if way != AS_SERVED}
    gain = float(np.mean(values)) - others["unadapted"]
    note = "; ".join(f"{way} {100 * ua:.1f}" for way, ua in others.items())
    part = "all positions" if clips is None else f"first {clips} clips"
    figure = f"UA, causal adaptation, second speaker of a call, {part}"
    return _row(figure, values, 0.0, 0.05, gain, "over unadapted", note=note)


def _live(folds: Sequence[Measured]) -> list[Row]:
    first = {"balanced": SETTLED}
    return [_live_row(folds, kind, first.get(kind, 0)) for kind in folds[0].live]


def _live_row(folds: Sequence[Measured], kind: str, first: int) -> Row:
    each = [fold.live[kind] for fold in folds]
    each = [both[both.adapted.position >= first] for both in each]
    values, without = [both.adapted.ua() for both in each], [both.unadapted.ua() for both in each]
    gain = float(np.mean(values)) - float(np.mean(without))
    count = sum(len(both.adapted.truth) for both in each) // len(by_seed(folds))
    note = f"unadapted {100 * np.mean(without):.1f}; {count:,} windows"
    name = kind if kind == "second speaker" else f"{kind} call"
    part = f", from clip {first + 1} on" if kind == "balanced" else ""
    figure = f"UA, 3 s windows of live sessions, causal adaptation, {name}{part}"
    return _row(figure, values, 0.0, 0.05, gain, "over unadapted", note=note)


def _windows(folds: Sequence[Measured], clean: Sequence[float]) -> Row:
    values = _over(folds, lambda fold: figures(fold.window_truth, fold.windows)["ua"])
    share = np.mean([fold.window_share for fold in folds])
    figure = "UA, 3 s windows as the server cuts them, at least half speech, no adaptation"
    note = f"{100 * share:.0f} % of all windows"
    return _loss(figure, values, clean, 0.04, 0.02, "below whole clips", note)


def _condition(
    folds: Sequence[Measured], clean: Sequence[float], name: str, reach: float, aim: float
) -> Row:
    values = _over(folds, lambda fold: fold.figures(name)["ua"])
    adapted = adapted_ua(folds, name)
    known = f"adapted to it, from clip {SETTLED + 1} on: "
    note = "" if adapted is None else f"{known}{100 * adapted:.1f}"
    return _loss(f"UA, whole clips, {name}", values, clean, reach, aim, "below clean", note)


def _calibration(folds: Sequence[Measured]) -> list[Row]:
    # Seeds are not pooled: what they get wrong differs, and would look better calibrated together.
    pools = by_seed(folds)
    return [
        _ece("all folds' clips pooled", pools, "; ± over seeds" if len(pools) > 1 else ""),
        _ece("mean of the folds' own", [[fold] for fold in folds]),
    ]


def _ece(which: str, pools: Sequence[Sequence[Measured]], more: str = "") -> Row:
    """The mean over pools of models whose clips count as one set."""
    errors, chances = [], []
    for pool in pools:
        said = np.concatenate([fold.clips["clean"] for fold in pool])
        truth = np.concatenate([fold.truth for fold in pool])
        errors.append(calibration_error(truth, said))
        chances.append(calibration_by_chance(said))
    note = f"{100 * np.mean(chances):.1f} if it were perfect, by chance alone{more}"
    return _row(f"ECE, 15 bins, {which}", errors, 0.05, 0.02, at_most=True, note=note)


def calibration_by_chance(predicted: npt.NDArray[np.float32]) -> float:
    """The calibration error that these probabilities, float32 [n, 8], would show if they were
    exactly right: the mean over truths drawn from them. Few clips in many bins never fit."""
    random = np.random.default_rng(0)
    edges = predicted.cumsum(axis=1, dtype=np.float64)
    errors = []
    for _ in range(CHANCE_DRAWS):
        place = random.random((len(predicted), 1)) * edges[:, -1:]
        errors.append(calibration_error((edges > place).argmax(axis=1), predicted))
    return float(np.mean(errors))


def _over(folds: Sequence[Measured], figure: Callable[[Measured], float]) -> list[float]:
    return [figure(fold) for fold in folds]


def _loss(
    figure: str,
    values: Sequence[float],
    reference: Sequence[float],
    reach: float,
    aim: float,
    basis: str,
    note: str,
) -> Row:
    lost = float(np.mean(reference)) - float(np.mean(values))
    return _row(figure, values, reach, aim, lost, basis, at_most=True, note=note)


def _row(
    figure: str,
    values: Sequence[float],
    reach: float,
    aim: float,
    judged: float | None = None,
    basis: str = "",
    *,
    at_most: bool = False,
    protocol: str = UNSEEN,
    note: str = "",
) -> Row:
    mean = float(np.mean(values))
    return Row(
        figure=figure,
        protocol=protocol,
        value=mean,
        sd=float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
        models=tuple(values),
        judged=mean if judged is None else judged,
        basis=basis,
        reach=reach,
        aim=aim,
        at_most=at_most,
        note=note,
    )
