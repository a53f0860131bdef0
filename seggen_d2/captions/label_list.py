"""The label-list captioner: "a scene at dusk with a road, two cars and a red and white striped sky"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from seggen_d2.foundation.errors import check_range
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import Mask
from seggen_d2.sources.caption_words import NUMBERS, list_caption, list_names

from .captioner import CaptionRequest


class LabelListCaptioner:
    """Say what the mask holds, largest area first; in further captions, in orders drawn for each image.

    Things are counted: by segments or objects where the mask has them, where a crowd is many; else by connected regions.

    Args:
        categories: the label space.
        scene: the words a caption opens with.
        min_share: categories (and regions of things) under this share of the labelled pixels are left out.
        max_names: at most so many categories a caption, so that it stays within CLIP's 77 tokens.
        orders: captions an image; they name the same, so that generators learn that the order tells nothing. Images of
            one or two categories have fewer orders than that: theirs come again.
        seed: changes every drawn order.
    """

    name = "label-list"
    facts = {"captioner": name, "model": "", "licence": "none needed: the words are the dataset's own"}

    def __init__(self, categories: Categories, *, scene: str = "a scene", min_share: float = 0.002, max_names: int = 10, orders: int = 1, seed: int = 0):
        self.categories, self.scene, self.min_share, self.max_names = categories, scene, min_share, max_names
        self.orders, self.seed = check_range("orders", orders, 1, 64), seed

    def __call__(self, batch: Sequence[CaptionRequest]) -> list[tuple[str, ...]]:
        return [self._captions(request) for request in batch]

    def _captions(self, request: CaptionRequest) -> tuple[str, ...]:
        opening = f"{self.scene} {request.attributes['scene']}" if request.attributes.get("scene") else self.scene
        counts, looks = self.counts(request.mask), request.attributes.get("categories", {})
        drawn = [self._drawn_order(counts, request.image_id, number) for number in range(1, self.orders)]
        return tuple(list_caption(opening, order, looks) for order in (counts, *drawn))

    def _drawn_order(self, counts: Mapping[str, int], image_id: str, number: int) -> dict[str, int]:
        return dict(sorted(counts.items(), key=lambda item: derive_seed("order", self.seed, image_id, number, item[0])))

    def listed(self, request: CaptionRequest) -> str:
        """``"a grey road and two cars"``; "" where the mask holds nothing."""
        return list_names(self.counts(request.mask), request.attributes.get("categories", {}))

    def counts(self, mask: Mask) -> dict[str, int]:
        """The names of the categories that a mask holds, largest area first, and how many there are of each."""
        labels = mask.labels()
        areas = np.bincount(labels.ravel(), minlength=len(self.categories))[: len(self.categories)]
        least = self.min_share * max(1, areas.sum())
        order = [i for i in np.argsort(-areas, kind="stable") if areas[i] > least][: self.max_names]
        return {self.categories.names[i]: _count(mask, labels, i, least) if self.categories.items[i].isthing else 1 for i in order}


def _count(mask: Mask, labels: np.ndarray, category: int, least: float) -> int:
    """How many things of a category there are that have more than ``least`` pixels; 10 where some are a crowd."""
    if mask.task == "semantic":
        here = (labels == category).astype(np.uint8)
        areas = cv2.connectedComponentsWithStats(here, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
        return max(1, int((areas > least).sum()))
    if mask.task == "instance":
        parts = [(thing.iscrowd, int(thing.mask.sum())) for thing in mask.objects if thing.category_id == category]
    else:
        pixels = dict(zip(*(values.tolist() for values in np.unique(mask.ids, return_counts=True)), strict=True))
        parts = [(segment.iscrowd, pixels[segment.id]) for segment in mask.segments if segment.category_id == category]
    shown = [iscrowd for iscrowd, area in parts if area > least]
    return len(NUMBERS) if any(shown) else max(1, len(shown))
