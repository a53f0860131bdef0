"""The label space: contiguous ids 0..N-1, their names, and one ignore label."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from seggen_d2.foundation.errors import SegGenError

MAX_ID = 65535
_MARKS = re.compile(r"(-other|-merged|-stuff)+$")  # what COCO's list says of a category beside its name


@dataclass(frozen=True)
class Category:
    """One category; its id is its position. ``isthing`` as in COCO panoptic: countable objects."""

    name: str
    isthing: bool = False


@dataclass(frozen=True)
class Categories:
    """A dataset's categories.

    Args:
        items: category ``i`` has id ``i`` in every label map.
        ignore_id: the id of unlabelled pixels; any id in [0, 65535] outside 0..N-1.

    Raises:
        SegGenError: no category, an empty or repeated name, or an ignore label that is a category's id.
    """

    items: tuple[Category, ...]
    ignore_id: int = 255

    def __post_init__(self) -> None:
        if not self.items:
            raise SegGenError("the list of categories is empty", remedy="name at least one category")
        names = self.names
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated or not all(names):
            raise SegGenError("category names must differ and not be empty", found=f"repeated: {repeated}" if repeated else "an empty name")
        if not len(self.items) <= self.ignore_id <= MAX_ID:
            raise SegGenError("the ignore label is a category's id or out of range",
                              expected=f"an id from {len(self.items)} to {MAX_ID}", found=str(self.ignore_id),
                              remedy="give ignore_id a value past the last category's id (255 is usual)")

    @classmethod
    def from_names(cls, names: Iterable[str], ignore_id: int = 255) -> Categories:
        """Stuff categories from their names alone."""
        return cls(tuple(Category(name) for name in names), ignore_id)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.items)

    def to_json(self) -> dict[str, Any]:
        return {"items": [{"name": c.name, "isthing": c.isthing} for c in self.items], "ignore_id": self.ignore_id}

    @classmethod
    def from_json(cls, value: Any, where: str) -> Categories:
        """The inverse of :meth:`to_json`; a bare name stands for a stuff category.

        Raises:
            SegGenError: ``value`` is of another form; ``where`` names the file and key.
        """
        items = value.get("items") if isinstance(value, dict) else None
        if not isinstance(items, list):
            raise SegGenError(f"{where} is not a list of categories", expected="names, or {name, isthing} mappings", found=repr(value)[:80])
        return cls(tuple(_category(item, where) for item in items), int(value.get("ignore_id", 255)))


def _category(item: Any, where: str) -> Category:
    if isinstance(item, str):
        return Category(item)
    if isinstance(item, dict) and isinstance(item.get("name"), str) and item.get("isthing", False) in (True, False):
        return Category(item["name"], bool(item.get("isthing", False)))
    raise SegGenError(f"{where} holds something that is no category", expected="a name, or {name, isthing: true | false}", found=repr(item))


def check_same_categories(a: Categories, b: Categories, *, a_is: str, b_is: str, things: bool = True) -> None:
    """Two artefacts must share one label space: names, order, thing/stuff and ignore label.

    Args:
        things: False for semantic labels, where nothing depends on which categories are things.

    Raises:
        SegGenError: they differ; the differences come first, then both lists.
    """
    mine, other = _shown(a, things), _shown(b, things)
    pairs = enumerate(itertools.zip_longest(mine, other, fillvalue="nothing"))
    differences = [f"id {i}: {one} against {two}" for i, (one, two) in pairs if one != two]
    if a.ignore_id != b.ignore_id:
        differences.append(f"ignore label: {a.ignore_id} against {b.ignore_id}")
    if differences:
        listed = "; ".join(differences[:8]) + (f"; and {len(differences) - 8} more" if len(differences) > 8 else "")
        raise SegGenError(f"the categories of {a_is} and {b_is} differ: {listed}",
                          expected=f"{a_is}: {', '.join(mine)}", found=f"{b_is}: {', '.join(other)}",
                          remedy="use artefacts made for one label space, or make the second one again")


def _shown(categories: Categories, things: bool) -> list[str]:
    kinds = {True: " (thing)", False: " (stuff)"} if things else {True: "", False: ""}
    return [f"{item.name!r}{kinds[item.isthing]}" for item in categories.items]


def spoken(name: str) -> str:
    """A category's name as a caption has it: COCO's ``sky-other-merged`` is ``sky``, ``door-stuff`` is ``door``."""
    return _MARKS.sub("", name) or name
