"""One's own COCO JSON, split into one to train on and one to validate on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json, write_json

from ..coco import read_coco_file
from ..splits import split_ids
from .places import need_folder
from .prepared import Split, place


class JsonOptions(Protocol):
    """The keys of ``FolderOptions`` that matter here."""

    name: str
    images: str
    masks: str
    json: str
    val_images: str
    val_masks: str
    val_json: str
    val_share: float
    group_pattern: str
    limit: int


def json_task(path: str) -> str:
    """``panoptic`` or ``instance``, by the annotations of a COCO JSON.

    Raises:
        SegGenError: it holds none.
    """
    value = read_json(path, "COCO annotations")
    annotations = value.get("annotations") if isinstance(value, dict) else None
    if not isinstance(annotations, list) or not annotations:
        raise SegGenError(f"COCO JSON {path} holds no annotations", expected="images, annotations, categories",
                          found=", ".join(value) if isinstance(value, dict) else type(value).__name__,
                          remedy="an image list or a category list is not enough: name the file of the annotations")
    return "panoptic" if isinstance(annotations[0], dict) and "segments_info" in annotations[0] else "instance"


def json_splits(options: JsonOptions, output: Path) -> tuple[list[Split], list[str]]:
    """The two sides: the two JSONs given, or one that is split by its images' names into ``output/{train,val}.json``."""
    task = json_task(options.json)
    sets = {"train": (options.images, options.masks, options.json)}
    if options.val_json:
        other = json_task(options.val_json)
        if other != task:
            raise SegGenError("the two JSON files are of two tasks", expected=f"{options.json}: {task}", found=f"{options.val_json}: {other}")
        sets["val"] = (options.val_images or options.images, options.val_masks or options.masks, options.val_json)
        _same_categories(options)
    else:
        parts = _divide(options, output)
        sets = {side: (options.images, options.masks, str(part)) for side, part in parts.items()}
    splits = [_split(options.name, side, task, *given, output) for side, given in sets.items()]
    limit = {"limit": options.limit} if options.limit else {}
    return [replace(split, spec={**split.spec, **limit}) for split in splits], _remarks(options.json, task)


def _split(name: str, side: str, task: str, images: str, masks: str, json: str, output: Path) -> Split:
    need_folder(images, "folder of photos", f"the photos that {json} names")
    spec = {"name": f"{name}_{side}", "task": task, "images": place(images, output), "json": place(json, output)}
    if task == "panoptic":
        need_folder(masks or "(no --masks)", "folder of panoptic masks", "the PNGs of coloured segment ids that the JSON names")
        spec["masks"] = place(masks, output)
    return Split(side, spec, sources=[json])


def _divide(options: JsonOptions, output: Path) -> dict[str, Path]:
    """Write ``train.json`` and ``val.json``."""
    value, file = read_json(options.json), read_coco_file(options.json)
    names = {image_id: Path(image["file_name"]).with_suffix("").as_posix() for image_id, image in file.images.items()}
    sides = split_ids(list(names.values()), options.val_share, options.group_pattern)
    made = {}
    for side, kept in zip(("train", "val"), map(set, sides), strict=True):
        of_side = {image_id for image_id, name in names.items() if name in kept}
        part = {**value, "images": [image for image in value["images"] if image["id"] in of_side],
                "annotations": [item for item in value["annotations"] if item.get("image_id") in of_side]}
        made[side] = output / f"{side}.json"
        if not made[side].is_file() or read_json(made[side]) != part:
            write_json(made[side], part)
    return made


def _same_categories(options: JsonOptions) -> None:
    ours, theirs = ([(c.get("id"), c.get("name")) for c in read_json(path).get("categories", [])] for path in (options.json, options.val_json))
    if ours != theirs:
        different = [f"{a} against {b}" for a, b in zip(ours, theirs, strict=False) if a != b] or [f"{len(ours)} against {len(theirs)}"]
        raise SegGenError("the two JSON files have different categories", expected=f"{options.json}: {len(ours)}", found="; ".join(different[:5]),
                          remedy="use files of one release, or one category list for both")


def _remarks(json: str, task: str) -> list[str]:
    """What the owner should know of the annotations."""
    file = read_coco_file(json, things_only=task == "instance")
    annotated = {item.get("image_id") for item in file.annotations}
    bare = [image for image in file.images if image not in annotated]
    crowds = Counter(bool(item.get("iscrowd")) for item in file.annotations)[True]
    rows = [f"{len(bare):,} of {len(file.images):,} images have no annotation"] if bare else []
    return rows + ([f"{crowds:,} crowds are kept and marked"] if crowds else [])


