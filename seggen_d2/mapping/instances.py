"""Instance targets: a mask for each annotation, from polygons or run-length masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation.outlines import mask_from_polygons
from seggen_d2.segmentation.rle import decode_mask

from .panoptic import masks_and_boxes
from .plan import Plan, Size
from .polygons import box_around, move_polygons
from .targets import needed

Annotations = list[dict[str, Any]]
_LEAST_SIDE = 1e-5  # pixels; Detectron2 calls boxes of less empty


class InstanceTargets:
    """One segment for each annotation that is no crowd.

    A run-length mask under ``rle`` is preferred to ``segmentation``, which holds polygons (outlines, that know no holes)
    or a run-length mask. Polygons are moved by the plan, cut at the window and filled by COCO's rules; run-length masks
    are resized by nearest neighbour. Masks are those of Mask2Former's mappers, but for polygons that cross themselves,
    which Detectron2 has shapely mend before it cuts them, and for run-length masks in its COCO mapper, which takes none.

    Args:
        boxes: whether to give ``boxes``: around polygons in fractions of pixels, around run-length masks in whole ones.
        drop_empty: leave out what the window holds nothing of, as Mask2Former's COCO mapper does.
    """

    def __init__(self, *, boxes: bool = False, drop_empty: bool = False):
        self.boxes, self.drop_empty = boxes, drop_empty

    def read(self, record: dict[str, Any], size: Size | None = None) -> Annotations:
        """The record's ``annotations`` that are no crowds.

        Raises:
            SegGenError: it has none, or one has no mask.
        """
        kept = [one for one in needed(record, "annotations", "instance") if not one.get("iscrowd", 0)]
        for annotation in kept:
            if not isinstance(_shape(annotation), (list, tuple, dict)):
                raise SegGenError(
                    f"an annotation of {record['file_name']} has no mask",
                    expected="segmentation: polygons or a run-length mask",
                    found=", ".join(annotation),
                )
        return kept

    def areas(self, labels: Annotations, plan: Plan) -> np.ndarray:
        """Objects overlap and do not fill an image: a crop cannot be limited by them.

        Raises:
            SegGenError: always.
        """
        raise SegGenError(
            "crops of instance data cannot be limited by category",
            expected="max_category_area 1.0",
            remedy="set INPUT.CROP.SINGLE_CATEGORY_MAX_AREA to 1.0",
        )

    def __call__(self, labels: Annotations, record: dict[str, Any], plan: Plan) -> dict[str, torch.Tensor]:
        """``mask_labels`` (N, H, W) bool, ``class_labels`` (N,) int64.

        With ``boxes`` also ``boxes`` (N, 4) float32: left, top, right, bottom in pixels.

        Raises:
            SegGenError: a run-length mask is broken or not of the image's size.
        """
        masks = torch.zeros((len(labels), *plan.canvas), dtype=torch.bool)
        boxes = torch.zeros((len(labels), 4))
        for annotation, mask, box in zip(labels, masks, boxes, strict=True):
            box[:] = torch.as_tensor(_render(_shape(annotation), record["file_name"], plan, mask))
        classes = torch.tensor([int(one["category_id"]) for one in labels], dtype=torch.int64)
        if self.drop_empty:
            seen = (boxes[:, 2:] - boxes[:, :2] > _LEAST_SIDE).all(1)
            masks, boxes, classes = (masks, boxes, classes) if seen.all() else (masks[seen], boxes[seen], classes[seen])
        targets = {"mask_labels": masks, "class_labels": classes}
        return {**targets, "boxes": boxes} if self.boxes else targets


def _shape(annotation: dict[str, Any]) -> Any:
    return annotation.get("rle") or annotation.get("segmentation")


def _render(shape: Any, where: str, plan: Plan, mask: torch.Tensor) -> Sequence[float]:
    """Write a mask into (H, W) bool zeros and return its box: left, top, right, bottom."""
    if isinstance(shape, dict):
        return _render_runs(shape, where, plan, mask)
    polygons = move_polygons(shape, plan)
    box = box_around(polygons)
    if polygons:
        _fill(polygons, box, mask.numpy()[: plan.window_size[0], : plan.window_size[1]])
    return box


def _render_runs(rle: dict[str, Any], where: str, plan: Plan, mask: torch.Tensor) -> np.ndarray:
    pixels = decode_mask(rle, where)
    if pixels.shape != plan.source:
        raise SegGenError(
            f"a run-length mask of {where} is not of the image's size",
            expected=f"{plan.source[0]} x {plan.source[1]} (H x W)",
            found=f"{pixels.shape[0]} x {pixels.shape[1]}",
        )
    rendered, boxes = masks_and_boxes(pixels.view(np.uint8), [1], plan)
    mask.copy_(rendered[0])
    return boxes[0].numpy()


def _fill(polygons: list[np.ndarray], box: np.ndarray, mask: np.ndarray) -> None:
    """Fill ``(P, 2)`` polygons into (H, W) bool, working in the whole pixels around ``box`` alone."""
    left, top = (max(0, int(np.floor(low)) - 1) for low in box[:2])
    right, bottom = (min(side, int(np.ceil(high)) + 1) for side, high in zip(mask.shape[::-1], box[2:], strict=True))
    if right <= left or bottom <= top:
        return
    moved = [(polygon - (left, top)).ravel() for polygon in polygons]
    mask[top:bottom, left:right] = mask_from_polygons(moved, bottom - top, right - left)
