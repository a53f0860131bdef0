"""Writes predictions in the usual formats, as :mod:`.saved` reads them; all three kinds of one model may share a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seggen_d2.foundation.files import write_bytes, write_json
from seggen_d2.segmentation import label_map_png
from seggen_d2.segmentation.masks import SegmentMask
from seggen_d2.segmentation.panoptic import panoptic_png
from seggen_d2.sources import Source

from .instances import Detection
from .saved import INSTANCE_NAMES

PANOPTIC = "panoptic"


class Saver(Protocol):
    """Takes predictions image by image; the last call is :meth:`close`.

    Attributes:
        entries: what :meth:`close` will write; of several processes that save, one is given what all of them kept.
    """

    entries: list[Any]

    def add(self, record: dict[str, Any], predicted: Any) -> None:
        """Write what is predicted for a record's image, or keep it for :meth:`close`."""

    def close(self) -> None:
        """Write what tells of all images."""


class LabelSaver:
    """``FOLDER/IMAGE_ID.png``: (H, W) category ids."""

    def __init__(self, folder: Path, source: Source):
        self.folder, self.entries = folder, []

    def add(self, record: dict[str, Any], predicted: np.ndarray) -> None:
        write_bytes(self.folder / f"{record['image_id']}.png", label_map_png(predicted))

    def close(self) -> None:
        pass


class SegmentSaver:
    """COCO's panoptic format: ``FOLDER/panoptic.json`` and ``FOLDER/panoptic/IMAGE_ID.png``; category ids are the dataset's."""

    def __init__(self, folder: Path, source: Source):
        self.folder, self.numbers, self.entries = folder, coco_numbers(source), []

    def add(self, record: dict[str, Any], predicted: SegmentMask) -> None:
        name = f"{record['image_id']}.png"
        write_bytes(self.folder / PANOPTIC / name, panoptic_png(predicted.ids))
        infos = [{"id": segment.id, "category_id": self.numbers[segment.category_id]} for segment in predicted.segments]
        self.entries.append({"image_id": record["image_id"], "file_name": name, "segments_info": infos})

    def close(self) -> None:
        write_json(self.folder / f"{PANOPTIC}.json", {"annotations": self.entries})


class ObjectSaver:
    """COCO's results format: ``FOLDER/coco_instances_results.json``; category ids are the dataset's."""

    def __init__(self, folder: Path, source: Source):
        self.folder, self.numbers, self.entries = folder, coco_numbers(source), []

    def add(self, record: dict[str, Any], predicted: Sequence[Detection]) -> None:
        self.entries += [{"image_id": record["image_id"], "category_id": self.numbers[one.category_id], "score": one.score,
                          "segmentation": _as_text(one.rle)} for one in predicted]

    def close(self) -> None:
        write_json(self.folder / INSTANCE_NAMES[0], self.entries)


SAVERS = {"semantic": LabelSaver, "panoptic": SegmentSaver, "instance": ObjectSaver}


def coco_numbers(source: Source) -> dict[int, int]:
    """The id in the dataset's JSON of each category."""
    return {place: number for number, place in source.numbers.items()}


def _as_text(rle: dict[str, Any]) -> dict[str, Any]:
    counts = rle["counts"]
    return {"size": list(rle["size"]), "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}
