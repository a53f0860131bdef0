"""Outlines: masks as polygons, for programs that accept nothing else. Needs opencv, and pycocotools for the way back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seggen_d2.foundation.errors import SegGenError

from .opencv import opencv

LEAST = 6  # coordinates of a polygon: three points


def polygons_from_mask(mask: np.ndarray) -> list[list[float]]:
    """The outer outline of each 8-connected part of a mask; holes are lost, and are filled where a polygon is drawn.

    Corners are pixels' corners (pixel i covers [i, i + 1)), so a polygon drawn by COCO's rules gives the part back
    exactly, but for its holes; even one pixel is a polygon of four points, so no part is left out.

    Args:
        mask: ``(H, W)`` bool.

    Returns:
        ``[x0, y0, x1, y1, ...]`` for each part, at least 8 numbers, whole.

    Raises:
        SegGenError: opencv is not installed.
    """
    cv2 = opencv("to turn masks into polygons")
    rows, columns = (np.flatnonzero(np.any(mask, axis)) for axis in (1, 0))
    if not len(rows):
        return []
    top, left = rows[0], columns[0]
    part = np.asarray(mask, np.uint8)[top : rows[-1] + 1, left : columns[-1] + 1]
    doubled = part.repeat(2, 0).repeat(2, 1)
    outlines, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [(_corners(outline[:, 0]) + (left, top)).ravel().astype(float).tolist() for outline in outlines]


def box_of(mask: np.ndarray) -> list[int]:
    """``[x, y, width, height]`` of a mask's pixels, of which there is one or more."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]


def _corners(points: np.ndarray) -> np.ndarray:
    """``(P, 2)`` border pixels of a mask at twice its size to ``(C, 2)`` corners of the mask's own pixels.

    The centre of a border pixel at twice the size lies a quarter of a pixel inside the outline's nearest corner.
    """
    corners = (points + 1) // 2
    corners = corners[(corners != np.roll(corners, 1, 0)).any(1)]
    before, after = corners - np.roll(corners, 1, 0), np.roll(corners, -1, 0) - corners
    return corners[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def mask_from_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """``(H, W)`` bool: what the polygons cover together, by the rules of COCO's own tools.

    Raises:
        SegGenError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as tools
    except ImportError as error:
        raise SegGenError("pycocotools is needed to turn polygons into masks", found=str(error), remedy="pip install pycocotools") from error
    return tools.decode(tools.merge(tools.frPyObjects([list(p) for p in polygons], height, width))).astype(bool)
