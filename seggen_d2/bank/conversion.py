"""From a labelled image on disk to a bank's sample, for each task."""

from __future__ import annotations

import io
import logging
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes
from seggen_d2.segmentation import Categories, check_labels, histogram, label_map_png, read_label_map
from seggen_d2.segmentation.panoptic import read_panoptic_png
from seggen_d2.sources import FolderSource, Source, read_image, read_instance
from seggen_d2.sources.coco_panoptic import check_segments
from seggen_d2.sources.records import check_recorded_size, check_same_size

from .format import Sample
from .mask_members import NO_OBJECT, instance_members, panoptic_members

_logger = logging.getLogger(__name__)
_PNG, _ORIENTATION = b"\x89PNG\r\n\x1a\n", 0x0112
_COLOR_TYPE, _GREY = 25, 0  # a byte's place in a PNG, and its value where pixels hold one number each


class Converter:
    """The samples of a dataset, by number.

    Args:
        source: the dataset.
        strategy: what the samples are called.
        source_pattern: a regular expression that finds in a file's stem the name of the real image it was made from:
            its first group, or all it matches. "" takes the dataset's own ``source_id``. In a folder of images, one
            without a mask of its own name has its source's.
        quality: of images that are not JPEG yet, 1 to 100; JPEGs are copied byte for byte.
        reduce_zero: masks hold 0 for unlabelled and ids from 1 (ADE20K's coding).
    """

    def __init__(self, source: Source, strategy: str, source_pattern: str, quality: int, reduce_zero: bool):
        self.source, self.strategy, self.quality, self.reduce_zero = source, strategy, quality, reduce_zero
        self._records = None if isinstance(source, FolderSource) else source.records()
        images = source.image_files() if self._records is None else [Path(r["file_name"]) for r in self._records]
        self.source_ids = _source_ids(images, source_pattern) if source_pattern else None
        self.files = list(zip(images, self._masks(images), strict=True))
        if reduce_zero and source.task != "semantic":
            raise SegGenError("only semantic masks have ids to count from 0", found=f"task {source.task}")

    def _masks(self, images: list[Path]) -> list[Path | str | None]:
        """Each image's mask file; in a folder its own, else the one of the image it was made from."""
        if self._records is not None:
            return [record.get("pan_seg_file_name") for record in self._records]
        masks = [self.source.mask_of(image) for image in images]
        if self.source_ids:
            pairs = zip(masks, self.source_ids, strict=True)
            masks = [mask if mask.is_file() else mask.with_name(f"{name}.png") for mask, name in pairs]
        return masks

    def check_masks(self) -> None:
        """Each image of a folder has its mask; the files that COCO's JSON names were looked for when it was read.

        Raises:
            SegGenError: some have none.
        """
        if self._records is None:
            self.source.check_masks(*map(list, zip(*self.files, strict=True)))

    def __len__(self) -> int:
        return len(self.files)

    def key(self, number: int) -> str:
        """Of sample ``number``."""
        return f"{self.strategy}-{number:09d}"

    def record(self, number: int) -> dict[str, Any]:
        """The dataset's record."""
        if self._records is not None:
            return self._records[number]
        image, mask = self.files[number]
        return {**self.source.record(image), "sem_seg_file_name": str(mask)}

    def __call__(self, number: int) -> Sample | str:
        """Sample ``number``, or why it cannot be one.

        Raises:
            SegGenError: a file is missing or broken, sizes differ, or a label is unknown.
        """
        record = self.record(number)
        image = read_image(record["file_name"])
        check_recorded_size(record, image)
        made = _MAKERS[self.source.task](record, image, self.source.categories, self.reduce_zero)
        if isinstance(made, str):
            return made
        return Sample(
            key=self.key(number),
            image=jpeg_of(record["file_name"], image, self.quality),
            source_id=self.source_ids[number] if self.source_ids else str(record["source_id"]),
            strategy=self.strategy,
            seed=0,
            caption=str(record.get("caption", "")),
            height=image.shape[0],
            width=image.shape[1],
            **made,
        )


