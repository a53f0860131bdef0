"""COCO's panoptic PNGs: segment ids as colours, ``id = R + 256 G + 65536 B`` (cocodataset/panopticapi's format)."""

from __future__ import annotations

import io
import os

import numpy as np
from PIL import Image

from seggen_d2.foundation.errors import SegGenError

from .label_maps import read_png

MAX_SEGMENT_ID = 256**3 - 1
VOID = 0  # the id of pixels that belong to no segment


def ids_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` uint8 to ``(H, W)`` int32 ids in 0..2**24 - 1; the inverse of :func:`rgb_from_ids`.

    Raises:
        SegGenError: ``rgb`` has another shape or type.
    """
    rgb = np.asarray(rgb)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise SegGenError(
            "an array holds no coloured segment ids",
            expected="(H, W, 3) uint8",
            found=f"{rgb.shape} {rgb.dtype}",
            remedy="read the PNG as RGB",
        )
    ids = rgb[..., 2].astype(np.int32)
    for channel in (1, 0):
        ids <<= 8
        ids |= rgb[..., channel]
    return ids


def rgb_from_ids(ids: np.ndarray) -> np.ndarray:
    """``(H, W)`` integers in 0..2**24 - 1 to ``(H, W, 3)`` uint8; the inverse of :func:`ids_from_rgb`.

    Raises:
        SegGenError: ``ids`` has another shape, is no integer array, or holds an id out of range.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise SegGenError("an array holds no segment ids", expected="(H, W) integers", found=f"{ids.shape} {ids.dtype}")
    if ids.size and not 0 <= ids.min() <= ids.max() <= MAX_SEGMENT_ID:
        raise SegGenError(
            "a segment id is out of range",
            expected=f"0 to {MAX_SEGMENT_ID}",
            found=f"{ids.min()} to {ids.max()}",
            remedy="number an image's segments from 1",
        )
    little_endian = np.ascontiguousarray(ids, dtype="<u4")
    return little_endian.view(np.uint8).reshape(*ids.shape, 4)[..., :3].copy()


def panoptic_png(ids: np.ndarray) -> bytes:
    """PNG bytes of ``(H, W)`` segment ids. :func:`read_panoptic_png` is its inverse."""
    buffer = io.BytesIO()
    Image.fromarray(rgb_from_ids(ids)).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def read_panoptic_png(source: str | os.PathLike | bytes, where: str = "") -> np.ndarray:
    """``(H, W)`` int32 segment ids.

    Args:
        source: a path, or the file's bytes.
        where: the name that errors give to the bytes.

    Raises:
        SegGenError: the file is missing, empty, truncated, or holds no RGB colours.
    """
    where = where or str(source)
    mode, array = read_png(source, where, "panoptic mask", "a PNG of coloured segment ids")
    if mode != "RGB":
        raise SegGenError(
            f"panoptic mask {where} holds no coloured ids",
            expected="an RGB PNG, id = R + 256 G + 65536 B",
            found=f"mode {mode}",
            remedy="use COCO's panoptic PNGs; single-channel label maps are semantic masks",
        )
    return ids_from_rgb(array)
