"""Checks of segments and objects: what panoptic and instance samples hold beside their mask, in KEY.json."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation.outlines import LEAST
from seggen_d2.segmentation.panoptic import MAX_SEGMENT_ID, VOID, read_panoptic_png
from seggen_d2.segmentation.rle import rle_size
from seggen_d2.sources.coco_instance import XYWH_ABS
from seggen_d2.sources.coco_panoptic import check_segments

from .format import PARTS, Sample

_NEEDED = {
    "panoptic": ("id", "category_id", "iscrowd", "bbox", "area"),
    "instance": ("category_id", "iscrowd", "bbox", "bbox_mode", "area", "segmentation", "rle"),
}


def check_parts(sample: Sample, task: str, categories: int, where: str) -> None:
    """A sample's segments, objects and mask fit each other and the bank's task.

    Raises:
        SegGenError: something is missing, of another task, or out of range; ``where`` names the sample.
    """
    given = {"panoptic": sample.segments, "instance": sample.annotations}
    for other, parts in given.items():
        if other != task and parts:
            raise SegGenError(
                f"{where} holds {PARTS[other]}", expected=f"a sample for task {task}", found=f"one for task {other}"
            )
    _check_mode(sample, task, where)
    if task == "semantic":
        return
    for part in given[task]:
        _check_part(part, _NEEDED[task], categories, f"{PARTS[task]} of {where}")
    if task == "panoptic":
        _check_ids(sample, where)
    for annotation in sample.annotations:
        _check_shape(annotation, (sample.height, sample.width), where)


def _check_part(part: dict[str, Any], needed: Sequence[str], categories: int, where: str) -> None:
    missing = [key for key in needed if key not in part]
    if missing:
        raise SegGenError(f"{where}: one lacks {', '.join(missing)}", expected=", ".join(needed), found=", ".join(part))
    mode = part.get("bbox_mode", XYWH_ABS)
    if not 0 <= part["category_id"] < categories or len(part["bbox"]) != 4 or mode != XYWH_ABS:
        raise SegGenError(
            f"{where}: one does not fit the bank",
            expected=f"category_id 0 to {categories - 1}, bbox of 4 numbers, bbox_mode {XYWH_ABS} (x, y, width, height)",
            found=f"category_id {part['category_id']}, bbox {part['bbox']}, bbox_mode {mode}",
        )


def _check_mode(sample: Sample, task: str, where: str) -> None:
    wanted = ("L", "I;16", "I") if task == "semantic" else ("RGB",)
    with Image.open(io.BytesIO(sample.mask)) as image:
        if image.mode not in wanted:
            raise SegGenError(f"the mask of {where} holds no {'grey' if task == 'semantic' else 'coloured'} ids",
                              expected="a grey PNG of 8 or 16 bits" if task == "semantic" else "an RGB PNG", found=f"mode {image.mode}",
                              remedy="write it by segmentation.label_map_png or segmentation.panoptic.panoptic_png")


def _check_ids(sample: Sample, where: str) -> None:
    ids = [segment["id"] for segment in sample.segments]
    if len({*ids}) < len(ids) or not all(VOID < i <= MAX_SEGMENT_ID for i in ids):
        raise SegGenError(
            f"the segments of {where} are numbered badly",
            expected=f"ids that differ, 1 to {MAX_SEGMENT_ID}",
            found=str(sorted(ids))[:80],
        )
    check_segments(read_panoptic_png(sample.mask, where), list(sample.segments), where)


def _check_shape(annotation: dict[str, Any], size: tuple[int, int], where: str) -> None:
    polygons, found = annotation["segmentation"], rle_size(annotation["rle"], where)
    fits = isinstance(polygons, list) and polygons and all(len(p) >= LEAST and len(p) % 2 == 0 for p in polygons)
    if not fits or found != size:
        raise SegGenError(
            f"an annotation of {where} has an unfit shape",
            expected=f"polygons of {LEAST} coordinates or more, and a run-length mask of {size[0]} x {size[1]} (H x W)",
            found=f"{polygons!r:.60}, {found[0]} x {found[1]}",
        )
