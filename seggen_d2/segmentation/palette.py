"""Palettes: one colour a category, one for ignored pixels, one reserved for segment edges. Data, not code."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError

from .categories import Categories

IGNORE_COLOR = (0, 0, 0)
EDGE_COLOR = (255, 255, 255)


@dataclass(frozen=True, eq=False)
class Palette:
    """Colours for N categories.

    Args:
        colors: ``(N, 3)`` uint8 RGB, all different.
        ignore_color: ``(3,)`` uint8, the colour of unlabelled pixels.
        edge_color: ``(3,)`` uint8, drawn on segment boundaries of panoptic and instance maps, never a category.

    Raises:
        SegGenError: two of the N + 2 colours are equal.
    """

    colors: np.ndarray
    ignore_color: np.ndarray
    edge_color: np.ndarray

    def __post_init__(self) -> None:
        for name in ("colors", "ignore_color", "edge_color"):
            value = np.ascontiguousarray(getattr(self, name), dtype=np.uint8)
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if len(np.unique(self.all_colors, axis=0)) != len(self.all_colors):
            raise SegGenError("a palette has equal colours", expected=f"{len(self.all_colors)} different ones (categories, ignore, edge)",
                              found=f"{len(np.unique(self.all_colors, axis=0))} different ones")

    def __len__(self) -> int:
        return len(self.colors)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Palette) and np.array_equal(self.all_colors, other.all_colors)

    @property
    def all_colors(self) -> np.ndarray:
        """``(N + 2, 3)`` uint8: categories, then ignore, then edge."""
        return np.concatenate([self.colors, self.ignore_color[None], self.edge_color[None]])

    def min_distance(self) -> float:
        """The smallest Euclidean RGB distance between any two of the N + 2 colours."""
        colors = self.all_colors.astype(np.float64)
        distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
        return float(distances[np.triu_indices(len(colors), 1)].min())

    def to_json(self) -> dict[str, Any]:
        return {"colors": self.colors.tolist(), "ignore_color": self.ignore_color.tolist(), "edge_color": self.edge_color.tolist()}

    @classmethod
    def from_json(cls, value: Any, where: str) -> Palette:
        """The inverse of :meth:`to_json`.

        Raises:
            SegGenError: a key is missing, or a colour is not three values of 0..255.
        """
        try:
            parts = {name: np.asarray(value[name], dtype=np.int64) for name in ("colors", "ignore_color", "edge_color")}
        except (KeyError, TypeError, ValueError) as error:
            raise SegGenError(f"{where} is not a palette", expected="colors, ignore_color, edge_color", found=repr(value)[:80]) from error
        shapes_fit = parts["colors"].ndim == 2 and all(p.shape[-1:] == (3,) for p in parts.values())
        if not shapes_fit or any(p.min() < 0 or p.max() > 255 for p in parts.values()):
            raise SegGenError(f"{where} holds something that is no colour", expected="three integers of 0..255 each", found=repr(value)[:80])
        return cls(**{name: part.astype(np.uint8) for name, part in parts.items()})


def check_same_palette(a: Palette, b: Palette, *, a_is: str, b_is: str) -> None:
    """Masks painted by one palette can't be read by another.

    Raises:
        SegGenError: the palettes differ; the differing colours are listed first.
    """
    if a == b:
        return
    rows = [f"id {i}: {tuple(p.tolist())} against {tuple(q.tolist())}"
            for i, (p, q) in enumerate(zip(a.colors, b.colors, strict=False)) if not np.array_equal(p, q)]
    rows += [f"{len(a)} colours against {len(b)}"] if len(a) != len(b) else []
    rows += [f"{name}: {tuple(getattr(a, name).tolist())} against {tuple(getattr(b, name).tolist())}"
             for name in ("ignore_color", "edge_color") if not np.array_equal(getattr(a, name), getattr(b, name))]
    raise SegGenError(f"the palettes of {a_is} and {b_is} differ: " + "; ".join(rows[:8]),
                      expected=f"{a_is}: {a.colors.tolist()}", found=f"{b_is}: {b.colors.tolist()}",
                      remedy="use generators and banks made with one palette")


@functools.lru_cache(maxsize=8)
def default_palette(count: int) -> Palette:
    """The package's palette for ``count`` categories: stored ones where there are, else chosen now (a second for 300)."""
    stored = resources.files(__package__) / "palettes" / f"{count}.json"
    if stored.is_file():
        return Palette.from_json(json.loads(stored.read_text()), str(stored))
    return choose_palette(count)


