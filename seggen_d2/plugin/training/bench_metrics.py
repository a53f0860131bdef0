"""What scoring costs against Detectron2's own evaluator, too: rows for ``tools/benchmark.py``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator

from seggen_d2.evaluation.bench import Labels, metric_rows
from seggen_d2.segmentation import Categories

NAME = "seggen_bench_metrics"


def rows(images: int = 6, turns: int = 5) -> list[dict[str, Any]]:
    """:func:`metric_rows` with ``SemSegEvaluator`` as the reference of mIoU."""
    return metric_rows(images, turns, _semantic)


def _semantic(labels: Labels, categories: Categories, folder: Path) -> Callable[[], float]:
    """The evaluator over truth in ``folder``, ``0.png`` and so on; of the logits that it takes, only argmax is asked for."""
    records = [{"file_name": f"{number}.jpg", "sem_seg_file_name": str(folder / f"{number}.png")} for number in range(len(labels))]
    outputs = [{"sem_seg": _Chosen(torch.from_numpy(predicted.astype(np.int64)))} for predicted, _ in labels]
    for catalog in (DatasetCatalog, MetadataCatalog):
        if NAME in catalog:
            catalog.remove(NAME)
    DatasetCatalog.register(NAME, lambda: records)
    MetadataCatalog.get(NAME).set(stuff_classes=list(categories.names), ignore_label=categories.ignore_id)
    logging.getLogger("detectron2").setLevel(logging.WARNING)

    def reference() -> float:
        evaluator = SemSegEvaluator(NAME, distributed=False)
        evaluator.reset()
        evaluator.process(records, outputs)
        return float(evaluator.evaluate()["sem_seg"]["mIoU"])

    return reference


class _Chosen:
    """Stands for the logits of a prediction that is known."""

    def __init__(self, labels: torch.Tensor):
        self.labels = labels

    def argmax(self, dim: int) -> torch.Tensor:
        """``(H, W)`` category ids."""
        return self.labels
