"""Crops: augmentations that choose a plan's window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seggen_d2.foundation.errors import check_choice, check_range

from .plan import Areas, Plan, Size


@dataclass(frozen=True)
class RandomCrop:
    """A window of ``height x width`` in which no category fills more than ``max_category_area``.

    Ten windows are tried, the last one is kept. Ignored pixels do not count.
    Source: Mask2Former's semantic mapper (SINGLE_CATEGORY_MAX_AREA, 1.0 turns the limit off).

    Args:
        height: with ``kind`` "absolute", pixels, at most the image's; otherwise as Detectron2's ``INPUT.CROP.TYPE``:
            "relative" a share of the image, "relative_range" the lowest share, "absolute_range" the least pixels a side.
        width: likewise; with "absolute_range" the most pixels a side.
    """

    height: float
    width: float
    max_category_area: float = 1.0
    kind: str = "absolute"

    def __post_init__(self) -> None:
        check_range("max_category_area", self.max_category_area, 0.0, 1.0)
        check_choice("the kind of crop", self.kind, _CROP_SIZES)

    def __call__(self, plan: Plan, generator: np.random.Generator, areas: Areas = None) -> Plan:
        pick = _CROP_SIZES[self.kind]
        for _ in range(10):
            height, width = pick(plan.resized, self.height, self.width, generator)
            top = int(generator.integers(plan.resized[0] - height + 1))
            left = int(generator.integers(plan.resized[1] - width + 1))
            cropped = plan.crop(top, left, height, width)
            if areas is None or self.max_category_area >= 1 or self.is_varied(areas(cropped)):
                break
        return cropped

    def is_varied(self, counts: np.ndarray) -> bool:
        """Whether pixels of a window, counted by category, are of two categories or more and none has too many."""
        return np.count_nonzero(counts) > 1 and counts.max() < self.max_category_area * counts.sum()


def _absolute(size: Size, height: float, width: float, generator: np.random.Generator) -> Size:
    return min(int(height), size[0]), min(int(width), size[1])


def _relative(size: Size, height: float, width: float, generator: np.random.Generator) -> Size:
    return int(size[0] * height + 0.5), int(size[1] * width + 0.5)


def _relative_range(size: Size, height: float, width: float, generator: np.random.Generator) -> Size:
    shares = generator.random(2)
    return _relative(size, height + shares[0] * (1 - height), width + shares[1] * (1 - width), generator)


def _absolute_range(size: Size, least: float, most: float, generator: np.random.Generator) -> Size:
    height, width = (int(generator.integers(min(side, least), min(side, most) + 1)) for side in size)
    return height, width


_CROP_SIZES = {
    "absolute": _absolute,
    "relative": _relative,
    "relative_range": _relative_range,
    "absolute_range": _absolute_range,
}


@dataclass(frozen=True)
class FixedSizeCrop:
    """A window of at most ``height x width`` pixels, padded to that size; one draw places it along both edges.

    Source: Detectron2's FixedSizeCrop, which Mask2Former's COCO mappers use.
    """

    height: int
    width: int

    def __call__(self, plan: Plan, generator: np.random.Generator, areas: Areas = None) -> Plan:
        place, target = generator.random(), (self.height, self.width)
        top, left = (round(max(side - most, 0) * place) for side, most in zip(plan.resized, target, strict=True))
        height, width = (min(side, most) for side, most in zip(plan.resized, target, strict=True))
        return plan.crop(top, left, height, width).pad(target)
