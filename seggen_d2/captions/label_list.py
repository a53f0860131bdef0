"""The label-list captioner: "a scene at dusk with a road, two cars and a red and white striped sky"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from seggen_d2.segmentation import Categories

from .captioner import CaptionRequest

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class LabelListCaptioner:
    """Say what the label map holds, largest area first; things are counted by connected regions.

    Args:
        categories: the label space.
        scene: the words a caption opens with.
        min_share: categories (and regions of things) under this share of the labelled pixels are left out.
        max_names: at most so many categories a caption, so that it stays within CLIP's 77 tokens.
    """

    name = "label-list"
    facts = {"captioner": name, "model": "", "licence": "none needed: the words are the dataset's own"}

    def __init__(self, categories: Categories, *, scene: str = "a scene", min_share: float = 0.002, max_names: int = 10):
        self.categories, self.scene, self.min_share, self.max_names = categories, scene, min_share, max_names

    def __call__(self, batch: Sequence[CaptionRequest]) -> list[tuple[str, ...]]:
        return [(self._caption(request),) for request in batch]

    def _caption(self, request: CaptionRequest) -> str:
        labelled = max(1, int((request.labels != self.categories.ignore_id).sum()))
        areas = np.bincount(request.labels.ravel(), minlength=len(self.categories))[: len(self.categories)]
        order = [i for i in np.argsort(-areas, kind="stable") if areas[i] > self.min_share * labelled]
        counts = {self.categories.names[i]: self._count(request.labels == i, labelled) if self.categories.items[i].isthing else 1
                  for i in order[: self.max_names]}
        opening = f"{self.scene} {request.attributes['scene']}" if request.attributes.get("scene") else self.scene
        return list_caption(opening, counts, request.attributes.get("categories", {}))

    def _count(self, here: np.ndarray, labelled: int) -> int:
        regions = cv2.connectedComponentsWithStats(here.astype(np.uint8), connectivity=8)[2][1:, cv2.CC_STAT_AREA]
        return max(1, int((regions > self.min_share * labelled).sum()))


def list_caption(opening: str, counts: Mapping[str, int], looks: Mapping[str, str]) -> str:
    """``("a scene", {"road": 1, "car": 2}, {"road": "grey"})`` to ``"a scene with a grey road and two cars"``."""
    phrases = [_phrase(name, count, looks.get(name, "")) for name, count in counts.items()]
    if not phrases:
        return opening
    listed = phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
    return f"{opening} with {listed}"


def _phrase(name: str, count: int, look: str) -> str:
    described = f"{look} {name}".strip()
    if count == 1:
        return f"{'an' if described[0].lower() in 'aeiou' else 'a'} {described}"
    plural = described if described.endswith("s") else described + "s"
    return f"{NUMBERS[count] if count < len(NUMBERS) else 'many'} {plural}"
