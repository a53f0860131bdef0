"""``plan.json``: which rows and columns a table has, which runs stand in it, and what the paper tells."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from seggen_d2.evaluation.tasks import TASKS
from seggen_d2.foundation.errors import SegGenError, check_choice, nearest
from seggen_d2.foundation.files import read_json
from seggen_d2.foundation.options import build

FORMAT = 1


@dataclass(frozen=True)
class Column:
    """A figure on a test set.

    Attributes:
        name: stands at its head.
        figure: one of those that scoring in ``kind`` gives: ``mIoU``, ``PQ_th``, ``AP50``, with ``classes`` ``mIoU*``.
        kind: ``semantic``, ``panoptic`` or ``instance``; a panoptic dataset serves for all three.
        dataset: the test set's YAML file, or its name.
        classes: names, for figures with a ``*``.
    """

    name: str
    figure: str
    kind: str
    dataset: str
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A training: its seed, its folder, and for each column where its predictions lie."""

    seed: int
    folder: str
    predictions: dict[str, str]


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed alone.

    Attributes:
        name: of the setting. model: what is trained. config: the config file.
        against: the name of the row that it is compared with, or "".
        oracle: the row whose gain over ``against`` this row's is told as a share of, or "".
        paper: percent by column.
        not_run: why there are no runs, or "".
        runs: one for each seed.
    """

    name: str
    model: str = ""
    against: str = ""
    oracle: str = ""
    paper: dict[str, float] = field(default_factory=dict)
    not_run: str = ""
    config: str = ""
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two rows that are compared below the table."""

    row: str
    against: str


@dataclass(frozen=True)
class Plan:
    """A table that is to be written.

    Attributes:
        format: 1. name, title, source: of the table; ``source`` is where the paper's figures are from.
        dataset, scale, engine, commit: what was run, told as it is. command: what makes runs that are missing.
        columns, rows: the table. pairs: further comparisons. notes: sentences below it.
        replications: chains of labelled set, generators and banks that stand under the seeds; 0 where that is not known.
    """

    format: int
    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    source: str = ""
    dataset: str = ""
    scale: str = ""
    engine: str = ""
    commit: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
    replications: int = 0

    def row(self, name: str) -> Row:
        """The row of a name."""
        return next(row for row in self.rows if row.name == name)


def read_plan(path: str | os.PathLike) -> Plan:
    """The plan that a JSON file holds; paths in it are as for the commands, from the current folder.

    Raises:
        SegGenError: a key is unknown, missing or of the wrong type, or names something that the plan does not hold.
    """
    values, where = read_json(path, "plan"), f"plan {path}"
    if not isinstance(values, dict):
        raise SegGenError(f"{where} holds no keys", expected="{format, name, title, columns, rows, ...}", found=repr(values)[:80])
    if values.get("format") != FORMAT:
        raise SegGenError(f"{where} is of another format", expected=f"format: {FORMAT}", found=f"format: {values.get('format')!r}",
                          remedy="write it with the same version of this package that reads it")
    plan = build(Plan, values, where)
    _check_columns(plan, where)
    _check_once([row.name for row in plan.rows], "row", where)
    for row in plan.rows:
        _check_row(row, plan, f"{where}: row {row.name!r}")
    for pair in plan.pairs:
        _check_known([pair.row, pair.against], [row.name for row in plan.rows], f"{where}: pairs", "names of rows")
    return plan


def _check_columns(plan: Plan, where: str) -> None:
    _check_once([column.name for column in plan.columns], "column", where)
    for column in plan.columns:
        check_choice(f"{where}: kind of column {column.name!r}", column.kind, TASKS)


def _check_row(row: Row, plan: Plan, where: str) -> None:
    columns = [column.name for column in plan.columns]
    for what, name in (("against", row.against), ("oracle", row.oracle)):
        _check_known([name] if name else [], [other.name for other in plan.rows if other is not row], f"{where}: {what}", "another row's name")
    if row.oracle and not row.against:
        raise SegGenError(f"{where} has an oracle and is compared with no row", expected="against: the row without synthetic data", found="none")
    _check_known(row.paper, columns, f"{where}: paper", "names of columns")
    for name, value in row.paper.items():
        if not math.isfinite(value):
            raise SegGenError(f"{where}: paper's {name!r} is no number", expected="percent", found=repr(value),
                              remedy="leave the column out where the paper has none")
    if bool(row.not_run) == bool(row.runs):
        raise SegGenError(f"{where} {'has runs, and says why there are none' if row.runs else 'has no runs and does not say why'}",
                          expected="runs, or not_run: WHY", found=f"{len(row.runs)} runs, not_run: {row.not_run!r}")
    _check_once([str(run.seed) for run in row.runs], "seed", where)
    for run in row.runs:
        _check_known(run.predictions, columns, f"{where}: predictions of seed {run.seed}", "names of columns")


def _check_once(names: list[str], what: str, where: str) -> None:
    if not names and what != "seed":
        raise SegGenError(f"{where} has no {what}s", expected=f"one {what} at least")
    wrong = [name for name in names if not name.strip()] or sorted({name for name in names if names.count(name) > 1})
    if wrong:
        raise SegGenError(f"{where}: a {what} {'stands twice' if wrong[0].strip() else 'has no name'}", expected=f"a name of its own for each {what}",
                          found=", ".join(map(repr, wrong[:10])))


def _check_known(names: Iterable[str], known: list[str], where: str, expected: str) -> None:
    strange = [name for name in names if name not in known]
    if strange:
        raise SegGenError(f"{where} names what is not there", expected=f"{expected}: {', '.join(known) or 'there is none'}", found=repr(strange[0]),
                          remedy=nearest(strange[0], known))
