"""What COCO's JSON files have in common: images and annotations, read and checked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json
from seggen_d2.segmentation import Categories

from .coco_categories import CocoCategories, listed_categories, read_coco_categories


@dataclass(frozen=True)
class CocoFile:
    """A COCO JSON file with images and annotations.

    Args:
        path: where it was read from.
        images: ``images`` by their ids, in the file's order.
        annotations: as in the file.
        categories: its own, or those given in their place.
    """

    path: Path
    images: dict[Any, dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: CocoCategories

    def image_of(self, annotation: dict[str, Any]) -> dict[str, Any]:
        """The image entry that an annotation is about.

        Raises:
            SegGenError: there is none.
        """
        need(annotation, ("image_id",), f"an annotation of {self.path}")
        image = self.images.get(annotation["image_id"])
        if image is None:
            raise SegGenError(
                f"{self.path}: an annotation is of image {annotation.get('image_id')!r}, which the file lacks",
                expected=f"the id of one of its {len(self.images)} images",
                found=f"{annotation!r:.80}",
                remedy="images and annotations must come from one file",
            )
        return image


def read_coco_file(
    path: str | os.PathLike, ignore_id: int = 255, *, categories: str | os.PathLike = "", things_only: bool = False
) -> CocoFile:
    """Read a COCO JSON file.

    Args:
        path: for example ``panoptic_train2017.json``.
        ignore_id: the id of unlabelled pixels in label maps.
        categories: a file whose category list replaces its own.
        things_only: see :func:`read_coco_categories`.

    Raises:
        SegGenError: a file is missing, truncated, or lacks images, annotations or categories; an image has no whole size,
            or two have one id.
    """
    value = read_json(path, "COCO annotations")
    for key in ("images", "annotations"):
        if not isinstance(value, dict) or not isinstance(value.get(key), list):
            raise SegGenError(
                f"COCO annotations {path} lack {key}",
                expected="images, annotations, categories",
                found=", ".join(value) if isinstance(value, dict) else type(value).__name__,
                remedy="it may be a file of another kind: check the path",
            )
    images = _images(value["images"], path)
    for item in value["annotations"]:
        if not isinstance(item, dict) or not isinstance(item.get("image_id"), (int, str, type(None))):
            raise SegGenError(f"an annotation of {path} lacks image_id, a number", expected='{"image_id": 1, ...}', found=f"{item!r:.80}",
                              remedy="export the file again")
    own = value.get("categories")
    known = (
        read_coco_categories(categories, ignore_id, things_only=things_only)
        if categories
        else listed_categories(own, path, ignore_id, things_only)
    )
    return CocoFile(Path(path), images, value["annotations"], known)


def _images(items: list, path: str | os.PathLike) -> dict[Any, dict[str, Any]]:
    """``images`` by their ids.

    Raises:
        SegGenError: an entry is no image, or an id stands twice.
    """
    found: dict[Any, dict[str, Any]] = {}
    for item in items:
        need(item, ("id", "file_name", "height", "width"), f"an image of {path}")
        sides = all(isinstance(item[side], int) and item[side] > 0 for side in ("height", "width"))
        if not sides or not isinstance(item["id"], (int, str)) or not isinstance(item["file_name"], str) or not item["file_name"]:
            raise SegGenError(f"an image of {path} is none", expected='{"id": 1, "file_name": "a.jpg", "height": 480, "width": 640}, sizes in whole pixels',
                              found=f"{item!r:.120}", remedy="export the file again")
        if found.setdefault(item["id"], item) is not item:
            raise SegGenError(f"{path}: two images have the id {item['id']!r}", found=f"{found[item['id']]['file_name']} and {item['file_name']}",
                              remedy="annotations cannot be told apart: give each image an id of its own")
    return found


@dataclass(frozen=True)
class CocoSource:
    """A dataset in COCO's format on disk; :mod:`.coco_panoptic` and :mod:`.coco_instance` say of what.

    Args:
        name: the dataset's name.
        images: folder of images.
        json: COCO's JSON file.
        ignore_id: the id of unlabelled pixels, in label maps made of it.
        category_file: a JSON file whose category list replaces the JSON's own; "" keeps that.
        limit: use the first so many images; 0 for all.
        attributes: per image id, as text, words for the captioner.
    """

    name: str
    images: Path
    json: Path
    ignore_id: int = field(default=255, kw_only=True)
    category_file: str = field(default="", kw_only=True)
    limit: int = field(default=0, kw_only=True)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict, kw_only=True)
    task = ""
    parts = ""  # the key of a record's segments or objects

    @property
    def categories(self) -> Categories:
        """Contiguous, in the order of the category list."""
        return self._file.categories.categories

    @property
    def numbers(self) -> dict[int, int]:
        """COCO's id of each category, and its place in :attr:`categories`."""
        return self._file.categories.numbers

    def records(self) -> list[dict[str, Any]]:
        """The records, in the JSON's order; crowds are kept and marked.

        Raises:
            SegGenError: the JSON, an image or a mask is missing or unfit, or a category is unknown.
        """
        return [self._copy(record) for record in self._records]

    def _copy(self, record: dict[str, Any]) -> dict[str, Any]:
        known = self.attributes.get(str(record["image_id"]))
        return {**record, self.parts: [dict(part) for part in record[self.parts]], **({"attributes": known} if known else {})}

    @cached_property
    def _file(self) -> CocoFile:
        things_only = self.task == "instance"
        return read_coco_file(self.json, self.ignore_id, categories=self.category_file, things_only=things_only)

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        raise NotImplementedError


