"""One photo and its mask, looked at for everything that could be wrong. Nothing here raises for what a file holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.pictures import open_picture
from seggen_d2.foundation.seeds import fingerprint
from seggen_d2.segmentation.label_maps import read_label_map
from seggen_d2.segmentation.panoptic import read_panoptic_png

from ..records import open_image
from .examine_segments import counted, listed, look_at_objects, look_at_segments
from .problems import Problem

TINY = 64  # pixels a side
_ORIENTATION = 0x0112  # EXIF's tag
_TURNED = (5, 6, 7, 8)  # its values that exchange height and width


@dataclass(frozen=True)
class Item:
    """What belongs to one photo.

    Attributes:
        image: the photo.
        mask: its mask file; "" for instances.
        size: ``(H, W)`` that the annotations tell; None where they tell none.
        parts: its segments or objects as the JSON has them, category ids made contiguous (-1 is left out).
    """

    image: str
    mask: str = ""
    size: tuple[int, int] | None = None
    parts: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Finding:
    """What one item gave.

    Attributes:
        problems: what is wrong with it.
        pixels: ``{id: pixels}`` of its labels.
        digest: fingerprint of the photo's bytes; "" where it cannot be read.
    """

    problems: tuple[Problem, ...]
    pixels: dict[int, int] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True)
class Examine:
    """``examine(item) -> Finding``, for one process or many.

    Args:
        task: semantic, panoptic or instance.
        count: categories; 0 where they are not known.
        ignore_id: the id of unlabelled pixels.
    """

    task: str
    count: int
    ignore_id: int

    def __call__(self, item: Item) -> Finding:
        problems: list[Problem] = []
        size, orientation, digest = _photo(item, problems)
        try:
            shape, pixels = _MASKS[self.task](self, item, problems)
        except SegGenError as error:
            problems.append(Problem(_kind_of(error), item.mask or item.image, error.found or error.problem))
            shape, pixels = item.size, {}
        problems += _sizes(item, size, shape, orientation)
        labelled = sum(count for number, count in pixels.items() if number != self.ignore_id)
        if shape and not labelled and not any(p.file == item.mask for p in problems) and not (self.task == "instance" and not item.parts):
            problems.append(Problem("empty-mask", item.mask or item.image, "every pixel is unlabelled"))
        return Finding(tuple(problems), pixels, digest)

    def unknown(self, pixels: dict[int, int]) -> dict[int, int]:
        """Those ids of ``pixels`` that are neither a category nor the ignore id."""
        return {i: n for i, n in pixels.items() if self.count and i >= self.count and i != self.ignore_id}


def _photo(item: Item, problems: list[Problem]) -> tuple[tuple[int, int] | None, int, str]:
    """The photo's ``(H, W)``, its EXIF orientation and its fingerprint."""
    try:
        data = Path(item.image).read_bytes()
        image = open_image(data, item.image)
        with open_picture(data, f"image {item.image}") as header:
            mode, orientation = header.mode, header.getexif().get(_ORIENTATION, 1)
    except (OSError, SegGenError) as error:
        problems.append(Problem("unreadable", item.image, getattr(error, "found", "") or str(error)))
        return None, 1, ""
    size = (image.height, image.width)
    if min(size) < TINY:
        problems.append(Problem("tiny", item.image, f"{size[0]} x {size[1]} (H x W)"))
    if mode not in ("RGB", "L"):
        problems.append(Problem("photo-mode", item.image, f"mode {mode}"))
    if orientation not in (0, 1):
        problems.append(Problem("turned", item.image, f"EXIF orientation {orientation}"))
    return size, orientation, fingerprint(data)


def _sizes(item: Item, size: tuple[int, int] | None, shape: tuple[int, int] | None, orientation: int) -> Iterator[Problem]:
    """Photo, mask and annotations must be of one size."""
    for other, what in ((shape, item.mask), (item.size, "")):
        if size and other and tuple(other) != size:
            turned = orientation in _TURNED and tuple(other) == size[::-1]
            name = "its mask" if what else "its annotation"
            yield Problem("exif" if turned else "size", item.image, f"photo {size[0]} x {size[1]}, {name} {other[0]} x {other[1]} (H x W)")


def _semantic(examine: Examine, item: Item, problems: list[Problem]) -> tuple[tuple[int, int], dict[int, int]]:
    labels = read_label_map(item.mask)
    pixels = counted(labels)
    unknown = examine.unknown(pixels)
    if unknown:
        problems.append(Problem("id-range", item.mask, listed(unknown)))
    return labels.shape, pixels


def _panoptic(examine: Examine, item: Item, problems: list[Problem]) -> tuple[tuple[int, int], dict[int, int]]:
    ids = read_panoptic_png(item.mask)
    pixels, found = look_at_segments(ids, item.parts, examine.ignore_id)
    problems += [Problem(kind, item.mask, detail) for kind, detail in found]
    return ids.shape, pixels


def _instance(examine: Examine, item: Item, problems: list[Problem]) -> tuple[tuple[int, int] | None, dict[int, int]]:
    if item.size is None:
        return None, {}
    pixels, found = look_at_objects(item.parts, item.size, examine.ignore_id)
    problems += [Problem(kind, item.image, detail) for kind, detail in found]
    return item.size, pixels


_MASKS = {"semantic": _semantic, "panoptic": _panoptic, "instance": _instance}


def _kind_of(error: SegGenError) -> str:
    """The kind of problem that reading a mask met."""
    if "compressed with loss" in error.problem:
        return "lossy-mask"
    if "holds colours" in error.problem or "no coloured ids" in error.problem:
        return "color-mask" if "holds colours" in error.problem else "segment"
    return "missing-mask" if "does not exist" in error.problem else "unreadable"
