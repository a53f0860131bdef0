"""Augmentations: small callables ``(plan, generator, areas) -> plan`` that draw and touch no pixel.

``areas(plan)`` counts the pixels of each category in a plan's window, ignored ones left out; None where there are no
labels. Every draw comes from the generator handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range

from .colours import Hue, Linear, Operation, Saturation
from .crops import FixedSizeCrop, RandomCrop
from .plan import Areas, Augmentation, Plan, Size


@dataclass(frozen=True)
class ResizeShortestEdge:
    """Scale so that the shortest edge is one of ``lengths`` (pixels), the longest at most ``max_size``.

    Args:
        lengths: to choose from; with ``between`` the lowest and the highest, any whole number between them.
    """

    lengths: tuple[int, ...]
    max_size: int = 2**31
    between: bool = False

    def __post_init__(self) -> None:
        fits = self.lengths and min(self.lengths) >= 1 and (not self.between or len(self.lengths) == 2)
        if not fits:
            raise SegGenError(
                "the shortest edge has no length to choose from",
                expected="lengths in pixels, 1 or more" + (": the lowest and the highest" if self.between else ""),
                found=repr(self.lengths),
            )

    def __call__(self, plan: Plan, generator: np.random.Generator, areas: Areas = None) -> Plan:
        if self.between:
            return plan.resize(self.size(plan.source, int(generator.integers(self.lengths[0], self.lengths[1] + 1))))
        return plan.resize(self.size(plan.source, self.lengths[generator.integers(len(self.lengths))]))

    def size(self, source: Size, length: int) -> Size:
        """Of ``source`` with the shortest edge at ``length``; halves are rounded up, as Detectron2 does."""
        height, width = source
        scale = length / min(height, width)
        sides = (length * 1.0, scale * width) if height < width else (scale * height, length * 1.0)
        if max(sides) > self.max_size:
            scale = self.max_size / max(sides)
            sides = sides[0] * scale, sides[1] * scale
        return max(1, int(sides[0] + 0.5)), max(1, int(sides[1] + 0.5))


@dataclass(frozen=True)
class ResizeScale:
    """Scale so that the image fits a target of ``height x width`` pixels times a factor from ``[low, high]``.

    Source: "large scale jittering", Ghiasi et al., arXiv 2012.07177, as Detectron2's ResizeScale.
    """

    height: int
    width: int
    low: float = 0.1
    high: float = 2.0

    def __post_init__(self) -> None:
        check_range("low", self.low, 1e-6, self.high)

    def __call__(self, plan: Plan, generator: np.random.Generator, areas: Areas = None) -> Plan:
        return plan.resize(self.size(plan.source, generator.uniform(self.low, self.high)))

    def size(self, source: Size, factor: float) -> Size:
        """Of ``source`` inside the target times ``factor``, its shape kept; halves are rounded to even."""
        scale = min(self.height * factor / source[0], self.width * factor / source[1])
        return max(1, round(source[0] * scale)), max(1, round(source[1] * scale))


@dataclass(frozen=True)
class ColorJitter:
    """SSD's photometric distortion: brightness, contrast (before or after the rest), saturation, hue; each at 50%.

    Source: Liu et al., "SSD", arXiv 1512.02325, section 2.2, in the form of Mask2Former's ColorAugSSDTransform.
    """

    brightness: float = 32.0  # added, in [-32, 32] of 255
    contrast: float = 0.5  # factor in [1 - 0.5, 1 + 0.5]
    saturation: float = 0.5
    hue: int = 18  # shift in -18..18 of OpenCV's 180

    def __call__(self, plan: Plan, generator: np.random.Generator, areas: Areas = None) -> Plan:
        used, places = generator.random(5) < 0.5, 2 * generator.random(3) - 1
        shift = int(generator.integers(-self.hue, self.hue + 1))
        contrast: list[Operation] = [Linear(1 + places[1] * self.contrast)] * bool(used[1] and self.contrast)
        steps: list[Operation] = [Linear(1.0, places[0] * self.brightness)] * bool(used[0] and self.brightness)
        steps += contrast if used[4] else []
        steps += [Saturation(1 + places[2] * self.saturation)] * bool(used[2] and self.saturation)
        steps += [Hue(shift)] * bool(used[3] and self.hue)
        steps += [] if used[4] else contrast
        return replace(plan, colours=plan.colours + tuple(steps))


@dataclass(frozen=True)
class HorizontalFlip:
    """Left and right exchanged with probability ``probability``. Two flips are no flip."""

    probability: float = 0.5
    axis = 1

    def __call__(self, plan: Plan, generator: np.random.Generator, areas: Areas = None) -> Plan:
        return plan.flipped(self.axis) if generator.random() < self.probability else plan


@dataclass(frozen=True)
class VerticalFlip(HorizontalFlip):
    """Top and bottom exchanged with probability ``probability``."""

    axis = 0


@dataclass(frozen=True)
class FixedSizePad:
    """Pad on the right and below to at least ``height x width`` pixels: grey (128) in the image, ignore in the labels."""

    height: int
    width: int

    def __call__(self, plan: Plan, generator: np.random.Generator, areas: Areas = None) -> Plan:
        return plan.pad((self.height, self.width))


FLIPS = {"none": (), "horizontal": (HorizontalFlip(),), "vertical": (VerticalFlip(),)}


def training_augmentations(
    lengths: Sequence[int],
    max_size: int,
    *,
    crop: tuple[int, int] | None,
    color_jitter: bool,
    flip: bool,
    max_category_area: float = 1.0,
) -> list[Augmentation]:
    """Mask2Former's order for semantic data: resize, crop, colour jitter, flip, pad to the crop's (height, width)."""
    steps: list[Augmentation] = [ResizeShortestEdge(tuple(lengths), max_size)]
    steps += [RandomCrop(*crop, max_category_area)] if crop else []
    steps += [ColorJitter()] if color_jitter else []
    steps += [HorizontalFlip()] if flip else []
    return steps + ([FixedSizePad(*crop)] if crop else [])


def large_scale_jitter(size: int, low: float = 0.1, high: float = 2.0, flip: str = "horizontal") -> list[Augmentation]:
    """Mask2Former's order for COCO: flip (a key of ``FLIPS``), resize by a wide range of factors, crop or pad to ``size``."""
    check_choice("the flip", flip, FLIPS)
    return [*FLIPS[flip], ResizeScale(size, size, low, high), FixedSizeCrop(size, size)]


def test_augmentations(length: int, max_size: int) -> list[Augmentation]:
    """Only the resize; ``length`` 0 keeps the size."""
    return [ResizeShortestEdge((length,), max_size)] if length else []


test_augmentations.__test__ = False  # its name is the field's, not pytest's
