"""Records: Detectron2's dataset dict as the common tongue, read and checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes
from seggen_d2.foundation.pictures import open_picture
from seggen_d2.segmentation import Categories, check_labels, read_label_map

_DEEP = ("I", "F")  # Pillow's modes that it would cut off at 255, not scale
NEEDED = ("file_name", "sem_seg_file_name")


def check_record(record: dict[str, Any], where: str) -> dict[str, Any]:
    """A record must at least name its image and its mask.

    Raises:
        SegGenError: a key is missing.
    """
    missing = [key for key in NEEDED if not record.get(key)]
    if missing:
        raise SegGenError(f"a record of {where} lacks {', '.join(missing)}", expected=", ".join(NEEDED), found=", ".join(record))
    return record


def stem(record: dict[str, Any]) -> str:
    """What tells one real image from another: ``image_id``, else the file's stem."""
    return str(record.get("image_id") or Path(record["file_name"]).stem)


def read_image(source: str | os.PathLike | bytes, where: str = "") -> np.ndarray:
    """Read an image as ``(H, W, 3)`` uint8 RGB.

    Raises:
        SegGenError: the file is missing, empty, truncated or no image.
    """
    return np.asarray(open_image(source, where))


def open_image(source: str | os.PathLike | bytes, where: str = "") -> Image.Image:
    """Read an image as a decoded RGB image of Pillow's, which keeps its EXIF data.

    Raises:
        SegGenError: the file is missing, empty, truncated, enormous, no image, or grey of more than 8 bits.
    """
    where = where or str(source)
    data = source if isinstance(source, bytes) else read_bytes(Path(source), "image")
    with open_picture(data, f"image {where}") as image:
        image.load()
        if image.mode.startswith(_DEEP):
            raise ValueError(f"mode {image.mode}: more than 8 bits a pixel; save it as 8-bit RGB")
        return image if image.mode == "RGB" else image.convert("RGB")


def read_sample(record: dict[str, Any], categories: Categories) -> tuple[np.ndarray, np.ndarray]:
    """Read a record's image ``(H, W, 3)`` uint8 RGB and labels ``(H, W)``.

    Raises:
        SegGenError: a file cannot be read, their sizes differ, or the mask holds unknown ids.
    """
    check_record(record, "the dataset")
    image = read_image(record["file_name"])
    labels = read_label_map(record["sem_seg_file_name"])
    check_same_size(record["file_name"], image, record["sem_seg_file_name"], labels)
    check_labels(labels, categories, str(record["sem_seg_file_name"]))
    return image, labels


def check_same_size(image_file: str | os.PathLike, image: np.ndarray, mask_file: str | os.PathLike, mask: np.ndarray) -> None:
    """An image and its mask are of one height and width.

    Raises:
        SegGenError: they are not; both files are named.
    """
    if image.shape[:2] != mask.shape[:2]:
        raise SegGenError(f"image {image_file} and its mask {mask_file} differ in size",
                          expected=f"a mask of {image.shape[0]} x {image.shape[1]} (H x W)", found=f"{mask.shape[0]} x {mask.shape[1]}",
                          remedy="pair each image with its own mask")


def check_recorded_size(record: dict[str, Any], image: np.ndarray) -> None:
    """An image has the height and width that its record tells, where it tells them.

    Raises:
        SegGenError: it has others.
    """
    wanted = record.get("height", image.shape[0]), record.get("width", image.shape[1])
    if wanted != image.shape[:2]:
        raise SegGenError(f"image {record['file_name']} has another size than its annotations",
                          expected=f"{wanted[0]} x {wanted[1]} (H x W)", found=f"{image.shape[0]} x {image.shape[1]}",
                          remedy="images and annotations must come from one release")


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Height and width of an image file, from its header.

    Raises:
        SegGenError: it is missing, no image, or too large.
    """
    with open_picture(path, f"image {path}") as header:
        return header.height, header.width
