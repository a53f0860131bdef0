"""A model's results of an image, as the predictions that each task scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from seggen_d2.segmentation.masks import Segment, SegmentMask
from seggen_d2.sources.dataset_file import Source

from .instances import Detection, encode_object
from .tasks import TASKS, Task

Output = dict[str, Any]


def labels_of(output: Output) -> np.ndarray:
    """``sem_seg`` as (H, W) category ids."""
    return output["sem_seg"].argmax(0).cpu().numpy()


def segments_of(output: Output) -> SegmentMask:
    """``panoptic_seg`` as a mask."""
    ids, segments = output["panoptic_seg"]
    return SegmentMask(ids.cpu().numpy(), tuple(Segment(one["id"], one["category_id"]) for one in segments))


def objects_of(output: Output) -> list[Detection]:
    """``instances`` with run-length masks."""
    found = output["instances"]
    rows = zip(found["categories"].tolist(), found["scores"].tolist(), found["masks"].cpu().numpy(), strict=True)
    return [Detection(category, score, encode_object(mask)) for category, score, mask in rows]


READERS = {"panoptic": segments_of, "semantic": labels_of, "instance": objects_of}


def tasks_of(outputs: Any, source: Source) -> dict[str, Task]:
    """What can be scored of a model's results (``modeling.Outputs``), by kind; the first is what it is judged by."""
    return {kind: TASKS[kind][0](source) for kind in READERS if getattr(outputs, kind)}


def prediction(kind: str, output: Output) -> Any:
    """What the task of a kind scores."""
    return READERS[kind](output)
