"""Polygons moved by a plan and cut at its window: ``(P, 2)`` float64 corners, x before y, in pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .plan import Flip, Plan


def move_polygons(polygons: Iterable[Sequence[float]], plan: Plan) -> list[np.ndarray]:
    """COCO polygons ``[x0, y0, x1, y1, ...]`` of a file, as the plan's window has them; what lies outside is gone.

    Several pieces of one polygon stay joined along the window's border, which fills no pixel.
    """
    factors = np.array([plan.resized[1] / plan.source[1], plan.resized[0] / plan.source[0]])
    top, left, height, width = plan.window
    moved = []
    for polygon in polygons:
        corners = _flip(np.array(polygon, np.float64).reshape(-1, 2), plan.source, plan.source_flip) * factors
        corners = _cut(corners, (left, top), (left + width, top + height))
        if len(corners) > 2:
            moved.append(_flip(corners - (left, top), plan.window_size, plan.flip))
    return moved


def box_around(polygons: Sequence[np.ndarray]) -> np.ndarray:
    """``(4,)`` float64: left, top, right, bottom of all corners; zeros without any."""
    if not polygons:
        return np.zeros(4)
    corners = np.concatenate(polygons)
    return np.concatenate([corners.min(0), corners.max(0)])


def _flip(corners: np.ndarray, size: tuple[int, int], flip: Flip) -> np.ndarray:
    for axis in (0, 1):
        if flip[axis]:
            corners[:, 1 - axis] = size[axis] - corners[:, 1 - axis]
    return corners


def _cut(corners: np.ndarray, low: tuple[float, float], high: tuple[float, float]) -> np.ndarray:
    """Sutherland and Hodgman's clipping of a polygon by a rectangle (CACM 17(1), 1974)."""
    for axis in (0, 1):
        for bound, side in ((low[axis], 1), (high[axis], -1)):
            if len(corners) and (side * (corners[:, axis] - bound)).min() < 0:
                corners = _cut_at(corners, axis, bound, side)
    return corners


def _cut_at(corners: np.ndarray, axis: int, bound: float, side: int) -> np.ndarray:
    """What lies at or past ``bound`` along ``axis`` in the direction ``side``."""
    following = np.roll(corners, -1, axis=0)
    inside, next_inside = side * (corners[:, axis] - bound) >= 0, side * (following[:, axis] - bound) >= 0
    crossing = inside != next_inside
    step = np.where(crossing, following[:, axis] - corners[:, axis], 1.0)
    met = corners + (following - corners) * ((bound - corners[:, axis]) / step)[:, None]
    met[:, axis] = bound
    pairs = np.stack([corners, met], axis=1).reshape(-1, 2)  # each corner, then where the edge after it meets the bound
    return pairs[np.stack([inside, crossing], axis=1).ravel()]
