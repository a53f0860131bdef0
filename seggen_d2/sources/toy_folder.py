"""Write toy scenes as a plain folder of images and masks, the layout that people's own data has."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from PIL import Image
from tqdm import tqdm

from seggen_d2.foundation.files import write_aside, write_bytes, write_json
from seggen_d2.segmentation import label_map_png

from .toy import CATEGORIES, toy_scene

FIRST = {"train": 0, "val": 100_000, "test": 200_000}  # scenes of different splits never meet


def write_toy_folder(folder: Path, split: str, count: int, *, size: int = 48) -> Path:
    """Write ``count`` scenes of ``split`` into ``folder``; scenes that are there stay.

    Returns:
        The dataset's YAML file.
    """
    attributes = {}
    for i in tqdm(range(count), desc=f"toy {split}", unit="scene"):
        scene, name = toy_scene(FIRST[split] + i, size=size), f"{split}_{i:05d}"
        attributes[name] = scene.attributes
        if not (folder / "masks" / f"{name}.png").exists():
            with write_aside(folder / "images" / f"{name}.png") as aside:
                Image.fromarray(scene.image).save(aside, "PNG")
            write_bytes(folder / "masks" / f"{name}.png", label_map_png(scene.labels))
    write_json(folder / "attributes.json", attributes)
    spec = {"name": f"toy_{split}", "images": "images", "masks": "masks", "ignore_id": CATEGORIES.ignore_id,
            "categories": [{"name": c.name, "isthing": c.isthing} for c in CATEGORIES.items], "attributes": "attributes.json", "limit": count}
    write_bytes(folder / "dataset.yaml", yaml.safe_dump(json.loads(json.dumps(spec)), sort_keys=False).encode())
    return folder / "dataset.yaml"
