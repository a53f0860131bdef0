"""What a Detectron2 dataset's metadata says of its label space, against what a bank says of its own."""

from __future__ import annotations

from typing import Any

from detectron2.data import MetadataCatalog

from seggen_d2.bank import BankInfo
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, Category, check_same_categories

NAMES_KEY = {"semantic": "stuff_classes", "panoptic": "stuff_classes", "instance": "thing_classes"}
_TASKS = {  # Detectron2's evaluator_type
    "sem_seg": "semantic",
    "cityscapes_sem_seg": "semantic",
    "coco_panoptic_seg": "panoptic",
    "ade20k_panoptic_seg": "panoptic",
    "cityscapes_panoptic_seg": "panoptic",
    "mapillary_vistas_panoptic_seg": "panoptic",
    "coco": "instance",
    "lvis": "instance",
    "cityscapes_instance": "instance",
}


def task_of(name: str) -> str | None:
    """The task that dataset ``name`` is evaluated for; None where its metadata names no known evaluator."""
    return _TASKS.get(MetadataCatalog.get(name).get("evaluator_type"))


def categories_like(name: str, task: str | None = None, pattern: Categories | None = None) -> Categories:
    """The label space of dataset ``name``, as this package writes label spaces.

    Semantic metadata does not tell things from stuff, and instance metadata knows no ignore label: there ``pattern``'s
    are taken (without it: stuff, and 255 or the first id past the categories).

    Args:
        name: a dataset with metadata in Detectron2's ``MetadataCatalog``.
        task: ``"semantic"``, ``"panoptic"`` or ``"instance"``; by default what the dataset is evaluated for.
        pattern: a label space for what the metadata leaves open.

    Raises:
        SegGenError: the metadata holds no names for the task, or contiguous ids that fit no name.
    """
    metadata = MetadataCatalog.get(name)
    task = task or task_of(name) or "semantic"
    names = metadata.get(NAMES_KEY[task])
    if not names:
        raise SegGenError(
            f"dataset {name} has no {NAMES_KEY[task]} in its metadata",
            expected=f"the names of its categories for the {task} task",
            found=", ".join(sorted(metadata.as_dict())),
            remedy=f"set MetadataCatalog.get({name!r}).{NAMES_KEY[task]}, or name a dataset of that task",
        )
    things = _things(name, metadata, task, len(names), pattern)
    ignore = metadata.get("ignore_label") if task != "instance" else None
    if ignore is None:
        ignore = pattern.ignore_id if pattern else max(255, len(names))
    return Categories(tuple(Category(text, i in things) for i, text in enumerate(names)), int(ignore))


def _things(name: str, metadata: Any, task: str, count: int, pattern: Categories | None) -> set[int]:
    """Contiguous ids of the things."""
    if task == "instance":
        return set(range(count))
    if task == "semantic":
        return {i for i, item in enumerate(pattern.items) if item.isthing} if pattern else set()
    things, stuff = (_ids(metadata, f"{kind}_dataset_id_to_contiguous_id") for kind in ("thing", "stuff"))
    strange = sorted(i for i in things | stuff if not 0 <= i < count)
    missing = sorted(set(range(count)) - things - stuff)
    if strange or missing:
        raise SegGenError(
            f"the panoptic metadata of dataset {name} does not give each category its id",
            expected=f"contiguous ids 0..{count - 1}, each a thing's or a stuff's",
            found=f"ids without a name: {strange}; names without an id: {missing}",
            remedy="name a dataset with one numbering for things and stuff (coco_2017_train_panoptic, not _separated)",
        )
    return things


def _ids(metadata: Any, key: str) -> set[int]:
    return set((metadata.get(key) or {}).values())


def check_label_space(info: BankInfo, root: Any, like: str) -> None:
    """A bank serves in place of dataset ``like`` only with the same names, ids, order, things and ignore label.

    Raises:
        SegGenError: listing what differs.
    """
    found = info.categories
    wanted = categories_like(like, info.task, found)
    try:
        check_same_categories(wanted, found, a_is=f"dataset {like}", b_is=f"bank {root}")
    except SegGenError as error:
        raise SegGenError(
            error.problem,
            expected=error.expected,
            found=error.found,
            remedy="names must be equal to the letter, also where they mean the same: make or import the bank with the "
            f"names that seggen_d2.plugin.categories_like({like!r}) gives, or name the dataset it was made for",
        ) from error


def check_task(info: BankInfo, root: Any, task: str, why: str) -> None:
    """A bank must hold what the mapper reads.

    Raises:
        SegGenError: it was made for another task.
    """
    if info.task != task:
        raise SegGenError(
            f"bank {root} was made for another task",
            expected=f"{task} ({why})",
            found=info.task,
            remedy=f"use a bank of the {task} task, or import one with tools/import_bank.py",
        )
