"""Alignment: does a segmenter trained on real images see in a synthetic one what its mask says?

The figures are those of an evaluation whose truth are the bank's masks. What was counted in each sample is kept, so that the
figures of any set of samples are sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from seggen_d2.evaluation.of_models import prediction
from seggen_d2.evaluation.panoptic import panoptic_measured
from seggen_d2.evaluation.scores import Measured
from seggen_d2.evaluation.semantic import SemanticScorer
from seggen_d2.evaluation.tasks import OF_PANOPTIC, TASKS, Task
from seggen_d2.mapping import DatasetMapper, test_augmentations
from seggen_d2.modeling import Mask2Former, Outputs, predict
from seggen_d2.segmentation import Categories
from seggen_d2.sources.dataset_file import Source

from .best_match import BestMatch, best_measured
from .samples import BankSource, Part, Real, batches, labelled
from .sidecar import Sidecar

WORST = 12  # samples that a summary names


@dataclass(frozen=True)
class Counting:
    """How one kind of result is counted.

    Attributes:
        task: makes the task of a source.
        sums: ``(N, C)`` of what the task counted.
        measured: the figures of sums.
        columns: of the sidecar, by the figure that they hold; the first is the kind's main one.
    """

    task: Callable[[Source], Task]
    sums: Callable[[Any], np.ndarray]
    measured: Callable[[Categories, np.ndarray], Measured]
    columns: Mapping[str, str]


COUNTINGS = {
    "semantic": Counting(TASKS["semantic"][0], lambda counted: counted.sums(), lambda categories, sums: SemanticScorer(categories).measured(sums),
                         {"mIoU": "miou", "pACC": "pixel_accuracy", "Boundary IoU": "boundary_iou"}),
    "panoptic": Counting(TASKS["panoptic"][0], lambda counted: counted.sums(), panoptic_measured, {"PQ": "pq", "SQ": "sq", "RQ": "rq"}),
    "instance": Counting(BestMatch, lambda sums: sums, lambda categories, sums: best_measured(sums), {"best IoU": "best_iou", "found": "found"}),
}
KINDS = {"semantic": ("semantic",), "panoptic": ("panoptic", "semantic"), "instance": ("instance",)}  # of results, by a bank's task


class Alignment:
    """Scores of the kind ``alignment``.

    Args:
        sidecar: of the bank.
        model: the segmenter; its ``outputs`` become those that are scored.
        test: a real held-out set, to read the figures by.
        batch: images that the segmenter sees at once, all of one size.
    """

    kind = "alignment"

    def __init__(self, sidecar: Sidecar, model: Mask2Former, *, test: Real | None = None, batch: int = 8):
        self.sidecar, self.bank, self.model, self.test, self.batch = sidecar, sidecar.bank, model.eval(), test, batch
        self.kinds, self.categories = KINDS[self.bank.info.task], self.bank.info.categories
        things = tuple(item.isthing for item in self.categories.items)
        model.outputs = Outputs(**{kind: kind in self.kinds for kind in COUNTINGS}, is_thing=things)
        self.mapper = DatasetMapper(test_augmentations(*model.test_size))

    def columns(self, part: Part, tick: Callable[[], Any]) -> dict[str, Any]:
        """The figures of each sample alone, percent, null where not defined; and the sums they are made of."""
        return self._counted(BankSource(self.bank), (labelled(self.bank, record) for record in part.records()), tick)

    def _counted(self, source: Source, records: Iterable[dict[str, Any]], tick: Callable[[], Any]) -> dict[str, Any]:
        """A row a record, in their order."""
        tasks = {kind: COUNTINGS[kind].task(source) for kind in self.kinds}
        given = list(records)
        found: dict[str, dict[Any, np.ndarray]] = {kind: {} for kind in self.kinds}
        for batch in batches(given, self.batch):
            for record, output in predict(self.model, batch, self.mapper, batch_size=len(batch)):
                for kind, task in tasks.items():
                    found[kind][record["image_id"]] = COUNTINGS[kind].sums(task.score(record, prediction(kind, output)))
                tick()
        columns: dict[str, Any] = {}
        for kind, counting in ((kind, COUNTINGS[kind]) for kind in self.kinds):
            sums = np.stack([found[kind][record["image_id"]] for record in given])
            figures = counting.measured(self.categories, sums).figures
            columns |= {column: pa.array(figures[name], from_pandas=True) for name, column in counting.columns.items()}
            columns |= dict(zip((f"{kind}_classes", f"{kind}_sums"), sparse(sums), strict=True))
        return columns

    def summary(self, parts: Sequence[Part]) -> dict[str, Any]:
        """The figures over all samples, of each category, of the real set beside them, and the worst samples."""
        table = self.sidecar.table(self.kind, parts)
        found: dict[str, Any] = {"samples": len(table), **self._figures(table), "worst": self._worst(table)}
        if self.test:
            source = self.test.source
            real = self.sidecar.real(self.kind, self.test.print, lambda: self._of_real(source, self.test.records))
            found["real"] = {"dataset": source.name, "images": len(real), **self._figures(real)}
        return found

    def _of_real(self, source: Source, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
        with tqdm(total=len(records), desc=f"{self.kind} of {source.name}", unit="image", disable=None) as bar:
            return self._counted(source, records, bar.update)

    def _figures(self, table: pa.Table) -> dict[str, Any]:
        found: dict[str, Any] = {"figures": {}, "per_class": {}}
        for kind, counting in ((kind, COUNTINGS[kind]) for kind in self.kinds):
            nothing = counting.sums(counting.task(BankSource(self.bank)).none())
            scores = counting.measured(self.categories, total(table, kind, nothing)).scores(self.categories).to_json()
            names = OF_PANOPTIC.get(kind, {}) if "panoptic" in self.kinds else {}
            found["figures"] |= {names.get(name, name): value for name, value in scores["figures"].items()}
            found["per_class"] |= scores["per_class"]
        return found

    def _worst(self, table: pa.Table) -> list[dict[str, Any]]:
        column = next(iter(COUNTINGS[self.kinds[0]].columns.values()))
        ranked = table.select(["key", column]).filter(table[column].is_valid()).sort_by(column)
        return ranked.slice(0, WORST).to_pylist()


def sparse(sums: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """``(S, N, C)`` sums as lists, a row a sample: the categories whose sums are not all 0, and these sums one after another."""
    held = sums.any(-1)
    rows, classes = np.nonzero(held)
    ends = np.concatenate([[0], np.cumsum(held.sum(1))])
    flat = sums[rows, classes].astype(float).ravel()
    return (pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(classes, pa.int32())),
            pa.ListArray.from_arrays(pa.array(ends * sums.shape[-1], pa.int32()), pa.array(flat)))


def total(table: pa.Table, kind: str, nothing: np.ndarray) -> np.ndarray:
    """``(N, C)``: the sum over all rows of what :func:`sparse` wrote; ``nothing`` is that over no row."""
    classes = table[f"{kind}_classes"].combine_chunks().flatten().to_numpy()
    found = nothing.astype(float)
    np.add.at(found, classes, table[f"{kind}_sums"].combine_chunks().flatten().to_numpy().reshape(-1, found.shape[1]))
    return found
