"""Segments of a panoptic dataset in another's categories: some become void, some one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seggen_d2.segmentation.panoptic import VOID, panoptic_png, read_panoptic_png

from ..coco_panoptic import check_segments
from .class_map import NONE, ClassMap
from .relabel import MaskFile, converted


def join(infos: Sequence[dict[str, Any]], found: ClassMap) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """A record's ``segments_info`` in our categories, and the id that each of its segments gets.

    Things keep their ids. Stuff of one category becomes one segment, with the first one's id. Stuff that is a thing of ours
    becomes a crowd: nobody told its objects apart. What is none of ours becomes void.
    """
    made: dict[Any, dict[str, Any]] = {}
    ids = {info["id"]: VOID for info in infos}
    for info in infos:
        target = found.targets[info["category_id"]]
        if target == NONE:
            continue
        thing = found.ours.items[target].isthing
        crowd = int(thing and (info["iscrowd"] or not info["isthing"]))
        segment = {key: value for key, value in info.items() if key != "isthing"} | {"category_id": target, "iscrowd": crowd}
        key = ("thing", info["id"]) if thing else ("stuff", target)
        made[key] = _together(made[key], segment) if key in made else segment
        ids[info["id"]] = made[key]["id"]
    return list(made.values()), ids


def _together(first: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two segments as one; boxes are ``[x, y, width, height]`` in pixels."""
    corners = np.array([(x, y, x + w, y + h) for x, y, w, h in (first["bbox"], other["bbox"])])
    (left, top), (right, bottom) = corners[:, :2].min(0).tolist(), corners[:, 2:].max(0).tolist()
    area = {"area": first["area"] + other["area"]} if "area" in first and "area" in other else {}
    return {**first, "bbox": [left, top, right - left, bottom - top], **area}


def undivided(found: ClassMap) -> list[str]:
    """What a reader should know of stuff that is a thing of ours."""
    pairs = [f"{theirs.name} ({found.ours.names[target]})" for theirs, target in zip(found.theirs.items, found.targets, strict=True)
             if target != NONE and found.ours.items[target].isthing and not theirs.isthing]
    return [f"stuff that is a thing of ours is a crowd, which counts neither as found nor as missed: {', '.join(pairs)}"] if pairs else []


@dataclass(frozen=True)
class JoinSegments:
    """``join(file)`` gives each segment of a panoptic mask the id that the file tells for it."""

    def __call__(self, file: MaskFile) -> str:
        return converted(file, self.ids, panoptic_png)

    def ids(self, file: MaskFile) -> np.ndarray:
        """``(H, W)`` int32 ids of the result.

        Raises:
            SegGenError: the mask cannot be read, or holds a segment that the file does not tell.
        """
        ids, changed = read_panoptic_png(file.mask), {VOID: VOID, **dict(file.segments)}
        check_segments(ids, [{"id": number} for number in changed], file.mask)
        found, places = np.unique(ids, return_inverse=True)
        return np.array([changed[int(number)] for number in found], np.int32)[places].reshape(ids.shape)
