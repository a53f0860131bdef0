"""Labels of any task as one class a pixel, which is all that a probe learns."""

from __future__ import annotations

from typing import Any

import numpy as np

from seggen_d2.mapping import InstanceTargets, PanopticTargets, SemanticTargets
from seggen_d2.mapping.plan import Plan, Size
from seggen_d2.segmentation import Categories, Category

BACKGROUND = "(no object)"


def probe_categories(categories: Categories, task: str) -> Categories:
    """The classes that a probe tells apart: the label space, and for instance data what no object covers."""
    return Categories((*categories.items, Category(BACKGROUND)), categories.ignore_id) if task == "instance" else categories


class ClassTargets(SemanticTargets):
    """Semantic targets of records of any task; records of banks and of datasets alike.

    Args:
        categories: of :func:`probe_categories`.
        task: ``semantic``, ``panoptic`` (pixels of no segment are ignored) or ``instance`` (the smallest object shows; crowds are background).
    """

    def __init__(self, categories: Categories, task: str):
        super().__init__(categories)
        self._read = {"semantic": super().read, "panoptic": self._panoptic, "instance": self._instance}[task]

    def read(self, record: dict[str, Any], size: Size | None = None) -> np.ndarray:
        """The (H, W) label map.

        Raises:
            SegGenError: the record has no labels of the task, they cannot be read, or they are not of ``size``.
        """
        return self._read(record, size)

    def _panoptic(self, record: dict[str, Any], size: Size | None = None) -> np.ndarray:
        labels = PanopticTargets().read(record, size)
        table = [self.categories.ignore_id, *(segment["category_id"] for segment in labels.segments)]
        return np.array(table, np.uint16)[labels.numbers]

    def _instance(self, record: dict[str, Any], size: Size | None = None) -> np.ndarray:
        size, targets = size or (record["height"], record["width"]), InstanceTargets()
        found = targets(targets.read(record, size), record, Plan.of(size))
        masks, classes = found["mask_labels"].numpy(), found["class_labels"].numpy()
        labels = np.full(size, len(self.categories) - 1, np.uint16)
        for place in np.argsort(-masks.sum((1, 2)), kind="stable"):
            labels[masks[place]] = classes[place]
        return labels
