"""COCO's category lists: ids with gaps, made contiguous."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json
from seggen_d2.segmentation import Categories, Category


@dataclass(frozen=True)
class CocoCategories:
    """COCO's categories, renumbered from 0 in the order of their file.

    Args:
        categories: the label space.
        numbers: COCO's id of each to its place in ``categories``.
        left_out: COCO's ids of categories that the task does not have (stuff, for instances).
    """

    categories: Categories
    numbers: dict[int, int]
    left_out: frozenset[int] = frozenset()

    def number(self, category_id: Any, where: str) -> int:
        """The contiguous id of COCO's ``category_id``; -1 where it is left out.

        Raises:
            SegGenError: it is unknown; ``where`` names what holds it.
        """
        known = isinstance(category_id, (int, float))
        number = self.numbers.get(category_id, -1 if category_id in self.left_out else None) if known else None
        if number is None:
            raise SegGenError(
                f"{where} is of category {category_id!r}, which is unknown",
                expected=f"one of {len(self.numbers)} ids: {_shown(sorted(self.numbers), 10)}",
                found=repr(category_id),
                remedy="use the category list that the annotations were made with",
            )
        return number


def read_coco_categories(path: str | os.PathLike, ignore_id: int = 255, *, things_only: bool = False) -> CocoCategories:
    """The categories of a COCO JSON file: its ``categories``, or the whole file where it is their list.

    Args:
        path: for example ``panoptic_coco_categories.json`` or ``instances_train2017.json``.
        ignore_id: the id of unlabelled pixels in label maps.
        things_only: leave stuff out, where the list tells things (``isthing``); without it all are things.

    Raises:
        SegGenError: the file cannot be read or holds no categories, or an id stands twice.
    """
    value = read_json(path, "category list")
    return listed_categories(value.get("categories") if isinstance(value, dict) else value, path, ignore_id, things_only)


def listed_categories(items: Any, path: str | os.PathLike, ignore_id: int, things_only: bool) -> CocoCategories:
    """:func:`read_coco_categories` of a list that was read from ``path``."""
    usable = isinstance(items, list) and all(isinstance(i, dict) and {"id", "name"} <= set(i) and isinstance(i["id"], int) for i in items)
    if not usable or not items:
        raise SegGenError(
            f"{path} holds no category list",
            expected='[{"id": 1, "name": "person", "isthing": 1}, ...], itself or as "categories"',
            found=f"{items!r:.80}",
            remedy="check the path; panoptic_coco_categories.json is of this form",
        )
    kept = [item for item in items if not things_only or item.get("isthing", 1)]
    numbers = {item["id"]: place for place, item in enumerate(kept)}
    if len(numbers) != len(kept):
        raise SegGenError(f"{path}: two categories have one id", found=_shown(sorted(i["id"] for i in kept), 20))
    categories = tuple(Category(item["name"], bool(item.get("isthing", 1))) for item in kept)
    left_out = frozenset(item["id"] for item in items) - set(numbers)
    return CocoCategories(Categories(categories, ignore_id), numbers, left_out)


def _shown(values: list, most: int) -> str:
    return ", ".join(map(str, values[:most])) + (", ..." if len(values) > most else "")
