"""Samples and real images as a page holds them: a small JPEG, and a PNG that tells the class and part of each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from seggen_d2.foundation.data_uris import data_uri, fitted, shrunk
from seggen_d2.segmentation import read_label_map
from seggen_d2.segmentation.masks import InstanceMask, Mask, Segment, SegmentMask, SemanticMask
from seggen_d2.segmentation.panoptic import read_panoptic_png
from seggen_d2.sources import read_image

from ..format import PARTS

if TYPE_CHECKING:
    from ..reader import Bank


def sample_mask(bank: Bank, record: dict[str, Any]) -> Mask:
    """The mask of a bank's record; objects as they show, the smallest on top.

    Raises:
        SegGenError: it is damaged.
    """
    key, ignore = record["image_id"], bank.info.categories.ignore_id
    data = bank.read(key, "png", check=True)
    if bank.info.task == "semantic":
        return SemanticMask(read_label_map(data), ignore)
    parts = enumerate(record[PARTS[bank.info.task]], start=1)
    segments = tuple(Segment(part.get("id", number), part["category_id"], bool(part["iscrowd"])) for number, part in parts)
    return SegmentMask(read_panoptic_png(data, f"{key}.png"), segments, ignore)


def flattened(mask: Mask) -> SemanticMask | SegmentMask:
    """A mask with one class a pixel, as a bank counts them: the smallest object shows, and crowds are of their class."""
    return mask.flattened() if isinstance(mask, InstanceMask) else mask


def picture(image: np.ndarray, mask: Mask, classes: int, side: int) -> dict[str, Any]:
    """What the page draws from: ``image`` and ``ids`` (``data:`` URIs), ``classes`` and their ``shares``.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        mask: of the image's size.
        classes: in the label space.
        side: of what the page holds, pixels.
    """
    flat = flattened(mask)
    labels = flat.labels()
    counts = np.bincount(labels.ravel(), minlength=classes)[:classes]
    held = np.flatnonzero(counts)
    small = flat.resized(*fitted(labels.shape, side))
    return {
        "image": data_uri(shrunk(image, side), exact=False, quality=85),
        "ids": data_uri(id_picture(small, classes), exact=True),
        "classes": held[np.argsort(-counts[held], kind="stable")].tolist(),
        "shares": [round(float(counts[i]) / labels.size, 4) for i in held[np.argsort(-counts[held], kind="stable")]],
    }


def id_picture(mask: SemanticMask | SegmentMask, classes: int) -> np.ndarray:
    """``(H, W, 3)`` uint8: red and green hold 1 + the class (0 where unlabelled), blue the part's number, 0 to 255."""
    labels = mask.labels().astype(np.int64)
    codes = np.where(labels < classes, labels + 1, 0)
    parts = mask.places() % 256 if isinstance(mask, SegmentMask) else np.zeros_like(codes)
    return np.stack([codes % 256, codes // 256, parts], -1).astype(np.uint8)


def sample_picture(bank: Bank, record: dict[str, Any], side: int) -> dict[str, Any]:
    """:func:`picture` of a bank's record."""
    image = read_image(bank.read(record["image_id"], "jpg", check=True), f"{record['image_id']}.jpg")
    return picture(image, sample_mask(bank, record), len(bank.info.categories), side)
