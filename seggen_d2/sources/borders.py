"""How often a dataset's categories border each other, and the palette that follows."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from seggen_d2.segmentation import Palette, default_palette
from seggen_d2.segmentation.border_palette import border_safe, count_borders
from seggen_d2.segmentation.mask_codec import EDGE_WIDTH, mask_codec

from .dataset_file import Source
from .masks import read_mask

MASKS = 256  # so many tell enough


def dataset_borders(source: Source, *, edge_width: int = EDGE_WIDTH, edges: str = "all", limit: int = MASKS) -> np.ndarray:
    """``(N + 2, N + 2)`` int64, symmetric: borders, pixels, of the dataset's colour maps between its N categories, ignored
    pixels and edges.

    Args:
        source: the dataset.
        edge_width, edges: how segments are outlined; see :func:`mask_codec`.
        limit: read the masks of so many images, evenly spread; 0 for all.

    Raises:
        SegGenError: a mask cannot be read or does not fit its record.
    """
    records, count = source.records(), len(source.categories) + 2
    codec = mask_codec(source.task, default_palette(len(source.categories)), source.categories, edge_width=edge_width, edges=edges)
    chosen = np.unique(np.linspace(0, len(records) - 1, min(limit or len(records), len(records))).round().astype(int))
    borders = np.zeros((count, count), np.int64)
    for place in tqdm(chosen, desc="borders between categories", unit="mask"):
        borders += count_borders(codec.colors.nearest(codec.encode(read_mask(records[place], source))), count)
    return borders


def dataset_palette(source: Source, *, edge_width: int = EDGE_WIDTH, edges: str = "all") -> Palette:
    """The border-safe palette of a dataset, from :func:`dataset_borders`; the same for the same masks.

    Where every segment is outlined, no category borders another, and :class:`SegmentCodec` drops thin bands of third
    colours itself: drawn masks kept more panoptic quality after strong blur with the package's palette, which is given there.
    """
    if source.task != "semantic" and edges == "all":
        return default_palette(len(source.categories))
    return border_safe(dataset_borders(source, edge_width=edge_width, edges=edges))
