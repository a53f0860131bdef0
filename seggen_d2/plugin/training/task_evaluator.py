"""Results of a Detectron2 model, scored and saved as the transformers engine does it: by evaluation's tasks and savers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import iadd
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from seggen_d2.evaluation.instances import Detection, encode_object
from seggen_d2.evaluation.of_models import READERS
from seggen_d2.evaluation.saving import SAVERS, Saver
from seggen_d2.evaluation.scores import Scores
from seggen_d2.evaluation.tasks import TASKS, Task
from seggen_d2.sources import Source
from seggen_d2.sources.records import stem

NAMES = {"panoptic": "panoptic_seg", "semantic": "sem_seg", "instance": "segm"}  # Detectron2's, of each kind of result


def objects_of(output: Mapping[str, Any]) -> list[Detection]:
    """Detectron2's ``instances`` with run-length masks."""
    found = output["instances"].to("cpu")
    rows = zip(found.pred_classes.tolist(), found.scores.tolist(), found.pred_masks.bool().numpy(), strict=True)
    return [Detection(category, score, encode_object(mask)) for category, score, mask in rows]


_READERS = {**READERS, "instance": objects_of}


@dataclass(frozen=True)
class Numbers:
    """Stands for a dataset that Detectron2 knows, where predictions are saved: the place of each category by its id in the JSON."""

    numbers: dict[int, int]


class TaskEvaluator(DatasetEvaluator):
    """Scores the results of each image, and saves them; either may be asked for alone.

    Each of several processes scores its own images and writes their pictures; the first adds up, and writes the JSON files.

    Args:
        tasks: of each kind of result that is scored.
        savers: of each kind that is written. records: the dataset's, in which truth is looked up.
    """

    def __init__(self, tasks: Mapping[str, Task], savers: Mapping[str, Saver], records: Sequence[dict[str, Any]] = ()):
        self.tasks, self.savers = tasks, savers
        self.records = {record["file_name"]: record for record in records}
        self.reset()

    def reset(self) -> None:
        self.counted = {kind: task.none() for kind, task in self.tasks.items()}
        for saver in self.savers.values():
            saver.entries.clear()

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Take a batch: the samples that the model was given, and what it gave."""
        for sample, output in zip(inputs, outputs, strict=True):
            record = self.records.get(sample["file_name"]) or {"image_id": stem(sample), **sample}
            for kind in {**self.tasks, **self.savers}:
                predicted = _READERS[kind](output)
                if kind in self.tasks:
                    self.counted[kind] += self.tasks[kind].score(record, predicted)
                if kind in self.savers:
                    self.savers[kind].add(record, predicted)

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """The figures, in percent, in Detectron2's form: ``{"sem_seg": {"mIoU": ..., "IoU-road": ...}}``; None in all processes but the first."""
        everywhere = comm.gather((self.counted, {kind: saver.entries for kind, saver in self.savers.items()}))
        if not comm.is_main_process():
            return None
        for kind, saver in self.savers.items():
            saver.entries = [entry for _, entries in everywhere for entry in entries[kind]]
            saver.close()
        return {NAMES[kind]: _flat(task.scores(reduce(iadd, (counted[kind] for counted, _ in everywhere)))) for kind, task in self.tasks.items()}


def task_evaluator(kinds: Sequence[str], source: Source, predictions: Path | None) -> TaskEvaluator:
    """Scores a dataset of this package's; what is predicted is saved to ``predictions``, where that is a folder."""
    savers = {kind: SAVERS[kind](predictions, source) for kind in kinds} if predictions else {}
    return TaskEvaluator({kind: TASKS[kind][0](source) for kind in kinds}, savers, source.records())


def prediction_writer(kinds: Sequence[str], name: str, classes: int, predictions: Path) -> TaskEvaluator:
    """Saves what is predicted for a dataset that Detectron2 knows, and scores nothing.

    Args:
        name: of the dataset; its metadata tells the categories' ids. classes: how many the model has.
    """
    metadata = MetadataCatalog.get(name)
    things, stuff = (metadata.get(f"{kind}_dataset_id_to_contiguous_id") or {} for kind in ("thing", "stuff"))
    numbers = Numbers({**stuff, **things} or {place: place for place in range(classes)})
    return TaskEvaluator({}, {kind: SAVERS[kind](predictions, numbers) for kind in kinds})


def _flat(scores: Scores) -> dict[str, float]:
    per_class = {f"{column}-{name}": value for column, values in scores.per_class.items() for name, value in values.items()}
    return {**scores.figures, **per_class}
