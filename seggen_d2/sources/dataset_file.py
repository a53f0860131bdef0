"""Datasets by a small YAML file: what they are and where they lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range
from seggen_d2.foundation.files import read_json
from seggen_d2.foundation.options import build, load_yaml
from seggen_d2.segmentation import Categories

from .coco_instance import CocoInstanceSource
from .coco_panoptic import CocoPanopticSource
from .folder import FolderSource
from .splits import read_list

NEEDED = {  # the keys that a dataset of each task must have, and those that mean nothing there
    "semantic": (("masks", "categories"), ("json",)),
    "panoptic": (("json", "masks"), ("files",)),
    "instance": (("json",), ("masks", "files")),
}
TASKS = tuple(NEEDED)


class Source(Protocol):
    """A labelled dataset: its name, task and label space, and its records."""

    name: str
    task: str

    @property
    def categories(self) -> Categories:
        """The label space."""

    def records(self) -> list[dict[str, Any]]:
        """Detectron2 dataset dicts."""


@dataclass(frozen=True)
class DatasetFile:
    """The keys of a dataset YAML; paths are relative to the file.

    Attributes:
        name: the name that configs use.
        images: folder of images.
        task: ``semantic`` (images and label maps), ``panoptic`` or ``instance`` (COCO's formats).
        masks: folder of single-channel PNG masks with the images' stems; for panoptic, of COCO's RGB id maps.
        json: COCO's JSON of segments (panoptic) or objects (instance).
        categories: names, or ``{name, isthing}``, in the order of their ids. For panoptic and instance the JSON's own
            serve; a file's name, such as ``panoptic_coco_categories.json``, replaces them.
        ignore_id: the id of unlabelled pixels.
        attributes: JSON of what is known beyond labels, ``{image_id: {"scene": words, "categories": {name: words}}}``.
        files: a text file of the images to use, an image id (the path below ``images`` without its ending) a line.
        limit: use the first so many images by name; 0 for all.
    """

    name: str
    images: str
    task: str = "semantic"
    masks: str = ""
    json: str = ""
    categories: list | str = ""
    ignore_id: int = 255
    attributes: str = ""
    files: str = ""
    limit: int = 0


def load_dataset(path: str | os.PathLike, task: str = "") -> Source:
    """Open the dataset that a YAML file describes (keys: :class:`DatasetFile`).

    Args:
        path: the YAML file.
        task: what the caller works on; "" takes any.

    Raises:
        SegGenError: the file is missing, a key is unknown or missing, the categories are no categories, or the
            dataset is of another task.
    """
    path, spec = Path(path), read_dataset_file(path, task)
    images = path.parent / spec.images
    attributes = read_json(path.parent / spec.attributes, "attributes") if spec.attributes else {}
    if spec.task == "semantic":
        categories = Categories.from_json({"items": spec.categories, "ignore_id": spec.ignore_id}, f"{path}: categories")
        listed = read_list(path.parent / spec.files) if spec.files else None
        return FolderSource(spec.name, images, path.parent / spec.masks, categories, attributes, spec.limit, listed=listed)
    category_file = str(path.parent / str(spec.categories)) if spec.categories else ""
    shared = {"ignore_id": spec.ignore_id, "category_file": category_file, "limit": spec.limit, "attributes": attributes}
    json = path.parent / spec.json
    if spec.task == "panoptic":
        return CocoPanopticSource(spec.name, images, json, path.parent / spec.masks, **shared)
    return CocoInstanceSource(spec.name, images, json, **shared)


def read_dataset_file(path: str | os.PathLike, task: str = "") -> DatasetFile:
    """The keys of a dataset YAML, checked, for the ``task`` or any; what they name is not opened.

    Raises:
        SegGenError: see :func:`load_dataset`.
    """
    spec = build(DatasetFile, load_yaml(path), f"dataset {path}")
    _check(spec, Path(path), task)
    return spec


def _check(spec: DatasetFile, path: Path, task: str) -> None:
    check_choice(f"{path}: task", spec.task, TASKS)
    check_range(f"{path}: limit", spec.limit, 0, 10**9)
    needed, meaningless = NEEDED[spec.task]
    missing = [key for key in needed if not getattr(spec, key)]
    if missing:
        raise SegGenError(
            f"dataset {path} lacks {', '.join(missing)}",
            expected=", ".join(("name", "images", *needed)) + f" for task: {spec.task}",
            remedy="see datasets/README.md",
        )
    extra = [key for key in meaningless if getattr(spec, key)]
    if extra or (spec.task != "semantic" and isinstance(spec.categories, list)):
        raise SegGenError(
            f"dataset {path}: {', '.join(extra) or 'a list of categories'} means nothing for task: {spec.task}",
            expected="see datasets/README.md",
            remedy="take it out, or name a JSON file as categories" if not extra else "take it out, or mend the task",
        )
    if task and spec.task != task:
        raise SegGenError(
            f"dataset {path} is for another task",
            expected=f"task: {task}",
            found=f"task: {spec.task}",
            remedy=f"name a dataset of the task {task}; {spec.task} ones cannot be used here",
        )
