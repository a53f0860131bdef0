"""A small dataset in COCO's formats: three images with a crowd, a hole, polygons and run-length masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from seggen_d2.segmentation.panoptic import panoptic_png
from seggen_d2.segmentation.rle import encode_mask

HEIGHT, WIDTH = 20, 28
CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 7, "name": "train", "isthing": 1},
    {"id": 92, "name": "sky", "isthing": 0},
]
IMAGES = ("000000000139", "000000000285", "000000000632")


def ids(number: int) -> np.ndarray:
    """``(20, 28)`` segment ids: sky, a train with a hole, a person over it, a crowd, and a border of none."""
    array = np.zeros((HEIGHT, WIDTH), np.int64)
    array[1:8, 1:27] = 70_000 + number
    array[8:18, 2:16] = 300 + number
    array[11:14, 5:9] = 0
    array[9:17, 12 + number : 15 + number] = 5
    array[14:19, 20:26] = 9
    return array


def segments(number: int) -> list[dict]:
    """COCO's ``segments_info`` of :func:`ids`."""
    of = {70_000 + number: 92, 300 + number: 7, 5: 1, 9: 1}
    return [_facts(ids(number) == i) | {"id": i, "category_id": c, "iscrowd": int(i == 9)} for i, c in of.items()]


def annotations(number: int) -> list[dict]:
    """COCO's objects of :func:`ids`, one as a polygon; the sky too, which readers leave out."""
    found = []
    for segment in segments(number):
        mask = ids(number) == segment["id"]
        x, y, width, height = segment["bbox"]
        box = [x, y, x + width, y, x + width, y + height, x, y + height]
        kind = [list(map(float, box))] if segment["id"] == 5 else encode_mask(mask)
        found.append({**segment, "id": 10 * number + len(found), "image_id": int(IMAGES[number]), "segmentation": kind})
    return found


def _facts(mask: np.ndarray) -> dict:
    rows, columns = np.flatnonzero(mask.any(1)).tolist(), np.flatnonzero(mask.any(0)).tolist()
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    return {"bbox": box, "area": int(mask.sum())}


def write_coco(folder: Path) -> dict[str, Path]:
    """Write images, id maps, both JSON files, and a dataset YAML a task: ``{task: YAML file}``."""
    images = [{"id": int(n), "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in IMAGES]
    for place, name in enumerate(IMAGES):
        for kind in ("images", "panoptic"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        picture = np.random.default_rng(place).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{name}.jpg", quality=90)
        (folder / "panoptic" / f"{name}.png").write_bytes(panoptic_png(ids(place)))
    numbers = range(len(IMAGES))
    panoptic = [
        {"image_id": int(IMAGES[n]), "file_name": f"{IMAGES[n]}.png", "segments_info": segments(n)} for n in numbers
    ]
    files = {"panoptic": panoptic, "instance": [a for n in numbers for a in annotations(n)]}
    found = {}
    for task, items in files.items():
        value = {"images": images, "annotations": items, "categories": CATEGORIES}
        (folder / f"{task}.json").write_text(json.dumps(value))
        spec = {"name": f"coco_{task}", "task": task, "images": "images", "json": f"{task}.json"}
        spec |= {"masks": "panoptic"} if task == "panoptic" else {}
        found[task] = folder / f"{task}.yaml"
        found[task].write_text(yaml.safe_dump(spec))
    return found