def choose_palette(count: int, *, rounds: int = 40) -> Palette:
    """Colours far from each other in RGB, deterministic.

    Black (ignore) and white (edge) are fixed. The rest starts from farthest-point sampling (Gonzalez 1985) on a grid
    of 18 levels a channel; then, round by round, each colour moves to the grid point farthest from all others.

    Args:
        count: number of categories, 1 to 1000.
    """
    if not 1 <= count <= 1000:
        raise SegGenError("a palette's size is out of range", expected="1 to 1000 categories", found=str(count))
    grid = _grid()
    fixed = np.array([IGNORE_COLOR, EDGE_COLOR], dtype=np.float32)
    colors = _farthest_points(grid, fixed, count)
    for _ in range(rounds):
        if not _relocate(grid, fixed, colors):
            break
    return Palette(colors, np.array(IGNORE_COLOR), np.array(EDGE_COLOR))


def palette_like(categories: Categories, old_categories: Categories, old_palette: Palette) -> Palette:
    """A palette in which names that both label spaces have keep their colours; every other colour is far from all.

    Args:
        categories: what the palette is for.
        old_categories, old_palette: what there is already, such as those of a generator to start from. Names are compared
            without regard to case and to how their words are joined ("traffic light", "Traffic-Light").

    Ignored pixels and edges keep their colours, too. The colours of names that are gone are not given to others.
    """
    old = {_plain(name): color for name, color in zip(old_categories.names, old_palette.colors, strict=True)}
    if [_plain(name) for name in categories.names] == list(old):
        return old_palette
    kept = [old.pop(_plain(name), None) for name in categories.names]
    taken = old_palette.all_colors.astype(np.float32)
    fresh = iter(_farthest_points(_grid(), taken, sum(color is None for color in kept)))
    colors = np.array([next(fresh) if color is None else color for color in kept])
    return Palette(colors, old_palette.ignore_color, old_palette.edge_color)


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


def _grid() -> np.ndarray:
    """The colours that palettes are chosen from, ``(18^3, 3)`` float32."""
    levels = np.arange(0, 256, 15, dtype=np.float32)
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)


def _farthest_points(grid: np.ndarray, fixed: np.ndarray, count: int) -> np.ndarray:
    nearest = _squared_distances(grid, fixed).min(1)
    chosen = np.empty((count, 3), dtype=np.float32)
    for i in range(count):
        chosen[i] = grid[nearest.argmax()]
        nearest = np.minimum(nearest, _squared_distances(grid, chosen[i : i + 1])[:, 0])
    return chosen


def _relocate(grid: np.ndarray, fixed: np.ndarray, colors: np.ndarray) -> bool:
    """Move each colour, in place, to where its nearest neighbour is farthest; tell whether any moved."""
    moved, centres = False, np.concatenate([fixed, colors])
    to_grid, to_others = _squared_distances(centres, grid), _squared_distances(centres, centres)
    np.fill_diagonal(to_others, np.inf)
    for i in range(len(fixed), len(centres)):
        to_grid[i] = np.inf  # all others' distances stand; only this one's are made anew
        nearest = to_grid.min(0)
        best = nearest.argmax()
        if nearest[best] > to_others[i].min() + 1e-3:
            centres[i], moved = grid[best], True
            to_others[i] = to_others[:, i] = _squared_distances(centres[i : i + 1], centres)[0]
            to_others[i, i] = np.inf
        to_grid[i] = _squared_distances(centres[i : i + 1], grid)[0]
    colors[:] = centres[len(fixed) :]
    return moved


def _squared_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """``(P, 3)`` and ``(C, 3)`` float32 to ``(P, C)``; exact for integers of 0..255."""
    return (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)[None]