def image_facts(image: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What every record holds of its image; exported banks tell sources and captions, too."""
    caption = {"caption": image["caption"]} if "caption" in image else {}
    return {
        "file_name": str(folder / image["file_name"]),
        "height": image["height"],
        "width": image["width"],
        "image_id": image["id"],
        "source_id": str(image.get("source_id", image["id"])),
        **caption,
    }


def annotation_facts(item: dict[str, Any], number: int, where: str) -> dict[str, Any]:
    """What a segment and an instance have in common; boxes are ``[x, y, width, height]`` in pixels.

    Raises:
        SegGenError: the box or the mark of crowds is none; ``where`` names what has it.
    """
    box = item["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, (int, float)) for side in box):
        raise SegGenError(f"the box of {where} is none", expected="[x, y, width, height] in pixels", found=f"{box!r:.80}")
    if not is_crowd_mark(item.get("iscrowd")):
        raise SegGenError(f"iscrowd of {where} is none", expected="0 or 1", found=f"{item['iscrowd']!r:.80}")
    facts = {"category_id": number, "iscrowd": int(item.get("iscrowd") or 0), "bbox": list(box)}
    return {**facts, "area": item["area"]} if "area" in item else facts


def is_crowd_mark(value: Any) -> bool:
    """Whether ``value`` can stand as ``iscrowd``; none at all means no crowd."""
    return value is None or value in (0, 1)


def check_files(paths: Iterable[str], dataset: str, what: str) -> None:
    """Every file must be there.

    Raises:
        SegGenError: some are not; the first one is named.
    """
    paths = list(paths)
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise SegGenError(
            f"dataset {dataset}: {len(missing)} of {len(paths)} {what} are missing",
            expected=missing[0],
            found="no such file" if os.path.isdir(os.path.dirname(missing[0])) else "no such folder",
            remedy="check the paths in the dataset's YAML file, or copy the files",
        )


def need(item: Any, keys: tuple[str, ...], where: str) -> None:
    """An entry of a COCO file must have its keys.

    Raises:
        SegGenError: it lacks some; ``where`` names it.
    """
    missing = [key for key in keys if not isinstance(item, dict) or key not in item]
    if missing:
        raise SegGenError(f"{where} lacks {', '.join(missing)}", expected=", ".join(keys), found=f"{item!r:.80}")
