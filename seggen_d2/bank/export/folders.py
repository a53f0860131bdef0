"""Folders in ADE20K's style: ``images/SPLIT/KEY.jpg`` and ``annotations/SPLIT/KEY.png``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from seggen_d2.foundation.files import write_bytes
from seggen_d2.segmentation import Categories, label_map_png, read_label_map

from .begin import check_room
from .members import Target, write_members

if TYPE_CHECKING:
    from ..reader import Bank

DATASET_FILE = "dataset.yaml"


def export_ade20k(bank: Bank, folder: Path, split: str = "train", shift: int = 0) -> Path:
    """Write images and masks, ``categories.txt`` and, last, ``dataset.yaml``.

    Args:
        bank: a semantic one.
        folder, split, shift: see :class:`~seggen_d2.bank.export.ExportOptions`.

    Returns:
        The path of ``dataset.yaml``, to be read with ``seggen_d2.sources.load_dataset``; with a shift the category
        list begins with ``ignored``, which is no category but makes the ids of the masks those of the list.

    Raises:
        SegGenError: a member is damaged.
    """
    images, masks, categories = Path("images") / split, Path("annotations") / split, bank.info.categories
    check_room(bank, folder, ("jpg", "png"))
    change = partial(shifted_mask, categories=categories) if shift else None
    write_members(bank, [Target("jpg", folder / images), Target("png", folder / masks, change)])
    listed = [{"name": item.name, "isthing": item.isthing} for item in categories.items]
    if shift:
        listed.insert(0, {"name": "ignored", "isthing": False})
    write_bytes(folder / "categories.txt", "".join(f"{number} {item['name']}\n" for number, item in enumerate(listed)).encode())
    ignore_id = max(categories.ignore_id, len(listed))  # shifted masks hold no ignore label, and it must be no category's id
    return write_dataset_file(bank, folder, {"images": str(images), "masks": str(masks), "categories": listed, "ignore_id": ignore_id})


def shifted_mask(data: bytes, categories: Categories) -> bytes:
    """A mask's PNG whose ids are one more, and 0 where it ignores, as ADE20K's are."""
    labels = read_label_map(data)
    return label_map_png(np.where(labels == categories.ignore_id, 0, labels.astype(np.int64) + 1))


def write_dataset_file(bank: Bank, folder: Path, value: dict[str, Any]) -> Path:
    """Write ``dataset.yaml``, by which this package reads the folder."""
    text = yaml.safe_dump({"name": bank.name, "ignore_id": bank.info.categories.ignore_id, **value}, sort_keys=False, allow_unicode=True)
    write_bytes(folder / DATASET_FILE, text.encode())
    return folder / DATASET_FILE
