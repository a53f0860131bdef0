"""Writes a bank out as plain folders, for programs that know nothing of banks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_bytes

if TYPE_CHECKING:
    from .reader import Bank

DATASET_FILE = "dataset.yaml"


def export_folders(bank: Bank, folder: str | os.PathLike) -> Path:
    """Write ``images/KEY.jpg``, ``annotations/KEY.png`` and, last, ``dataset.yaml``; ids stay as they are.

    Returns:
        The path of ``dataset.yaml``, to be read with ``seggen_d2.sources.load_dataset``.

    Raises:
        SegGenError: ``folder`` holds a dataset already, or a member is damaged.
    """
    folder = Path(folder)
    description = folder / DATASET_FILE
    if description.exists():
        raise SegGenError(
            f"{folder} holds a dataset already", found=str(description), remedy="export to another folder"
        )
    kinds = {"jpg": folder / "images", "png": folder / "annotations"}
    for target in kinds.values():
        target.mkdir(parents=True, exist_ok=True)
    for number in range(len(bank)):
        key = bank.key(number)
        for kind, target in kinds.items():
            (target / f"{key}.{kind}").write_bytes(bank.read(key, kind, check=True))
    categories = bank.info.categories
    value = {
        "name": bank.name,
        "images": "images",
        "masks": "annotations",
        "ignore_id": categories.ignore_id,
        "categories": [{"name": item.name, "isthing": item.isthing} for item in categories.items],
    }
    write_bytes(description, yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode())
    return description
