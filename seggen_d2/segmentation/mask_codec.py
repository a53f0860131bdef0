"""Masks as colour maps and back, for the three tasks.

Semantic masks are their categories' colours. Segments and objects are outlined besides, in the palette's edge colour,
so that neighbours of one category can be told apart: see :mod:`.segment_codec`.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from seggen_d2.foundation.errors import check_choice, check_range

from .categories import Categories
from .codec import ColorCodec
from .masks import Mask, SemanticMask
from .palette import Palette
from .segment_codec import Decoded, SegmentCodec

__all__ = ["EDGES", "EDGE_WIDTH", "TASKS", "Decoded", "MaskCodec", "SemanticCodec", "mask_codec"]
TASKS = ("semantic", "panoptic", "instance")
EDGES = ("all", "touching")
EDGE_WIDTH = 2  # pixels; after mild blur 1 gives some PQ more, after worse 2 by far (see bench_edges)


class MaskCodec(Protocol):
    """Masks of one task to colour maps, and back.

    Attributes:
        task: ``"semantic"``, ``"panoptic"`` or ``"instance"``.
    """

    task: str

    def encode(self, mask: Mask) -> np.ndarray:
        """``(H, W, 3)`` uint8 RGB.

        Raises:
            SegGenError: a category has no colour.
        """

    def decode(self, rgb: np.ndarray) -> Decoded:
        """The mask that ``(H, W, 3)`` uint8 RGB shows."""

    def unsure(self, rgb: np.ndarray) -> np.ndarray:
        """``(H, W)`` bool: pixels farther from each colour of the task's maps than a quarter of the palette's smallest distance."""

    def doubtful(self, rgb: np.ndarray) -> np.ndarray:
        """``(H, W)`` bool: pixels by borders that noise may have brought to either side (see :mod:`.borders`)."""

    def to_json(self) -> dict[str, Any]:
        """What decides the colour maps beside palette and categories: :func:`mask_codec`'s keyword arguments."""


class SemanticCodec:
    """The codec of semantic masks: decoding inverts encoding exactly, and knows blends along borders (see :mod:`.borders`)."""

    task = "semantic"

    def __init__(self, palette: Palette, ignore_id: int):
        self.colors = ColorCodec(palette, ignore_id)
        self.unsure, self.doubtful = self.colors.unsure, self.colors.doubtful

    def encode(self, mask: SemanticMask) -> np.ndarray:
        return self.colors.encode(mask.labels())

    def decode(self, rgb: np.ndarray) -> Decoded:
        return Decoded(SemanticMask(self.colors.decode_blended(rgb), self.colors.ignore_id))

    def to_json(self) -> dict[str, Any]:
        return {}


def mask_codec(
    task: str, palette: Palette, categories: Categories, *, edge_width: int = EDGE_WIDTH, edges: str = "all"
) -> MaskCodec:
    """The codec of a task.

    Args:
        task: ``"semantic"``, ``"panoptic"`` or ``"instance"``.
        palette: a colour for each of ``categories``.
        categories: the label space.
        edge_width: pixels of an outline, 1 to 4; the semantic codec has none.
        edges: ``"all"`` outlines every segment; ``"touching"`` draws only lines between touching segments of one
            category, without which they could not be told apart.

    Raises:
        SegGenError: the task or ``edges`` is unknown, or ``edge_width`` out of range.
    """
    check_choice("task", task, TASKS)
    check_choice("edges", edges, EDGES)
    check_range("edge_width", edge_width, 1, 4)
    if task == "semantic":
        return SemanticCodec(palette, categories.ignore_id)
    return SegmentCodec(task, palette, categories, edge_width, edges)
