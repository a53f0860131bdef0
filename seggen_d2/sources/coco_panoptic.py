"""COCO panoptic data: images, RGB id maps, and a JSON file with the segments of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation.panoptic import VOID, read_panoptic_png

from .coco import CocoSource, annotation_facts, check_files, image_facts, need
from .records import check_recorded_size, check_same_size, read_image


@dataclass(frozen=True)
class CocoPanopticSource(CocoSource):
    """A panoptic dataset on disk: a record for each annotated image. :class:`CocoSource` tells the other arguments.

    Args:
        masks: folder of the RGB id maps that the JSON names.
    """

    masks: Path
    task = "panoptic"
    parts = "segments_info"

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        records = [self._record(item) for item in self._file.annotations[: self.limit or None]]
        (image, count), *_ = Counter(record["image_id"] for record in records).most_common(1) or [(None, 0)]
        if count > 1:
            raise SegGenError(f"{self.json} holds {count} annotations of image {image}", expected="one, with all its segments", found=str(count),
                              remedy="put their segments, and their masks, into one")
        check_files((record["file_name"] for record in records), self.name, "images")
        check_files((record["pan_seg_file_name"] for record in records), self.name, "panoptic masks")
        return records

    def _record(self, item: dict[str, Any]) -> dict[str, Any]:
        image = image_facts(self._file.image_of(item), self.images)
        where = f"{self.json}, image {image['image_id']}"
        segments = item.get("segments_info")
        if not isinstance(segments, list) or not item.get("file_name"):
            raise SegGenError(
                f"{where}: the annotation is not panoptic",
                expected="file_name and segments_info",
                found=", ".join(item),
                remedy="use COCO's panoptic_*.json; instances_*.json goes with task: instance",
            )
        infos = [self._segment(segment, where) for segment in segments]
        return {**image, "pan_seg_file_name": str(self.masks / item["file_name"]), "segments_info": infos}

    def _segment(self, segment: dict[str, Any], where: str) -> dict[str, Any]:
        need(segment, ("id", "category_id", "bbox"), f"a segment of {where}")
        if not isinstance(segment["id"], int):
            raise SegGenError(f"a segment of {where} has no number", expected="id: R + 256 G + 65536 B of its pixels", found=f"{segment['id']!r:.80}")
        where = f"segment {segment['id']} of {where}"
        number = self._file.categories.number(segment["category_id"], where)
        facts = annotation_facts(segment, number, where)
        return {"id": segment["id"], **facts, "isthing": self.categories.items[number].isthing}


def read_panoptic(record: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Read a record's image ``(H, W, 3)`` uint8 RGB and segment ids ``(H, W)`` int32; 0 is no segment.

    Raises:
        SegGenError: a file cannot be read, their sizes differ, or the id map holds a segment that the record lacks.
    """
    image, ids = read_image(record["file_name"]), read_panoptic_png(record["pan_seg_file_name"])
    check_recorded_size(record, image)
    check_same_size(record["file_name"], image, record["pan_seg_file_name"], ids)
    check_segments(ids, record["segments_info"], str(record["pan_seg_file_name"]))
    return image, ids


def check_segments(ids: np.ndarray, segments: list[dict[str, Any]], where: str) -> None:
    """Every id of the map must be a segment's, or 0.

    Raises:
        SegGenError: naming the unknown ids and their pixel counts.
    """
    found, counts = np.unique(ids, return_counts=True)
    unknown = ~np.isin(found, [VOID, *(segment["id"] for segment in segments)])
    if unknown.any():
        rows = [f"id {i} on {n} pixels" for i, n in zip(found[unknown], counts[unknown], strict=True)]
        raise SegGenError(
            f"panoptic mask {where} holds segments that its JSON does not know",
            expected=f"{VOID} for none, or the ids of its {len(segments)} segments",
            found="; ".join(rows[:10]) + ("; ..." if len(rows) > 10 else ""),
            remedy="masks and JSON must come from one release",
        )
