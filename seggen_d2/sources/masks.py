"""Masks of records, whatever the dataset's task."""

from __future__ import annotations

from typing import Any

import numpy as np

from seggen_d2.segmentation import check_labels, read_label_map
from seggen_d2.segmentation.masks import InstanceMask, InstanceObject, Mask, Segment, SegmentMask, SemanticMask
from seggen_d2.segmentation.panoptic import read_panoptic_png

from .coco_instance import read_instance
from .coco_panoptic import check_segments
from .dataset_file import Source
from .records import check_recorded_size, check_same_size, read_image

MASK_FILE = {"semantic": "sem_seg_file_name", "panoptic": "pan_seg_file_name"}  # a record's key of each task


def read_mask(record: dict[str, Any], source: Source) -> Mask:
    """A record's mask; the image is not read.

    Raises:
        SegGenError: the mask cannot be read, or holds labels or segments that its dataset does not know.
    """
    return _READERS[source.task](record, source)


def read_labelled(record: dict[str, Any], source: Source) -> tuple[np.ndarray, Mask]:
    """A record's image, ``(H, W, 3)`` uint8 RGB, and its mask.

    Raises:
        SegGenError: one cannot be read, their sizes differ, or see :func:`read_mask`.
    """
    image = read_image(record["file_name"])
    check_recorded_size(record, image)
    mask = read_mask(record, source)
    check_same_size(record["file_name"], image, record.get(MASK_FILE.get(source.task, ""), "in its JSON file"), mask)
    return image, mask


def _semantic(record: dict[str, Any], source: Source) -> SemanticMask:
    path = record["sem_seg_file_name"]
    labels = read_label_map(path)
    check_labels(labels, source.categories, path)
    return SemanticMask(labels, source.categories.ignore_id)


def _panoptic(record: dict[str, Any], source: Source) -> SegmentMask:
    path, infos = record["pan_seg_file_name"], record["segments_info"]
    ids = read_panoptic_png(path)
    check_segments(ids, infos, str(path))
    segments = tuple(Segment(info["id"], info["category_id"], bool(info["iscrowd"])) for info in infos)
    return SegmentMask(ids, segments, source.categories.ignore_id)


def _instance(record: dict[str, Any], source: Source) -> InstanceMask:
    size, where = (record["height"], record["width"]), f"an annotation of {record['file_name']}"
    things = (InstanceObject(read_instance(part, *size, where), part["category_id"], bool(part["iscrowd"])) for part in record["annotations"])
    return InstanceMask(size, tuple(things), source.categories.ignore_id)


_READERS = {"semantic": _semantic, "panoptic": _panoptic, "instance": _instance}
