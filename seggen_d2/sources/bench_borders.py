"""How many pixels a blurred, noisy colour map gives back wrong, on label maps of several kinds: rows for ``tools/benchmark.py``.

Toy scenes, enlarged; CamVid's street scenes, where they lie beside the repository, enlarged and as they are; dense drawn maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.segmentation import read_label_map, resize_labels
from seggen_d2.segmentation.bench import SIDE, wrong_rows
from seggen_d2.segmentation.segment_codec import nearest_filled

from .toy import CATEGORIES, toy_scene

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
CAMVID = 11  # categories
MAPS = 2  # of each kind
HALF, THIRD = "bar for by borders x 0.5", "bar for by borders x 0.333"


def border_rows(side: int = SIDE) -> list[dict[str, Any]]:
    """The rows of :func:`wrong_rows` for each kind of maps, ``side`` pixels high."""
    return [made for kind in layouts(side) for made in wrong_rows(*kind)]


def layouts(side: int) -> Iterator[tuple[str, int, list[np.ndarray], str]]:
    """The arguments of :func:`wrong_rows`."""
    toy = [resize_labels(toy_scene(number, size=side // 4).labels, side, side) for number in range(MAPS)]
    yield f"{len(CATEGORIES)} categories, toy scenes", len(CATEGORIES), toy, HALF
    files = sorted((SHARED / "camvid" / "annotations" / "train").glob("*.png"))
    if files:
        real = [read_label_map(files[place]) for place in np.linspace(0, len(files) - 1, MAPS).astype(int)]
        wide = [resize_labels(labels, side, side * labels.shape[1] // labels.shape[0]) for labels in real]
        yield f"{CAMVID} categories and ignored, CamVid, {side} high", CAMVID, wide, HALF
        yield f"{CAMVID} categories and ignored, CamVid as it is", CAMVID, real, HALF
    for count, bar in ((12, HALF), (133, THIRD), (150, THIRD)):
        yield f"{count} categories, dense", count, [dense_labels(count, seed, side) for seed in range(MAPS)], bar


def dense_labels(count: int, seed: int, side: int, cells: int = 300, things: int = 40) -> np.ndarray:
    """``(side, side)`` int32: cells with wavy borders, 300 a map, and ellipses of a few pixels to a few dozen among them."""
    draw = np.random.default_rng(seed)
    seeds = np.zeros((side, side), bool)
    seeds[tuple(draw.integers(0, side, (2, cells)))] = True
    owners = np.where(seeds, draw.integers(0, count, (side, side)), 0).astype(np.int32)
    labels = nearest_filled(owners, seeds)[0]
    y, x = np.mgrid[:side, :side]
    waves = [(4 * np.sin(y / a + b) + 3 * np.sin(x / c + d)) for a, b, c, d in draw.uniform((6, 0, 6, 0), (20, 6, 20, 6), (2, 4))]
    labels = labels[np.clip((y + waves[0]).astype(int), 0, side - 1), np.clip((x + waves[1]).astype(int), 0, side - 1)]
    for radius in draw.uniform(3, 16, things):
        row_, column, aspect = *draw.uniform(0, side, 2), draw.uniform(0.5, 1)
        labels[((y - row_) / aspect) ** 2 + (x - column) ** 2 < radius**2] = draw.integers(count)
    return labels
