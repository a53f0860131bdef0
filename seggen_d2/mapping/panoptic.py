"""Panoptic targets: a mask for each segment of COCO's panoptic format, from one map of segment numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from seggen_d2.bank.paths import open_member
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation.panoptic import read_panoptic_png

from .plan import Plan, Size, centres
from .targets import SemanticTargets, count_values, needed, same_size


class PanopticLabels(NamedTuple):
    """``numbers`` (H, W): 0 where no segment is, else the place, from 1, of the pixel's segment in ``segments``."""

    numbers: np.ndarray
    segments: Sequence[dict[str, Any]]
    semantic: np.ndarray | None


class PanopticTargets:
    """One segment for each of ``segments_info`` that is no crowd, also where the window holds none of its pixels.

    Mask2Former's mappers do so too. Pixels of crowds, of no segment and of padding belong to none.

    Args:
        semantic: reads ``sem_seg_file_name`` of records that have one beside the segments; None leaves it alone.
        boxes: whether to give ``boxes``.
    """

    def __init__(self, semantic: SemanticTargets | None = None, *, boxes: bool = False):
        self.semantic, self.boxes = semantic, boxes

    def read(self, record: dict[str, Any], size: Size | None = None) -> PanopticLabels:
        """The map that ``pan_seg_file_name`` holds, by the place of its segments in ``segments_info``.

        Raises:
            SegGenError: the record lacks either, the file cannot be read, or it is not of ``size``.
        """
        where = needed(record, "pan_seg_file_name", "panoptic")
        segments = needed(record, "segments_info", "panoptic")
        ids = same_size(read_panoptic_png(open_member(where), where), size, record, where)
        read_semantic = self.semantic is not None and record.get("sem_seg_file_name")
        semantic = self.semantic.read(record, size) if read_semantic else None
        return PanopticLabels(numbered(ids, [segment["id"] for segment in segments]), segments, semantic)

    def areas(self, labels: PanopticLabels, plan: Plan) -> np.ndarray:
        """(C,) pixels of each category in the plan's window, crowds among them."""
        if labels.semantic is not None:
            return self.semantic.areas(labels.semantic, plan)
        pixels = count_values(plan.take(labels.numbers, centres), len(labels.segments) + 1)[1:]
        categories = [segment["category_id"] for segment in labels.segments]
        return np.bincount(categories, pixels, 1).astype(np.int64)

    def __call__(self, labels: PanopticLabels, record: dict[str, Any], plan: Plan) -> dict[str, torch.Tensor]:
        """``mask_labels`` (N, H, W) bool, ``class_labels`` (N,) int64; ``sem_seg`` (H, W) int64, where it is read.

        With ``boxes`` also ``boxes`` (N, 4) float32: left, top, right, bottom in pixels; zeros for an empty mask.
        """
        kept = [place for place, segment in enumerate(labels.segments) if not segment.get("iscrowd", 0)]
        masks, boxes = masks_and_boxes(labels.numbers, [place + 1 for place in kept], plan)
        classes = [labels.segments[place]["category_id"] for place in kept]
        targets = {"mask_labels": masks, "class_labels": torch.tensor(classes, dtype=torch.int64)}
        targets |= {"boxes": boxes} if self.boxes else {}
        if labels.semantic is not None:
            window = self.semantic.window(labels.semantic, plan)
            targets["sem_seg"] = torch.from_numpy(window.astype(np.int64))
        return targets


def numbered(ids: np.ndarray, known: Sequence[int]) -> np.ndarray:
    """(H, W) ids below 2**24 to the place, from 1, that each has in ``known``; 0 for other ids.

    uint8, or uint16 for 255 ids and more.

    Raises:
        SegGenError: an id is out of range, or there are more than 65,535.
    """
    known = np.asarray(known, np.int64)
    if len(known) and not (known.min() >= 0 and known.max() < len(_table()) and len(known) < 2**16):
        raise SegGenError(
            "segments_info holds ids that no panoptic PNG can",
            expected="ids from 0 to 16,777,215, fewer than 65,536 of them",
            found=f"{len(known)} ids from {known.min()} to {known.max()}",
        )
    table = _table()
    table[known] = np.arange(1, len(known) + 1)
    numbers = table.take(ids)
    table[known] = 0
    return numbers if len(known) > 255 else numbers.astype(np.uint8)


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    """A number for each id; all 0 between uses. Of its 32 MB only pages of ids in use are ever touched."""
    return np.zeros(2**24, np.uint16)


def masks_and_boxes(numbers: np.ndarray, kept: Sequence[int], plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, H, W) bool, each number's pixels in the plan's canvas, and (N, 4) float32 tight boxes around them.

    Boxes are found before pixels are repeated by an enlarging resize; a mask is written inside its box alone.
    """
    rows, row_of = np.unique(plan.indices(0, centres), return_inverse=True)
    columns, column_of = np.unique(plan.indices(1, centres), return_inverse=True)
    small = numbers[_span(rows)][:, _span(columns)]
    window = small.take(column_of, axis=1).take(row_of, axis=0)
    masks, boxes = np.zeros((len(kept), *plan.canvas), bool), np.zeros((len(kept), 4), np.float32)
    for number, mask, box in zip(kept, masks, boxes, strict=True):
        left, top, width, height = cv2.boundingRect((small == number).view(np.uint8))
        if not width:
            continue
        across, down = _places(column_of, left, width), _places(row_of, top, height)
        box[:] = across.start, down.start, across.stop, down.stop
        np.equal(window[down, across], number, out=mask[down, across])
    return torch.from_numpy(masks), torch.from_numpy(boxes)


def _span(indices: np.ndarray) -> slice | np.ndarray:
    """Ascending indices as a slice, where they leave out none."""
    first, last = int(indices[0]), int(indices[-1])
    return slice(first, last + 1) if last - first + 1 == len(indices) else indices


def _places(of: np.ndarray, first: int, count: int) -> slice:
    """Where ``of``, rising or falling, holds ``first`` to ``first + count - 1``."""
    if of[0] <= of[-1]:
        start, stop = np.searchsorted(of, (first, first + count))
    else:
        stop, start = len(of) - np.searchsorted(of[::-1], (first, first + count))
    return slice(int(start), int(stop))
