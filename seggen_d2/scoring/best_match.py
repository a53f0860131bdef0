"""How well detections cover objects: for each object the IoU of the best one. Sums over images, where AP needs them all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seggen_d2.evaluation.instances import Detection
from seggen_d2.evaluation.scores import Measured, mean_of
from seggen_d2.evaluation.tasks import SHOWN, InstanceTask
from seggen_d2.segmentation.confusion import shares

FOUND = 0.5  # IoU from which an object counts as found


class BestMatch(InstanceTask):
    """Objects against detections of their category with a score of ``SHOWN`` or more; crowds are left out.

    Scores are ``(N, 3)`` sums of each category: objects, their best IoU, those found.
    """

    rank = "best IoU"

    def none(self) -> np.ndarray:
        return np.zeros((len(self.source.categories), 3))

    def score(self, record: dict[str, Any], predicted: Sequence[Detection]) -> np.ndarray:
        from pycocotools import mask as tools

        sums, sure = self.none(), [one for one in predicted if one.score >= SHOWN]
        for thing in (thing for thing in self._truth(record) if not thing.iscrowd):
            rivals = [one.rle for one in sure if one.category_id == thing.category_id]
            best = float(tools.iou(rivals, [thing.rle], [0]).max()) if rivals else 0.0
            sums[thing.category_id] += 1, best, best >= FOUND
        return sums


def best_measured(sums: np.ndarray) -> Measured:
    """``best IoU`` and ``found``, percent, of ``(..., N, 3)`` sums; means over the categories that have objects."""
    objects, best, found = np.moveaxis(sums, -1, 0)
    columns = {"best IoU": shares(best, objects), "found": shares(found, objects)}
    return Measured({name: mean_of(column) for name, column in columns.items()}, columns)
