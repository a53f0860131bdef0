"""A table's cells: mean and spread over seeds, the paper's figure, and the difference to another row with its interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from seggen_d2.evaluation.scores import mean_of
from seggen_d2.evaluation.tables import seed_spread

from .bootstrap import Interval, interval
from .plan import Plan, Row
from .scoring import Missing, Runs, Scored


@dataclass(frozen=True)
class Difference:
    """A row's figure minus that of the row it is compared with, points.

    Attributes:
        mean: of the means over seeds. interval: of its bootstrap replicates.
        seeds: of the side that has fewer.
        per_class: of each category, mean over seeds minus mean over seeds.
    """

    mean: float
    interval: Interval
    seeds: int
    per_class: dict[str, float]


@dataclass(frozen=True)
class Cell:
    """A row in one column.

    Attributes:
        values: percent by seed; empty where there is no run, or none with predictions for the column.
        missing: seeds whose run or predictions are not there.
        paper: the paper's figure, percent. paper_difference: and its difference to the paper's figure of the other row.
        mean: percent; NaN without values. spread: standard deviation over seeds, points; None with fewer than two.
        interval: of the mean, over draws of images.
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
    """A finished table: ``cells[row][column]``; ``images`` of each column's test set; ``missing`` runs."""

    plan: Plan
    replicates: int
    cells: dict[str, dict[str, Cell]]
    images: dict[str, int]
    missing: tuple[Missing, ...]


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
    return Comparison(plan, replicates, cells, {name: len(judge.records) for name, judge in runs.judges.items()}, tuple(runs.missing))


def _cell(row: Row, column: str, runs: Runs, scored: Mapping[str, Mapping[str, Mapping[int, Scored]]]) -> Cell:
    found, other = scored[row.name][column], scored[row.against][column] if row.against else {}
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
        difference=_difference(found, other) if found and other else None,
        per_class=_per_class(found),
    )


def _difference(ours: Mapping[int, Scored], theirs: Mapping[int, Scored]) -> Difference | None:
    means = [statistics.fmean(one.value for one in side.values()) for side in (ours, theirs)]
    if math.isnan(means[0] - means[1]):
        return None
    classes, others = _per_class(ours), _per_class(theirs)
    moved = interval(_replicates(ours) - _replicates(theirs))
    return Difference(means[0] - means[1], moved, min(len(ours), len(theirs)), {name: value - others[name] for name, value in classes.items()})


def _replicates(scored: Mapping[int, Scored]) -> np.ndarray:
    """``(R,)`` means over seeds."""
    return np.mean([one.replicates for one in scored.values()], 0)


def _per_class(scored: Mapping[int, Scored]) -> dict[str, float]:
    """Means over the seeds in which a category has a figure."""
    sides = [one.per_class for one in scored.values()]
    return {name: float(mean_of([side[name] for side in sides])) for name in (sides[0] if sides else ())}
