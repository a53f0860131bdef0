"""Label maps: ``(H, W)`` uint8 or uint16 arrays of category ids, kept as PNG, resized by nearest neighbour alone."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes
from seggen_d2.foundation.pictures import open_picture

from .categories import Categories


def read_label_map(source: str | os.PathLike | bytes, where: str = "") -> np.ndarray:
    """Read a single-channel PNG of ids.

    Args:
        source: a path, or the file's bytes.
        where: the name that errors give to the bytes.

    Returns:
        ``(H, W)`` uint8, or uint16 for 16-bit files; palette-mode PNGs give their indices.

    Raises:
        SegGenError: the file is missing, empty, truncated, or holds colours where ids were meant.
    """
    where = where or str(source)
    mode, array = read_png(source, where, "mask", "a PNG of ids")
    if array.ndim != 2 or mode == "1":
        raise SegGenError(f"mask {where} holds colours, not ids", expected="one channel (PNG mode L, P or I;16)",
                          found=f"mode {mode}, shape {array.shape}", remedy="convert it to category ids first")
    return array.astype(np.uint8 if mode in ("L", "P") else np.uint16)


def read_png(source: str | os.PathLike | bytes, where: str, what: str, expected: str) -> tuple[str, np.ndarray]:
    """Pillow's mode of an image file, given by its path or its bytes, and its pixels.

    Raises:
        SegGenError: the file is missing, empty, truncated, enormous, a JPEG or no image; it is called ``what`` ``where``.
    """
    data = source if isinstance(source, bytes) else read_bytes(Path(source), what)
    with open_picture(data, f"{what} {where}", expected) as image:
        image.load()
        kind, mode, array = image.format, image.mode, np.asarray(image)
    if kind in ("JPEG", "WEBP"):  # blurred ids may still be valid ones
        raise SegGenError(f"{what} {where} is compressed with loss", expected=expected, found=kind,
                          remedy="make it again as PNG, from the original labels")
    return mode, array


def label_map_png(labels: np.ndarray) -> bytes:
    """PNG bytes of ``(H, W)`` labels: 8-bit up to id 255, 16-bit past it. ``read_label_map`` is its inverse."""
    array = np.asarray(labels)
    array = array.astype(np.uint8 if array.size == 0 or array.max() <= 255 else np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def check_labels(labels: np.ndarray, categories: Categories, where: str) -> None:
    """Every id must be a category or the ignore label.

    Raises:
        SegGenError: naming each unknown id and its pixel count.
    """
    ids, counts = np.unique(labels, return_counts=True)
    unknown = (ids >= len(categories)) & (ids != categories.ignore_id)
    if unknown.any():
        rows = [f"id {i} on {n} pixels" for i, n in zip(ids[unknown], counts[unknown], strict=True)]
        raise SegGenError(f"mask {where} holds unknown ids", expected=f"0..{len(categories) - 1}, or {categories.ignore_id} for ignore",
                          found="; ".join(rows[:10]) + ("; ..." if len(rows) > 10 else ""),
                          remedy="add the categories, or map these ids to the ignore label "
                                 "(prepare_folder.py --map-id; --reduce-zero, import_bank.py's too, where 0 means unlabelled)")


def resize_labels(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Nearest neighbour, pixel centres aligned: ``(H, W)`` to ``(height, width)``; never a new id."""
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(np.int64)
    return labels[rows[:, None], columns[None]]


def histogram(labels: np.ndarray, categories: Categories) -> np.ndarray:
    """``(N,)`` int64: pixels of each category; ignored pixels count nowhere."""
    return np.bincount(labels.ravel(), minlength=len(categories))[: len(categories)].astype(np.int64)
