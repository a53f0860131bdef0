"""COCO 2017 as downloaded, to what training reads: panoptic, instance, or semantic masks made from panoptic ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_choice

from ..coco import read_coco_file
from ..coco_panoptic import CocoPanopticSource
from ..splits import write_list
from .coco_json import json_splits, json_task
from .places import folder_content, need_counts, need_folder
from .prepared import Prepared, Split, category_items, check_begun, place, prepare
from .relabel import MaskFile, Relabel

TASKS = ("panoptic", "instance", "semantic")
SIDES = {"train": ("train2017", 118_287), "val": ("val2017", 5_000)}
CATEGORIES = {"panoptic": 133, "instance": 80, "semantic": 133}
LAYOUT = "train2017/ (118,287 photos), val2017/ (5,000), annotations/{instances,panoptic}_{train,val}2017.json, panoptic_{train,val}2017/"
SAMPLE_SHARE = 0.5


@dataclass(frozen=True)
class CocoPart:
    """A part of COCO that lies elsewhere; a share of it validates. The keys that :func:`json_splits` reads."""

    name: str
    images: str
    json: str
    masks: str = ""
    val_images: str = ""
    val_masks: str = ""
    val_json: str = ""
    val_share: float = SAMPLE_SHARE
    group_pattern: str = ""
    limit: int = 0


def prepare_coco(
    root: str | os.PathLike,
    output: str | os.PathLike,
    task: str,
    *,
    part: CocoPart | None = None,
    allow_counts: bool = False,
    workers: int = 1,
) -> Prepared:
    """Write ``output/{train,val}.yaml``; semantic masks go to ``output/masks``. Photos and JSON stay where they are.

    Args:
        root: the folder with ``train2017``, ``annotations`` and so on; of no account with ``part``.
        output: what is written.
        task: panoptic, instance or semantic (a category each pixel, from the panoptic masks).
        part: photos, JSON and masks in place of ``root``.
        allow_counts: take a part of the dataset.
        workers: processes.

    Raises:
        SegGenError: files are missing, of another task or release, or a mask cannot be used.
    """
    check_choice("task", task, TASKS)
    output, json_of = Path(output), "instance" if task == "instance" else "panoptic"
    options = {"task": task, "allow_counts": allow_counts}
    check_begun(output, options)
    if part:
        _check_task(part.json, json_of)
        splits, _ = json_splits(part, output)
    else:
        splits = _sides(need_folder(root, "COCO", LAYOUT), output, json_of)
    specs = [{**split.spec, "name": f"coco_{task}_{split.side}"} for split in splits]
    remarks = need_counts("COCO 2017", _expected(task), _found(specs, output), allow_counts)
    splits = [Split(split.side, spec, sources=split.sources) for split, spec in zip(splits, specs, strict=True)]
    relabel = None
    if task == "semantic":
        relabel, splits = _semantic(splits, output)
    return prepare(output, splits, relabel, options, workers=workers, remarks=remarks)


def _sides(root: Path, output: Path, task: str) -> list[Split]:
    made = []
    for side, (folder, _) in SIDES.items():
        json = root / "annotations" / f"{'instances' if task == 'instance' else 'panoptic'}_{folder}.json"
        if not json.is_file():
            raise SegGenError(f"{root} lacks {json.relative_to(root)}", expected=LAYOUT, found=folder_content(root),
                              remedy="unpack COCO's annotations (annotations_trainval2017.zip, panoptic_annotations_trainval2017.zip) there")
        _check_task(str(json), task)
        spec: dict[str, Any] = {"task": task, "images": place(need_folder(root / folder, "photos", LAYOUT), output), "json": place(json, output)}
        if task == "panoptic":
            places = (root / f"panoptic_{folder}", root / "annotations" / f"panoptic_{folder}")
            found = next((path for path in places if path.is_dir()), places[0])
            spec["masks"] = place(need_folder(found, "panoptic masks", f"{LAYOUT}; panoptic_{folder}.zip lies in COCO's panoptic archive"), output)
        made.append(Split(side, spec, sources=[str(json)]))
    return made


def _check_task(json: str, task: str) -> None:
    found = json_task(json)
    if found != task:
        raise SegGenError(f"{json} holds {found} annotations", expected=task, found=found,
                          remedy="instances_*.json goes with --task instance, panoptic_*.json with panoptic and semantic")


def _expected(task: str) -> dict[str, int]:
    sides = [(side, count) for side, (_, count) in SIDES.items()]
    counts = {f"{side} photos": count for side, count in sides} | {f"images in the {side} JSON": count for side, count in sides}
    if task != "instance":
        counts |= {f"panoptic {side} masks": count for side, count in sides}
    return {**counts, "categories": CATEGORIES[task]}


def _found(specs: list[dict[str, Any]], output: Path) -> dict[str, int]:
    """What there is of :func:`_expected`; of each image in a JSON, its files."""
    counts = {}
    for spec, side in zip(specs, SIDES, strict=True):
        file = read_coco_file(output / spec["json"], things_only=spec["task"] == "instance")
        counts[f"images in the {side} JSON"] = len(file.images)
        counts[f"{side} photos"] = sum(os.path.isfile(output / spec["images"] / image["file_name"]) for image in file.images.values())
        if "masks" in spec:
            counts[f"panoptic {side} masks"] = sum(os.path.isfile(output / spec["masks"] / str(item.get("file_name"))) for item in file.annotations)
        counts["categories"] = len(file.categories.categories)
    return counts


def _semantic(splits: list[Split], output: Path) -> tuple[Relabel, list[Split]]:
    """A category each pixel, as Mask2Former's own script makes them: crowds are of their category, the rest unlabelled."""
    made, categories = [], None
    for split in splits:
        spec, folder = split.spec, output / "masks" / split.side
        source = CocoPanopticSource(spec["name"], output / spec["images"], output / spec["json"], output / spec["masks"])
        categories = source.categories
        files = [_mask_file(record, folder) for record in source.records()]
        keys = {"name": spec["name"], "images": spec["images"], "masks": place(folder, output), "files": f"{split.side}.txt",
                "categories": category_items(categories), "ignore_id": categories.ignore_id}
        _write_ids(output, split.side, files, output / spec["images"])
        made.append(Split(split.side, keys, files, split.sources))
    return Relabel(categories, segments=True), made


def _mask_file(record: dict[str, Any], folder: Path) -> MaskFile:
    segments = tuple((segment["id"], segment["category_id"]) for segment in record["segments_info"])
    return MaskFile(record["file_name"], record["pan_seg_file_name"], str(folder / f"{Path(record['file_name']).stem}.png"), segments)


def _write_ids(output: Path, side: str, files: list[MaskFile], images: Path) -> None:
    write_list(output / f"{side}.txt", [Path(os.path.relpath(file.photo, images)).with_suffix("").as_posix() for file in files])

