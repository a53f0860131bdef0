"""Write toy scenes as people's own data lies on disk: images with label maps, or with COCO's panoptic or instance JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from tqdm import tqdm

from seggen_d2.foundation.errors import check_choice, check_range
from seggen_d2.foundation.files import write_aside, write_bytes, write_json
from seggen_d2.segmentation import label_map_png
from seggen_d2.segmentation.masks import InstanceMask, SegmentMask
from seggen_d2.segmentation.outlines import box_of, polygons_from_mask
from seggen_d2.segmentation.panoptic import panoptic_png

from .splits import write_list
from .toy import CATEGORIES, STUFF, ToyScene, toy_scene
from .toy_unseen import unseen_scene

MOST = 100_000  # scenes a split
# Scenes of different splits never meet; those of "unlabelled" have no end.
FIRST = {"train": 0, "val": MOST, "test": 2 * MOST, "unseen": 3 * MOST, "oracle": 4 * MOST, "unlabelled": 10 * MOST}
SETS, SET_SIZE = ("train", "oracle"), 1000  # splits of which there are several sets, and scenes a set
LABELLED = tuple(split for split in FIRST if split != "unlabelled")


def write_toy_folder(folder: Path, split: str, count: int, *, size: int = 48, task: str = "semantic", labelled_set: int = 0) -> Path:
    """Write ``count`` scenes of ``split`` into ``folder``; pictures that are there stay.

    Args:
        folder: of one split and task.
        split: ``train``, ``val``, ``test``; ``oracle``: more true scenes, for a bank that no generator can beat; or
            ``unseen``: scenes of another look.
        count: scenes, up to ``MOST``.
        size: pixels a side.
        task: ``semantic`` (label maps), ``panoptic`` or ``instance`` (COCO's formats; polygons fill the holes of objects).
        labelled_set: of ``train`` and ``oracle``: another set has scenes of its own.

    Returns:
        The dataset's YAML file.

    Raises:
        SegGenError: the task or the split is not known, or scenes would be those of another split.
    """
    first, draw = FIRST[check_choice("split", split, LABELLED)], unseen_scene if split == "unseen" else toy_scene
    numbers = _numbers(count, labelled_set if split in SETS else 0)
    scenes = ((f"{split}_{i:05d}", draw(first + i, size=size)) for i in numbers)
    return _write(folder, split, scenes, count, task)


def write_repainted(folder: Path, count: int, appearances: int, *, size: int = 48, task: str = "semantic", labelled_set: int = 0) -> Path:
    """Write the first ``count`` training scenes in ``appearances`` other looks and lights each: their labels, other images.

    A picture is called ``train_NNNNN_A``, A from 1: the scene that it is a variant of, and its appearance.

    Returns:
        The dataset's YAML file.

    Raises:
        SegGenError: the task is not known, or a number is out of range.
    """
    check_range("appearances", appearances, 1, 1000)
    wanted = {f"train_{i:05d}_{look}": (i, look) for i in _numbers(count, labelled_set) for look in range(1, appearances + 1)}
    scenes = ((name, toy_scene(FIRST["train"] + i, size=size, appearance=look)) for name, (i, look) in wanted.items())
    write_list(folder / "files.txt", [*wanted])  # the folder may hold other appearances, which sort in between
    return _write(folder, "repainted", scenes, len(wanted), task, {"files": "files.txt"} if task == "semantic" else {})


def _numbers(count: int, labelled_set: int) -> range:
    """The numbers within a split of a set's scenes."""
    last = MOST // SET_SIZE - 1
    check_range("labelled_set", labelled_set, 0, last)
    check_range("count", count, 0, SET_SIZE if labelled_set else MOST)
    return range(labelled_set * SET_SIZE, labelled_set * SET_SIZE + count)


def _write(folder: Path, split: str, drawn: Iterable[tuple[str, ToyScene]], count: int, task: str, more: Mapping[str, str] | None = None) -> Path:
    write_labels = WRITERS[check_choice("task", task, tuple(WRITERS))]
    scenes: dict[str, ToyScene] = {}
    for name, scene in tqdm(drawn, desc=f"toy {split}", unit="scene", total=count):
        scenes[name] = scene
        write_image(folder, name, scene.image)
    write_json(folder / "attributes.json", {name: scene.attributes for name, scene in scenes.items()})
    spec = {"name": f"toy_{split}", "images": "images", **write_labels(folder, scenes), "ignore_id": CATEGORIES.ignore_id,
            "attributes": "attributes.json", "limit": count, **(more or {})}
    write_bytes(folder / "dataset.yaml", yaml.safe_dump(json.loads(json.dumps(spec)), sort_keys=False).encode())
    return folder / "dataset.yaml"


def write_image(folder: Path, name: str, image: np.ndarray) -> None:
    """``(H, W, 3)`` uint8 RGB as ``folder/images/NAME.png``, unless it is there."""
    file = folder / "images" / f"{name}.png"
    if not file.exists():
        with write_aside(file) as aside:
            Image.fromarray(image).save(aside, "PNG")


def _write_label_maps(folder: Path, scenes: dict[str, ToyScene]) -> dict[str, Any]:
    for name, scene in scenes.items():
        write_bytes(folder / "masks" / f"{name}.png", label_map_png(scene.labels))
    return {"masks": "masks", "categories": [{"name": c.name, "isthing": c.isthing} for c in CATEGORIES.items]}


def _write_panoptic(folder: Path, scenes: dict[str, ToyScene]) -> dict[str, Any]:
    masks = {name: scene.mask("panoptic") for name, scene in scenes.items()}
    for name, mask in masks.items():
        write_bytes(folder / "masks" / f"{name}.png", panoptic_png(mask.ids))
    annotations = [{"image_id": name, "file_name": f"{name}.png", "segments_info": _segments(mask)} for name, mask in masks.items()]
    _write_coco(folder, scenes, annotations, range(len(CATEGORIES)))
    return {"task": "panoptic", "masks": "masks", "json": "annotations.json"}


def _write_instances(folder: Path, scenes: dict[str, ToyScene]) -> dict[str, Any]:
    objects = [{"image_id": name, **thing} for name, scene in scenes.items() for thing in _objects(scene.mask("instance"))]
    _write_coco(folder, scenes, [{"id": n, **thing} for n, thing in enumerate(objects, start=1)], range(len(STUFF), len(CATEGORIES)))
    return {"task": "instance", "json": "annotations.json"}


def _segments(mask: SegmentMask) -> list[dict[str, Any]]:
    shown = [(segment, mask.ids == segment.id) for segment in mask.segments]
    return [{"id": segment.id, **_facts(pixels, segment.category_id)} for segment, pixels in shown]


def _objects(mask: InstanceMask) -> list[dict[str, Any]]:
    return [{**_facts(thing.mask, thing.category_id), "segmentation": polygons_from_mask(thing.mask)} for thing in mask.objects]


def _facts(pixels: Any, category_id: int) -> dict[str, Any]:
    """What COCO tells of a segment or object; its category ids begin at 1."""
    return {"category_id": category_id + 1, "iscrowd": 0, "bbox": box_of(pixels), "area": int(pixels.sum())}


def _write_coco(folder: Path, scenes: dict[str, ToyScene], annotations: list[dict[str, Any]], categories: range) -> None:
    """COCO's JSON; image ids are the scenes' names."""
    images = [{"id": name, "file_name": f"{name}.png", "height": len(s.labels), "width": len(s.labels)} for name, s in scenes.items()]
    known = [{"id": n + 1, "name": CATEGORIES.names[n], "isthing": int(CATEGORIES.items[n].isthing)} for n in categories]
    write_json(folder / "annotations.json", {"images": images, "annotations": annotations, "categories": known})


WRITERS: dict[str, Callable[[Path, dict[str, ToyScene]], dict[str, Any]]] = {
    "semantic": _write_label_maps,
    "panoptic": _write_panoptic,
    "instance": _write_instances,
}
