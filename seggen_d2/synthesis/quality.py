"""Which sampled masks are worth painting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seggen_d2.foundation.errors import check_range
from seggen_d2.segmentation import Categories, histogram
from seggen_d2.segmentation.mask_codec import Decoded
from seggen_d2.segmentation.naming import named_categories


@dataclass(frozen=True)
class QualityOptions:
    """When a sampled mask is rejected.

    Attributes:
        max_unsure: largest share of pixels far from every palette colour (see :meth:`ColorCodec.unsure`).
        min_labelled: smallest share of pixels that are a category, not ignore or edge; instance masks, whose
            background is unlabelled, need one object instead.
        min_categories: fewest categories of at least ``min_share`` of the pixels; not asked of instance masks.
        min_named: smallest share of the categories that the caption names which the mask holds.
        min_share: a category of a semantic mask counts as held from this share of the pixels on; those of segments and
            objects count from one on, since specks are dropped before.
        max_dropped: largest share of pixels in specks and holes of segments, which went to their neighbours.
        max_lost: largest share of pixels so deep in edge colour that they belong to no segment.
        ignore_doubtful: write as unlabelled what noise may have brought to either side of a border (see
            :meth:`MaskCodec.doubtful`); instance masks know no unlabelled pixels, and stay as they are.
    """

    max_unsure: float = 0.5
    min_labelled: float = 0.5
    min_categories: int = 2
    min_named: float = 0.5
    min_share: float = 0.003
    max_dropped: float = 0.25
    max_lost: float = 0.1
    ignore_doubtful: bool = False

    def __post_init__(self) -> None:
        for name in ("max_unsure", "min_labelled", "min_named", "min_share", "max_dropped", "max_lost"):
            check_range(name, getattr(self, name), 0, 1)


def fault(unsure: np.ndarray, decoded: Decoded, caption: str, categories: Categories, options: QualityOptions) -> str:
    """Why a sampled mask is not useful; ``""`` where it is.

    Args:
        unsure: ``(H, W)`` bool, the codec's of the colour map that Text2Mask painted.
        decoded: what that map decodes to.
        caption: what it was painted from.
    """
    shares = ((float(unsure.mean()), options.max_unsure, "unsure colours on {:.0%} of the pixels"),
              (decoded.dropped, options.max_dropped, "specks and holes on {:.0%} of the pixels"),
              (decoded.lost, options.max_lost, "edge colour alone on {:.0%} of the pixels"))
    for share, most, words in shares:
        if share > most:
            return words.format(share)
    mask = decoded.mask
    areas = histogram(mask.labels(), categories) / unsure.size
    held = areas >= options.min_share if mask.task == "semantic" else areas > 0
    return _empty(mask.task, areas, held, options) or _unnamed(held, caption, categories, options)


def _empty(task: str, areas: np.ndarray, held: np.ndarray, options: QualityOptions) -> str:
    if task == "instance":
        return "" if held.any() else "no object"
    if areas.sum() < options.min_labelled:
        return f"only {areas.sum():.0%} of the pixels labelled"
    return f"only {held.sum()} categories held" if held.sum() < options.min_categories else ""


def _unnamed(held: np.ndarray, caption: str, categories: Categories, options: QualityOptions) -> str:
    named = named_categories(caption, categories)
    if len(named) and held[named].mean() < options.min_named:
        return f"holds {held[named].sum()} of the {len(named)} categories that the caption names"
    return ""
