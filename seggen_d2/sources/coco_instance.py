"""COCO instance data: images, and a JSON file with the objects of each as polygons or run-length masks."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation.outlines import LEAST, mask_from_polygons
from seggen_d2.segmentation.rle import decode_mask, rle_size

from .coco import CocoSource, annotation_facts, check_files, image_facts, need

FAR = 10**6  # pixels: coordinates further out are none, and drawing them takes any amount of memory
XYWH_ABS = 1  # Detectron2's number for boxes [x, y, width, height] in pixels
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CocoInstanceSource(CocoSource):
    """An instance dataset on disk: a record for each image. :class:`CocoSource` tells the arguments.

    Where a category list tells things from stuff, stuff and its annotations are left out.
    """

    task = "instance"
    parts = "annotations"

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        file, objects = self._file, defaultdict(list)
        for item in file.annotations:
            objects[file.image_of(item)["id"]].append(item)
        records = []
        for image in list(file.images.values())[: self.limit or None]:
            annotations = filter(None, (self._annotation(item, image) for item in objects[image["id"]]))
            records.append({**image_facts(image, self.images), "annotations": list(annotations)})
        check_files((record["file_name"] for record in records), self.name, "images")
        return records

    def _annotation(self, item: dict[str, Any], image: dict[str, Any]) -> dict[str, Any] | None:
        """An object; None for stuff, and for polygons of fewer than three points, which are warned of."""
        where = f"annotation {item.get('id')} of {self.json}, image {image['id']}"
        need(item, ("category_id", "bbox", "segmentation"), where)
        number, segmentation = self._file.categories.number(item["category_id"], where), item["segmentation"]
        if number < 0:
            return None
        if isinstance(segmentation, list):
            segmentation = [p for p in segmentation if is_polygon(p, where)]
            if not segmentation:
                _logger.warning("%s is left out: it has no polygon of three points or more", where)
                return None
        elif rle_size(segmentation, where) != (image["height"], image["width"]):
            raise SegGenError(
                f"the mask of {where} has another size than its image",
                expected=f"{image['height']} x {image['width']} (H x W)",
                found=" x ".join(map(str, segmentation["size"])),
                remedy="images and annotations must come from one release",
            )
        return {**annotation_facts(item, number, where), "bbox_mode": XYWH_ABS, "segmentation": segmentation}


def is_polygon(polygon: Any, where: str) -> bool:
    """Whether a polygon has three points or more.

    Raises:
        SegGenError: it is no list of coordinates.
    """
    numbers = isinstance(polygon, list) and all(isinstance(v, (int, float)) and abs(v) <= FAR for v in polygon)
    if not numbers or len(polygon) % 2:
        raise SegGenError(
            f"a polygon of {where} is none",
            expected="[x0, y0, x1, y1, ...] in pixels",
            found=f"{polygon!r:.80}",
            remedy="export the annotations again",
        )
    return len(polygon) >= LEAST


def read_instance(annotation: dict[str, Any], height: int, width: int, where: str) -> np.ndarray:
    """``(height, width)`` bool: an annotation's exact mask, from its ``rle``, else from its ``segmentation``.

    Raises:
        SegGenError: a run-length mask is broken; ``where`` names it.
    """
    segmentation = annotation.get("rle") or annotation["segmentation"]
    if isinstance(segmentation, list):
        return mask_from_polygons(segmentation, height, width)
    return decode_mask(segmentation, where)
