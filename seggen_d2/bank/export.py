"""Writes a bank out as plain folders, for programs that know nothing of banks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import write_bytes, write_json

from .format import PARTS

if TYPE_CHECKING:
    from .reader import Bank

DATASET_FILE = "dataset.yaml"
_FOLDERS = {  # of each kind of member
    "semantic": {"jpg": "images", "png": "annotations"},
    "panoptic": {"jpg": "images", "png": "panoptic"},
    "instance": {"jpg": "images"},
}


def export_folders(bank: Bank, folder: str | os.PathLike) -> Path:
    """Write ``images/KEY.jpg``, the masks or COCO's JSON and, last, ``dataset.yaml``.

    Semantic masks go to ``annotations/KEY.png``, ids as they are. A panoptic bank gives ``panoptic/KEY.png`` and
    ``panoptic.json``, an instance bank ``instance.json`` with the exact masks as runs; there, images and categories
    are numbered from 1, in the bank's order.

    Returns:
        The path of ``dataset.yaml``, to be read with ``seggen_d2.sources.load_dataset``.

    Raises:
        SegGenError: ``folder`` holds a dataset already, or a member is damaged.
    """
    folder, task = Path(folder), bank.info.task
    description = folder / DATASET_FILE
    if description.exists():
        raise SegGenError(
            f"{folder} holds a dataset already", found=str(description), remedy="export to another folder"
        )
    for target in _FOLDERS[task].values():
        (folder / target).mkdir(parents=True, exist_ok=True)
    for number in range(len(bank)):
        key = bank.key(number)
        for kind, target in _FOLDERS[task].items():
            (folder / target / f"{key}.{kind}").write_bytes(bank.read(key, kind, check=True))
    value = {"name": bank.name, "images": "images"}
    if task == "semantic":
        value |= {"masks": "annotations", "categories": _categories(bank)}
    else:
        write_json(folder / f"{task}.json", _coco(bank))
        value |= {"task": task, "json": f"{task}.json"} | ({"masks": "panoptic"} if task == "panoptic" else {})
    value["ignore_id"] = bank.info.categories.ignore_id
    write_bytes(description, yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode())
    return description


def _categories(bank: Bank) -> list[dict[str, Any]]:
    return [{"name": item.name, "isthing": item.isthing} for item in bank.info.categories.items]


def _coco(bank: Bank) -> dict[str, Any]:
    """COCO's JSON of a panoptic or an instance bank."""
    records = [bank.record(number) for number in range(len(bank))]
    images = [
        {"id": place, "file_name": f"{record['image_id']}.jpg"}
        | {name: record[name] for name in ("height", "width", "source_id", "caption")}
        for place, record in enumerate(records, start=1)
    ]
    categories = [
        {"id": place, "name": item["name"], "isthing": int(item["isthing"])}
        for place, item in enumerate(_categories(bank), start=1)
    ]
    annotations: list[dict[str, Any]] = []
    for place, record in enumerate(records, start=1):
        parts = [_part(part) for part in record[PARTS[bank.info.task]]]
        if bank.info.task == "panoptic":
            annotations.append({"image_id": place, "file_name": f"{record['image_id']}.png", "segments_info": parts})
        else:
            annotations += [{**part, "image_id": place, "id": len(annotations) + n} for n, part in enumerate(parts, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """A segment or an object as COCO's files have it."""
    kept = {name: part[name] for name in ("id", "iscrowd", "bbox", "area") if name in part}
    shape = {"segmentation": part["rle"]} if "rle" in part else {}
    return {**kept, **shape, "category_id": part["category_id"] + 1}
