"""A segmenter trained on real labels as annotator: what it predicts becomes an image's mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from seggen_d2.evaluation.of_models import segments_of
from seggen_d2.foundation.errors import check_range
from seggen_d2.mapping import DatasetMapper
from seggen_d2.mapping.augmentations import test_augmentations
from seggen_d2.modeling import Mask2Former, Outputs, predict
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import InstanceMask, InstanceObject, Mask, SegmentMask, SemanticMask

LEAST = {"semantic": 0.0, "panoptic": 0.0, "instance": 0.5}  # confidence by task; half of a query's certainty names one category at most


class Annotator:
    """Labels images as the segmenter would be evaluated: images at its test size, results at their own.

    Args:
        model: the segmenter; its ``outputs`` become those of the task.
        task: ``semantic``, ``panoptic`` or ``instance``.
        categories: of the model and the masks.
        confidence: in [0, 1]; what is less sure is left unlabelled. Semantic: pixels, by the share of their best category
            in all categories' scores. Panoptic: segments, by the probability of their category, on top of the least that
            panoptic inference asks for (``Outputs.object_mask_threshold``). Instance: objects, by their score.

    Raises:
        SegGenError: the confidence is out of range.
    """

    def __init__(self, model: Mask2Former, task: str, categories: Categories, confidence: float):
        self.model, self.task, self.categories = model, task, categories
        self.confidence = check_range("confidence", confidence, 0, 1)
        model.outputs = outputs_for(task, categories, confidence)
        self.mapper = DatasetMapper(test_augmentations(*model.test_size))

    def __call__(self, records: Sequence[dict[str, Any]]) -> list[Mask]:
        """Masks of records' images (``file_name``, a file's or a ``bank://`` path), all of one size in pixels."""
        found = predict(self.model, records, self.mapper, batch_size=len(records))
        return [_READERS[self.task](result, self.categories.ignore_id, self.confidence) for _, result in found]


def outputs_for(task: str, categories: Categories, confidence: float) -> Outputs:
    """The results that are asked of a segmenter; see :class:`Annotator`."""
    things = tuple(item.isthing for item in categories.items)
    asked = Outputs(semantic=task == "semantic", panoptic=task == "panoptic", instance=task == "instance", is_thing=things)
    return replace(asked, object_mask_threshold=max(asked.object_mask_threshold, confidence))


def _pixels(result: dict[str, Any], ignore_id: int, confidence: float) -> SemanticMask:
    scores = result["sem_seg"]
    ids, shares = scores.argmax(0), scores.amax(0) / scores.sum(0).clamp(min=torch.finfo(scores.dtype).tiny)
    ids[shares < confidence] = ignore_id
    return SemanticMask(ids.cpu().numpy().astype(np.uint8 if ignore_id <= 255 else np.uint16), ignore_id)


def _segments(result: dict[str, Any], ignore_id: int, confidence: float) -> SegmentMask:
    return replace(segments_of(result), ignore_id=ignore_id)


def _objects(result: dict[str, Any], ignore_id: int, confidence: float) -> InstanceMask:
    found = result["instances"]
    masks, kept = found["masks"].cpu().numpy(), found["scores"].cpu().numpy() >= confidence
    things = (InstanceObject(masks[place], int(found["categories"][place])) for place in np.flatnonzero(kept))
    return InstanceMask(masks.shape[1:], tuple(things), ignore_id)


_READERS = {"semantic": _pixels, "panoptic": _segments, "instance": _objects}