def _source_ids(files: list[Path], pattern: str) -> list[str]:
    try:
        finds = re.compile(pattern)
    except re.error as error:
        raise SegGenError(
            f"the source pattern {pattern!r} is no regular expression", expected=r"such as (.+)_\d+$", found=str(error)
        ) from error
    matches = [finds.search(file.stem) for file in files]
    ids = [match.group(1 if finds.groups else 0) if match else "" for match in matches]
    missing = [file for file, name in zip(files, ids, strict=True) if not name]
    if missing:
        raise SegGenError(
            f"the source pattern {pattern!r} finds no source in {len(missing)} of {len(files)} file names",
            expected="the name of the real image in each stem",
            found=missing[0].stem,
            remedy=r"mend the pattern: (.+)_\d+$ finds ADE_train_00000001 in ADE_train_00000001_3",
        )
    return ids


def jpeg_of(path: str, image: np.ndarray, quality: int) -> bytes:
    """A JPEG file's own bytes; any other image, ``(H, W, 3)`` uint8 RGB, as JPEG without chroma subsampling.

    Raises:
        SegGenError: the file asks viewers to turn it, which its mask does not do.
    """
    data = read_bytes(path, "image")
    with Image.open(io.BytesIO(data)) as header:
        turned = header.getexif().get(_ORIENTATION, 1)
        if turned != 1:
            raise SegGenError(
                f"image {path} is stored turned",
                expected="EXIF orientation 1, or none",
                found=f"EXIF orientation {turned}: readers that heed it turn the image, and not its mask",
                remedy="save it upright, in its mask's position, without that tag",
            )
        if header.format == "JPEG":
            return data
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _semantic(record: dict[str, Any], image: np.ndarray, categories: Categories, reduce_zero: bool) -> dict[str, Any]:
    path = record["sem_seg_file_name"]
    data = read_bytes(path, "mask")
    labels = read_label_map(data, path)
    check_same_size(record["file_name"], image, path, labels)
    if reduce_zero:  # ids past the last category's stay: some masks have the ignore id, too, and others are told as they are
        shifted = np.where(labels <= len(categories), labels.astype(np.int64) - 1, labels)
        labels = np.where(labels == 0, categories.ignore_id, shifted)
    check_labels(labels, categories, path)
    keeps = data.startswith(_PNG) and data[_COLOR_TYPE] == _GREY and not reduce_zero  # opencv reads indexed ids as their colours
    return {"mask": data if keeps else label_map_png(labels), "histogram": histogram(labels, categories)}


def _panoptic(record: dict[str, Any], image: np.ndarray, categories: Categories, _: bool) -> dict[str, Any]:
    path = record["pan_seg_file_name"]
    data = read_bytes(path, "panoptic mask")
    ids = read_panoptic_png(data, path)
    check_same_size(record["file_name"], image, path, ids)
    check_segments(ids, record["segments_info"], path)
    made = panoptic_members(ids, record["segments_info"], categories, data if data.startswith(_PNG) else b"")
    _tell_empty(len(record["segments_info"]) - len(made["segments"]), "segments", path)
    return made


def _instance(record: dict[str, Any], image: np.ndarray, categories: Categories, _: bool) -> dict[str, Any] | str:
    height, width = image.shape[:2]
    where = f"an annotation of {record['file_name']}"
    made = instance_members([(part, read_instance(part, height, width, where)) for part in record["annotations"]], (height, width), categories)
    _tell_empty(len(record["annotations"]) - len(made["annotations"]), "objects", record["file_name"])
    return NO_OBJECT if all(part["iscrowd"] for part in made["annotations"]) else made


def _tell_empty(count: int, what: str, where: str | os.PathLike) -> None:
    if count:
        _logger.warning("%d %s of %s have no pixel and are left out", count, what, where)


_MAKERS = {"semantic": _semantic, "panoptic": _panoptic, "instance": _instance}
