"""A table's cells: mean and spread over seeds, the paper's figure, and the difference to another row with its interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from seggen_d2.evaluation.bootstrap import BETTER, Interval, interval, moved, over_seeds
from seggen_d2.evaluation.scores import mean_of
from seggen_d2.evaluation.tables import seed_spread

from .plan import Pair, Plan, Row
from .scoring import Missing, Runs, Scored


@dataclass(frozen=True)
class Difference:
    """A row's figure minus that of the row it is compared with, points.

    Attributes:
        mean: of the means over seeds. interval: of its bootstrap replicates.
        seeds: of the side that has fewer.
        per_class: of each category, mean over seeds minus mean over seeds.
        values: of each seed, where both sides have the same seeds; else empty.
        share: percent of the oracle's difference that this one reaches; None where there is no oracle, or its own is not told from zero.
    """

    mean: float
    interval: Interval
    seeds: int
    per_class: dict[str, float]
    values: dict[int, float]
    share: float | None = None


@dataclass(frozen=True)
class Cell:
    """A row in one column.

    Attributes:
        values: percent by seed; empty where there is no run, or none with predictions for the column.
        missing: seeds whose run or predictions are not there.
        paper: the paper's figure, percent. paper_difference: and its difference to the paper's figure of the other row.
        mean: percent; NaN without values. spread: standard deviation over seeds, points; None with fewer than two.
        interval: of the mean, over draws of images and seeds.
        difference: to the row that this one is compared with; None where there is none, or either has no figure.
        per_class: percent by category, mean over seeds.
    """

    values: dict[int, float]
    missing: tuple[int, ...]
    paper: float | None
    paper_difference: float | None
    mean: float
    spread: float | None
    interval: Interval | None
    difference: Difference | None
    per_class: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """A finished table: ``cells[row][column]``; ``images`` of each column's test set; ``missing`` runs; ``pairs`` by column."""

    plan: Plan
    replicates: int
    cells: dict[str, dict[str, Cell]]
    images: dict[str, int]
    missing: tuple[Missing, ...]
    pairs: tuple[tuple[Pair, dict[str, Difference]], ...] = ()


def compare(plan: Plan, *, replicates: int = 1000, partial: bool = False) -> Comparison:
    """Score all runs of a plan and compare its rows.

    Args:
        replicates: draws of as many images as the test set has, the same draws for all rows and seeds.
        partial: leave out runs that are missing.

    Raises:
        SegGenError: runs are missing and ``partial`` is false; predictions are broken or not of the dataset; a figure or a class is unknown.
    """
    runs = Runs(plan, replicates=replicates, partial=partial)
    scored = {row.name: runs.scored(row) for row in tqdm(plan.rows, desc=f"table {plan.name}", unit="row", disable=None)}
    cells = {row.name: {column.name: _cell(row, column.name, runs, scored) for column in plan.columns} for row in plan.rows}
    pairs = tuple((pair, _pair(scored[pair.row], scored[pair.against])) for pair in plan.pairs)
    return Comparison(plan, replicates, cells, {name: len(judge.records) for name, judge in runs.judges.items()}, tuple(runs.missing), pairs)


def _pair(ours: Mapping[str, Mapping[int, Scored]], theirs: Mapping[str, Mapping[int, Scored]]) -> dict[str, Difference]:
    """By column, where both rows have figures."""
    found = {column: difference(side, theirs[column]) for column, side in ours.items() if side and theirs[column]}
    return {column: one for column, one in found.items() if one}


def _cell(row: Row, column: str, runs: Runs, scored: Mapping[str, Mapping[str, Mapping[int, Scored]]]) -> Cell:
    found, other, oracle = (scored[name][column] if name else {} for name in (row.name, row.against, row.oracle))
    planned = {run.seed for run in row.runs if column in run.predictions}
    values = {seed: one.value for seed, one in found.items()}
    paper, theirs = row.paper.get(column), runs.plan.row(row.against).paper.get(column) if row.against else None
    return Cell(
        values=values,
        missing=tuple(sorted(planned - {*found})),
        paper=paper,
        paper_difference=None if paper is None or theirs is None else paper - theirs,
        mean=statistics.fmean(values.values()) if values else float("nan"),
        spread=seed_spread([*values.values()]),
        interval=interval(_replicates(found)) if found else None,
        difference=difference(found, other, oracle) if found and other else None,
        per_class=_per_class(found),
    )


def difference(ours: Mapping[int, Scored], theirs: Mapping[int, Scored], oracle: Mapping[int, Scored] | None = None) -> Difference | None:
    """Of two rows, by seed; None where it is not defined. ``oracle`` is the row whose own difference to ``theirs`` it is a share of."""
    means = [statistics.fmean(one.value for one in side.values()) for side in (ours, theirs)]
    if math.isnan(means[0] - means[1]):
        return None
    classes, others = _per_class(ours), _per_class(theirs)
    per_class = {name: value - others[name] for name, value in classes.items()}
    values = {seed: one.value - theirs[seed].value for seed, one in ours.items()} if ours.keys() == theirs.keys() else {}
    found = interval(moved(*({seed: one.replicates for seed, one in side.items()} for side in (ours, theirs))))
    most = difference(oracle, theirs) if oracle else None
    share = 100 * (means[0] - means[1]) / most.mean if most and most.interval.verdict == BETTER else None
    return Difference(means[0] - means[1], found, min(len(ours), len(theirs)), per_class, values, share)


def _replicates(scored: Mapping[int, Scored]) -> np.ndarray:
    """``(R,)`` means over seeds, drawn anew."""
    return over_seeds(np.stack([one.replicates for one in scored.values()]))


def _per_class(scored: Mapping[int, Scored]) -> dict[str, float]:
    """Means over the seeds in which a category has a figure."""
    sides = [one.per_class for one in scored.values()]
    return {name: float(mean_of([side[name] for side in sides])) for name in (sides[0] if sides else ())}
