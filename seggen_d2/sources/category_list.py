"""Categories as people have them: names on a command line, a text file, a dataset's YAML, COCO's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_bytes
from seggen_d2.foundation.options import load_yaml, read_yaml
from seggen_d2.segmentation import Categories

from .coco_categories import read_coco_categories

_ENDINGS = (".json", ".yaml", ".yml", ".txt")


def read_categories(words: Sequence[str], ignore_id: int = 255) -> Categories:
    """The categories that ``words`` tell.

    Args:
        words: names, in the order of their ids; or one file: ``.txt`` (a name a line), ``.yaml`` (a list of names
            or ``{name, isthing}``, alone or as its ``categories``), or ``.json`` (COCO's list).
        ignore_id: the id of unlabelled pixels; a YAML file's own comes first.

    Raises:
        SegGenError: the file is missing or holds no categories, or a name stands twice.
    """
    ending = Path(words[0]).suffix.lower() if len(words) == 1 else ""
    if ending not in _ENDINGS:
        return Categories.from_names(words, ignore_id)
    path = Path(words[0])
    if ending == ".json":
        return read_coco_categories(path, ignore_id).categories
    if ending == ".txt":
        lines = read_bytes(path, "category list").decode("utf-8", "replace").splitlines()
        return Categories.from_names([line.strip() for line in lines if line.strip()], ignore_id)
    value = read_yaml(path)
    value = {"categories": value} if isinstance(value, list) else load_yaml(path)
    if "categories" not in value:
        raise SegGenError(f"{path} has no key categories", expected="categories: [name, ...]", found=", ".join(value))
    items = {"items": value["categories"], "ignore_id": value.get("ignore_id", ignore_id)}
    return Categories.from_json(items, f"{path}: categories")
