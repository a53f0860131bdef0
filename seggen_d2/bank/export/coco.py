"""COCO's format: images, and one JSON file of segments (panoptic), objects (instance) or stuff (semantic)."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.files import write_aside
from seggen_d2.segmentation import read_label_map
from seggen_d2.segmentation.rle import encode_mask

from ..format import PARTS
from .begin import check_room
from .folders import write_dataset_file
from .members import Target, write_members

if TYPE_CHECKING:
    from ..reader import Bank

MASKS = ("polygons", "rle")
NAMES = {"panoptic": "panoptic", "instance": "instances", "semantic": "stuff"}  # of the JSON files, as COCO has them


def export_coco(bank: Bank, folder: Path, split: str = "train", masks: str = "polygons") -> Path:
    """Write ``images/SPLIT/KEY.jpg`` and ``annotations/{instances,panoptic,stuff}_SPLIT.json``.

    A panoptic bank also gives ``panoptic/SPLIT/KEY.png``. A semantic one becomes what COCO's stuff task has: for each
    category in an image one annotation, its pixels as runs. Images and categories are numbered from 1, in the bank's
    order. Crowds are runs in any case.

    Returns:
        ``dataset.yaml``, which ``seggen_d2.sources.load_dataset`` reads; the JSON file of a semantic bank.

    Raises:
        SegGenError: a member is damaged.
    """
    task, images = bank.info.task, Path("images") / split
    ids = Path("panoptic") / split
    targets = [Target("jpg", folder / images)] + ([Target("png", folder / ids)] if task == "panoptic" else [])
    check_room(bank, folder, ("jpg", "png", "json"))
    write_members(bank, targets)
    file = Path("annotations") / ("_".join(filter(None, (NAMES[task], split))) + ".json")
    if not (folder / file).exists():
        _write_json(bank, folder / file, masks)
    if task == "semantic":
        return folder / file
    return write_dataset_file(bank, folder, {"images": str(images), "task": task, "json": str(file)} | ({"masks": str(ids)} if task == "panoptic" else {}))


def _write_json(bank: Bank, path: Path, masks: str) -> None:
    """The file, an entry at a time: a million annotations are never in memory together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(path) as aside, open(aside, "w", encoding="utf-8") as file, tempfile.TemporaryFile("w+", dir=path.parent, encoding="utf-8") as later:
        file.write('{"info": {"description": ' + json.dumps(f"bank {bank.name}") + '},\n"images": [')
        count = 0
        for number in tqdm(range(len(bank)), desc=path.name, unit="sample"):
            record = bank.record(number)
            image = {"id": number + 1, "file_name": f"{record['image_id']}.jpg"}
            _add(file, {**image, **{name: record[name] for name in ("height", "width", "source_id", "caption")}}, number)
            for annotation in _annotations(bank, record, number + 1, masks):
                if bank.info.task != "panoptic":
                    annotation["id"] = count + 1
                _add(later, annotation, count)
                count += 1
        file.write('\n],\n"annotations": [')
        later.seek(0)
        shutil.copyfileobj(later, file)
        categories = [{"id": place, "name": item.name, "isthing": int(item.isthing)} for place, item in enumerate(bank.info.categories.items, 1)]
        file.write('\n],\n"categories": ' + json.dumps(categories, ensure_ascii=False) + "}\n")


def _add(file: IO[str], value: dict[str, Any], before: int) -> None:
    file.write(("," if before else "") + "\n" + json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _annotations(bank: Bank, record: dict[str, Any], image_id: int, masks: str) -> Iterator[dict[str, Any]]:
    """COCO's entries of one sample; ``id`` is set where they are written."""
    if bank.info.task == "semantic":
        yield from _stuff(bank, record["image_id"], image_id)
        return
    parts = record[PARTS[bank.info.task]]
    if bank.info.task == "panoptic":
        segments = [{**_common(part), "id": part["id"]} for part in parts]
        yield {"image_id": image_id, "file_name": f"{record['image_id']}.png", "segments_info": segments}
        return
    for part in parts:
        exact = masks == "rle" or part["iscrowd"]
        yield {"image_id": image_id, **_common(part), "segmentation": part["rle"] if exact else part["segmentation"]}


def _common(part: dict[str, Any]) -> dict[str, Any]:
    return {"category_id": part["category_id"] + 1, **{name: part[name] for name in ("iscrowd", "bbox", "area") if name in part}}


def _stuff(bank: Bank, key: str, image_id: int) -> Iterator[dict[str, Any]]:
    labels = read_label_map(bank.read(key, "png", check=bank.check))
    for category in np.unique(labels[labels < len(bank.info.categories)]).tolist():
        mask = labels == category
        rows, columns = (np.flatnonzero(mask.any(axis)).tolist() for axis in (1, 0))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        yield {"image_id": image_id, "category_id": category + 1, "iscrowd": 0, "bbox": box, "area": int(mask.sum()), "segmentation": encode_mask(mask)}
