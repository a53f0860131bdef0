"""Which sampled masks are worth painting."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from seggen_d2.foundation.errors import check_range
from seggen_d2.segmentation import Categories, ColorCodec, histogram


@dataclass(frozen=True)
class QualityOptions:
    """When a sampled mask is rejected.

    Attributes:
        max_unsure: largest share of pixels far from every palette colour (see :meth:`ColorCodec.unsure`).
        min_labelled: smallest share of pixels that are a category, not ignore or edge.
        min_categories: fewest categories of at least ``min_share`` of the pixels.
        min_named: smallest share of the categories that the caption names which the mask holds.
        min_share: a category counts as held from this share of the pixels on.
    """

    max_unsure: float = 0.5
    min_labelled: float = 0.5
    min_categories: int = 2
    min_named: float = 0.5
    min_share: float = 0.003

    def __post_init__(self) -> None:
        for name in ("max_unsure", "min_labelled", "min_named", "min_share"):
            check_range(name, getattr(self, name), 0, 1)


def fault(rgb: np.ndarray, labels: np.ndarray, caption: str, codec: ColorCodec, categories: Categories, options: QualityOptions) -> str:
    """Why a sampled mask is not useful; ``""`` where it is.

    Args:
        rgb: ``(H, W, 3)`` uint8, what Text2Mask painted.
        labels: ``(H, W)``, what it decodes to.
        caption: what it was painted from.
    """
    unsure = float(codec.unsure(rgb).mean())
    if unsure > options.max_unsure:
        return f"unsure colours on {unsure:.0%} of the pixels"
    areas = histogram(labels, categories) / labels.size
    if areas.sum() < options.min_labelled:
        return f"only {areas.sum():.0%} of the pixels labelled"
    held = areas >= options.min_share
    if held.sum() < options.min_categories:
        return f"only {held.sum()} categories held"
    named = named_categories(caption, categories)
    if len(named) and held[named].mean() < options.min_named:
        return f"holds {held[named].sum()} of the {len(named)} categories that the caption names"
    return ""


def named_categories(caption: str, categories: Categories) -> list[int]:
    """Ids of the categories whose name, or its plural, stands in the caption."""
    return [i for i, name in enumerate(categories.names) if re.search(rf"\b{re.escape(name)}s?\b", caption, re.IGNORECASE)]
