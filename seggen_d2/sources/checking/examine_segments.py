"""The segments and objects of one image, held against what their JSON tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation.outlines import LEAST, mask_from_polygons
from seggen_d2.segmentation.panoptic import VOID
from seggen_d2.segmentation.rle import decode_mask

from ..coco_instance import is_polygon

Part = dict[str, Any]  # a segment or an object as COCO's JSON has it
Fault = tuple[str, str]  # a kind of problem and its detail
Box = tuple[float, float, float, float]  # x, y, width, height in pixels
_SLACK = 2.0  # pixels that a box may be off: datasets round in several ways
_AREA = 0.05  # share that an area may be off: those of polygons are computed, not counted


def look_at_segments(ids: np.ndarray, parts: Sequence[Part], ignore_id: int) -> tuple[dict[int, int], list[Fault]]:
    """Panoptic: ``(H, W)`` segment ids against ``segments_info``.

    Returns:
        ``{category id: pixels}``, unlabelled ones under ``ignore_id``, and what is wrong.
    """
    found, known = counted(ids), {part["id"]: part for part in parts}
    strange = {i: n for i, n in found.items() if i != VOID and i not in known}
    lacking = [i for i in known if i not in found]
    faults = [("segment", f"not in the JSON: {listed(strange)}")] if strange else []
    faults += [("segment", f"without a pixel: segments {', '.join(map(str, lacking[:5]))}")] if lacking else []
    pixels = {ignore_id: found.get(VOID, 0) + sum(strange.values())}
    for number, part in known.items():
        if number in found:
            pixels[part["category_id"]] = pixels.get(part["category_id"], 0) + found[number]
            faults += _box_faults(part, bounds_of(ids == number), found[number], f"segment {number}")
    return pixels, faults


def look_at_objects(parts: Sequence[Part], size: tuple[int, int], ignore_id: int) -> tuple[dict[int, int], list[Fault]]:
    """Instances: objects against their image's ``(H, W)``; otherwise as :func:`look_at_segments`."""
    pixels: dict[int, int] = {}
    covered, faults = np.zeros(size, bool), []
    for part in parts:
        where = f"annotation {part.get('id')}"
        try:
            mask, bounds = _object(part.get("segmentation"), size, where)
        except SegGenError as error:
            faults.append(("geometry", f"{where}: {error.found or error.problem}"))
            continue
        count = int(np.count_nonzero(mask))
        covered |= mask
        pixels[part["category_id"]] = pixels.get(part["category_id"], 0) + count
        faults += _box_faults(part, bounds, count, where)
    return {**pixels, ignore_id: int(covered.size - np.count_nonzero(covered))}, faults


def _object(drawn: Any, size: tuple[int, int], where: str) -> tuple[np.ndarray, Box | None]:
    """``(H, W)`` bool, and the box that holds it.

    Raises:
        SegGenError: polygons or run-length mask are broken, or of another image.
    """
    if not isinstance(drawn, list):
        mask = decode_mask(drawn, where)
        if mask.shape != size:
            raise SegGenError("another size", found=f"a run-length mask of {_by(mask.shape)}, image {_by(size)} (H x W)")
        return mask, bounds_of(mask)
    polygons = [polygon for polygon in drawn if is_polygon(polygon, where)]
    if not polygons:
        raise SegGenError("no polygon", found=f"no polygon of {LEAST // 2} points or more")
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    if min(left, top) < -_SLACK or right > size[1] + _SLACK or bottom > size[0] + _SLACK:
        corners = f"({left:.0f}, {top:.0f}) to ({right:.0f}, {bottom:.0f})"
        raise SegGenError("out of the image", found=f"polygons from {corners}, image {size[1]} x {size[0]} (W x H)")
    return mask_from_polygons(polygons, *size), (left, top, right - left, bottom - top)


def _box_faults(part: Part, bounds: Box | None, count: int, where: str) -> Iterator[Fault]:
    """The box and the area that are told against the mask's."""
    box, area = part.get("bbox"), part.get("area")
    if bounds is None:
        yield "geometry", f"{where}: no pixel"
        return
    if not _is_box(box):
        yield "geometry", f"{where}: box {box!r:.60}"
    elif max(abs(a - b) for a, b in zip(_ends(box), _ends(bounds), strict=True)) > _SLACK:
        yield "box", f"{where}: box {_rounded(box)}, its mask's {_rounded(bounds)}"
    border = 4 * (bounds[2] + bounds[3])  # pixels: outlines drawn in two ways differ along them
    if isinstance(area, (int, float)) and abs(area - count) > max(_AREA * count, border):
        yield "box", f"{where}: area {area:,.0f}, its mask's {count:,}"


def _is_box(box: Any) -> bool:
    return isinstance(box, (list, tuple)) and len(box) == 4 and all(isinstance(side, (int, float)) for side in box)


def _ends(box: Sequence[float]) -> tuple[float, ...]:
    x, y, width, height = box
    return x, y, x + width, y + height


def bounds_of(mask: np.ndarray) -> Box | None:
    """The box of a ``(H, W)`` bool mask's pixels; None where it has none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] - columns[0] + 1), float(rows[-1] - rows[0] + 1)


def counted(array: np.ndarray) -> dict[int, int]:
    """``{id: pixels}`` of an array of ids."""
    if array.dtype.itemsize <= 2:
        counts = np.bincount(array.ravel())
        return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
    found, counts = np.unique(array, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def listed(pixels: dict[int, int], most: int = 6) -> str:
    """``id 11 on 3,211 pixels; ...``, the most frequent first."""
    rows = [f"id {i} on {n:,} pixels" for i, n in sorted(pixels.items(), key=lambda pair: -pair[1])]
    return "; ".join(rows[:most]) + (f"; {len(rows) - most} more ids" if len(rows) > most else "")


def _rounded(box: Sequence[float]) -> str:
    return "[" + ", ".join(f"{side:.0f}" for side in box) + "]"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
