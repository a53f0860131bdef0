"""The runs of a table: which are missing, and what the predictions of those that are there score, image by image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.evaluation.bootstrap import draw_images
from seggen_d2.evaluation.kept import Kept
from seggen_d2.evaluation.predictions import distinct_records, open_dataset, score_saved
from seggen_d2.evaluation.results import METRICS
from seggen_d2.evaluation.scores import check_classes
from seggen_d2.evaluation.tasks import TASKS, kinds_of, open_task
from seggen_d2.foundation.errors import SegGenError, check_choice

from .plan import Column, Plan, Row, Run

OVER_ALL = {"mIoU": "IoU", "fwIoU": "IoU", "mACC": "ACC", "pACC": "ACC"}
SHOWN = 5  # images without prediction that are named


@dataclass(frozen=True)
class Missing:
    """A run, or its predictions for one column, that is not there; ``column`` is None for the whole run."""

    row: str
    seed: int
    column: str | None
    path: str
    what: str

    def __str__(self) -> str:
        of = f", column {self.column!r}" if self.column else ""
        return f"row {self.row!r}, seed {self.seed}{of}: {self.what} {self.path}"


@dataclass(frozen=True)
class Scored:
    """A run's predictions in one column.

    Attributes:
        value: percent. replicates: ``(R,)`` percent, of each draw of images.
        per_class: percent by category, of the column that belongs to the figure.
    """

    value: float
    replicates: np.ndarray
    per_class: dict[str, float]


class Judge:
    """Scores what lies at a path, in the columns of one kind and one dataset.

    Args:
        kind, dataset: of the columns. columns: those.
        replicates: draws of the dataset's images, the same for all that is scored here. seed: of the draws.

    Raises:
        SegGenError: the dataset cannot be opened or is of no use for the kind, or a column's figure or classes are unknown.
    """

    def __init__(self, kind: str, dataset: str, columns: Sequence[Column], *, replicates: int, seed: int = 0):
        self.kind, self.source = kind, open_dataset(dataset)
        self.records = distinct_records(self.source)
        outlines = any(column.figure.startswith("Boundary") for column in columns)
        self.options: dict[str, Any] = {"ratio": 0} if kind == "semantic" and not outlines else {}
        self.draws = draw_images(len(self.records), replicates, seed)
        self._last: tuple[str, Kept | None] = "", None
        check_choice(f"the kind of column {columns[0].name!r} on dataset {self.source.name}", kind, kinds_of(self.source))
        for column in columns:
            self._check(column)

    def _check(self, column: Column) -> None:
        classes, task = check_classes(column.classes, self.source.categories), TASKS[self.kind][0](self.source, **self.options)
        check_choice(f"the figure of column {column.name!r}", column.figure, task.scores(task.none(), classes).figures)

    def lacking(self, path: str) -> list[str]:
        """The images without prediction, where that is no prediction of nothing."""
        task = open_task(self.kind, path, self.source, **self.options)
        return [str(record["image_id"]) for record in self.records if task.absent == "error" and not task.saved.has(record)]

    def scored(self, path: str, column: Column, words: str) -> Scored:
        """The predictions at ``path``, which are complete; ``words`` stand at the progress bar."""
        kept = self._kept(path, words)
        scores = kept.scores(column.classes)
        replicates = kept.figure(column.figure, self.draws, column.classes)
        return Scored(scores.figures[column.figure], replicates, scores.per_class[column_of(column.figure)])

    def _kept(self, path: str, words: str) -> Kept:
        """Images are scored once for all columns."""
        if self._last[0] != path:
            task = open_task(self.kind, path, self.source, **self.options)
            kept = task.kept()
            for one in score_saved(task, self.records, words):
                kept += one
            self._last = path, kept
        return self._last[1]


def column_of(figure: str) -> str:
    """The figure by category that belongs to a figure over all: ``IoU`` to ``mIoU*``, ``PQ`` to ``PQ_th``, ``AP`` to ``AP50``."""
    name = figure.rstrip("*").removesuffix("_th").removesuffix("_st")
    return OVER_ALL.get(name, "AP" if name.startswith("AP") else name)


class Runs:
    """All that a plan's table is made from. Runs that are missing are told before anything is opened.

    Raises:
        SegGenError: runs are missing (each is named) and ``partial`` is false, or see :class:`Judge`.
    """

    def __init__(self, plan: Plan, *, replicates: int, partial: bool = False):
        self.plan, self.partial, self.missing = plan, partial, []
        self._without(one for row in plan.rows for run in row.runs for one in _without_files(row, run))
        groups: dict[tuple[str, str], list[Column]] = {}
        for column in plan.columns:
            groups.setdefault((column.kind, column.dataset), []).append(column)
        judges = {key: Judge(*key, columns, replicates=replicates) for key, columns in groups.items()}
        self.judges = {column.name: judges[column.kind, column.dataset] for column in plan.columns}
        self._without(one for row in plan.rows for run in row.runs for one in self._without_images(row, run))

    def _without(self, found: Iterable[Missing]) -> None:
        self.missing += found
        if self.missing and not self.partial:
            raise _are_missing(self.missing, self.plan)

    def _without_images(self, row: Row, run: Run) -> Iterator[Missing]:
        for column, path in self._there(row, run):
            if lacking := self.judges[column].lacking(path):
                named = ", ".join(lacking[:SHOWN]) + (", ..." if len(lacking) > SHOWN else "")
                yield Missing(row.name, run.seed, column, path, f"{len(lacking)} images without prediction ({named}) in")

    def _there(self, row: Row, run: Run) -> list[tuple[str, str]]:
        """``(column, path)`` of a run's predictions that are not missing."""
        absent = {one.column for one in self.missing if (one.row, one.seed) == (row.name, run.seed)}
        return [(column, path) for column, path in run.predictions.items() if not absent & {None, column}]

    def scored(self, row: Row) -> dict[str, dict[int, Scored]]:
        """By column, the seeds of a row whose predictions are there."""
        found: dict[str, dict[int, Scored]] = {column.name: {} for column in self.plan.columns}
        for run in row.runs:
            there = dict(self._there(row, run))
            for column in self.plan.columns:
                if column.name in there:
                    words = f"{row.name}, seed {run.seed}, {column.name}"
                    found[column.name][run.seed] = self.judges[column.name].scored(there[column.name], column, words)
        return found


def _without_files(row: Row, run: Run) -> Iterator[Missing]:
    """What of a run is not there at all."""
    folder = Path(run.folder)
    if not (folder / METRICS).is_file():
        what = f"not finished: no {METRICS} in" if folder.is_dir() else "no folder"
        yield Missing(row.name, run.seed, None, run.folder, what)
        return
    for column, path in run.predictions.items():
        if not Path(path).exists():
            yield Missing(row.name, run.seed, column, path, "no predictions")


def _are_missing(missing: Sequence[Missing], plan: Plan) -> SegGenError:
    make = f"make them: {plan.command}" if plan.command else "train and evaluate them"
    make += " (where only some images lack predictions, remove their folder first)" if any("images without" in one.what for one in missing) else ""
    return SegGenError(f"{len(missing)} runs of table {plan.name!r} are missing, or their predictions are", expected="finished runs and their predictions",
                       found="".join(f"\n    {one}" for one in missing), remedy=f"{make}; or --partial writes the table without them")
