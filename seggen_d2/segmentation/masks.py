"""What one image is labelled with, whatever the task: label maps, segments, or objects that may overlap.

All masks are immutable and share one interface, :class:`Mask`. Cutting and shrinking drop segments and objects that
keep no pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seggen_d2.foundation.errors import SegGenError

from .label_maps import resize_labels
from .panoptic import VOID


class Mask(Protocol):
    """A labelled image's mask.

    Attributes:
        task: ``"semantic"``, ``"panoptic"`` or ``"instance"``.
        ignore_id: the label of unlabelled pixels.
    """

    task: str
    ignore_id: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""

    def labels(self) -> np.ndarray:
        """``(H, W)`` uint8 (uint16 past 255): category ids, or the ignore label."""

    def window(self, top: int, left: int, height: int, width: int) -> Mask:
        """The part of ``height`` x ``width`` pixels whose upper left pixel is ``(top, left)``."""

    def resized(self, height: int, width: int) -> Mask:
        """By nearest neighbour, pixel centres aligned."""

    def mirrored(self) -> Mask:
        """Left and right exchanged."""


@dataclass(frozen=True, eq=False)
class SemanticMask:
    """A category a pixel.

    Args:
        ids: ``(H, W)`` category ids, or the ignore label.
        ignore_id: the label of unlabelled pixels.
    """

    ids: np.ndarray
    ignore_id: int = 255
    task = "semantic"

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", _still(self.ids))

    @property
    def shape(self) -> tuple[int, int]:
        return self.ids.shape

    def labels(self) -> np.ndarray:
        return self.ids

    def window(self, top: int, left: int, height: int, width: int) -> SemanticMask:
        return SemanticMask(_cut(self.ids, top, left, height, width), self.ignore_id)

    def resized(self, height: int, width: int) -> SemanticMask:
        return SemanticMask(resize_labels(self.ids, height, width), self.ignore_id)

    def without(self, pixels: np.ndarray) -> SemanticMask:
        """With ``(H, W)`` bool pixels ignored."""
        return SemanticMask(np.where(pixels, self.ids.dtype.type(self.ignore_id), self.ids), self.ignore_id)

    def mirrored(self) -> SemanticMask:
        return SemanticMask(self.ids[:, ::-1], self.ignore_id)


@dataclass(frozen=True)
class Segment:
    """One segment of a :class:`SegmentMask`: its id there, its category, and whether it is a crowd of things."""

    id: int
    category_id: int
    iscrowd: bool = False


@dataclass(frozen=True, eq=False)
class SegmentMask:
    """Segments that do not overlap (panoptic).

    Args:
        ids: ``(H, W)`` integers, the segment of each pixel; 0 is none.
        segments: one for each id; those without a pixel are dropped.
        ignore_id: the label of pixels of no segment.

    Raises:
        SegGenError: ``ids`` holds one that no segment has, or two segments have one id.
    """

    ids: np.ndarray
    segments: tuple[Segment, ...]
    ignore_id: int = 255
    task = "panoptic"

    def __post_init__(self) -> None:
        ids = _still(np.asarray(self.ids, np.int32))
        found, known = set(np.unique(ids).tolist()), [segment.id for segment in self.segments]
        strange = sorted(found - {VOID, *known})
        if strange or len({*known}) < len(known) or VOID in known:
            raise SegGenError("the segments do not fit their ids", expected=f"one for each id but {VOID}",
                              found=f"segments {known[:20]}, ids without one {strange[:20]}")
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "segments", tuple(segment for segment in self.segments if segment.id in found))

    @property
    def shape(self) -> tuple[int, int]:
        return self.ids.shape

    def labels(self) -> np.ndarray:
        """As :class:`Mask` says; crowds are of their category."""
        return self.looked_up([segment.category_id for segment in self.segments], self.ignore_id, _label_type(self))

    def places(self) -> np.ndarray:
        """``(H, W)`` int32: 1 + the place in :attr:`segments` of each pixel's segment; 0 is none."""
        return self.looked_up(range(1, len(self.segments) + 1), 0, np.int32)

    def looked_up(self, values: Sequence[int], nothing: int, dtype: type) -> np.ndarray:
        """``(H, W)``: for each pixel the value of its segment (in their order), ``nothing`` where there is none."""
        ids = np.array([segment.id for segment in self.segments], np.int32)
        order = np.argsort(ids)
        table = np.array([nothing, *np.asarray(values)[order]], dtype)
        return table[np.searchsorted(ids[order], self.ids, side="right") * (self.ids != VOID)]

    def window(self, top: int, left: int, height: int, width: int) -> SegmentMask:
        return SegmentMask(_cut(self.ids, top, left, height, width), self.segments, self.ignore_id)

    def resized(self, height: int, width: int) -> SegmentMask:
        return SegmentMask(resize_labels(self.ids, height, width), self.segments, self.ignore_id)

    def without(self, pixels: np.ndarray) -> SegmentMask:
        """With ``(H, W)`` bool pixels of no segment."""
        return SegmentMask(np.where(pixels, np.int32(VOID), self.ids), self.segments, self.ignore_id)

    def mirrored(self) -> SegmentMask:
        return SegmentMask(self.ids[:, ::-1], self.segments, self.ignore_id)


@dataclass(frozen=True, eq=False)
class InstanceObject:
    """One object: ``(H, W)`` bool, its category, and whether it is a crowd."""

    mask: np.ndarray
    category_id: int
    iscrowd: bool = False


@dataclass(frozen=True, eq=False)
class InstanceMask:
    """Objects, which may overlap.

    Args:
        shape: height and width, pixels.
        objects: each with a mask of that size; those without a pixel are dropped.
        ignore_id: the label of pixels of no object.

    Raises:
        SegGenError: an object has another size.
    """

    shape: tuple[int, int]
    objects: tuple[InstanceObject, ...]
    ignore_id: int = 255
    task = "instance"

    def __post_init__(self) -> None:
        wrong = [thing.mask.shape for thing in self.objects if tuple(thing.mask.shape) != tuple(self.shape)]
        if wrong:
            raise SegGenError("an object has another size than its mask", expected=str(self.shape), found=str(wrong[0]))
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "objects", tuple(thing for thing in self.objects if thing.mask.any()))

    def labels(self) -> np.ndarray:
        """As :class:`Mask` says: the smallest object shows, and crowds are unlabelled."""
        shown = self.flattened()
        values = [self.ignore_id if segment.iscrowd else segment.category_id for segment in shown.segments]
        return shown.looked_up(values, self.ignore_id, _label_type(shown))

    def flattened(self) -> SegmentMask:
        """What shows of the objects where the smallest lies on top; ids are 1 + the place in :attr:`objects`."""
        ids = np.zeros(self.shape, np.int32)
        for place in stacking([thing.mask for thing in self.objects]):
            ids[self.objects[place].mask] = place + 1
        segments = (Segment(n, thing.category_id, thing.iscrowd) for n, thing in enumerate(self.objects, start=1))
        return SegmentMask(ids, tuple(segments), self.ignore_id)

    def window(self, top: int, left: int, height: int, width: int) -> InstanceMask:
        return self._each((height, width), lambda mask: _cut(mask, top, left, height, width))

    def resized(self, height: int, width: int) -> InstanceMask:
        return self._each((height, width), lambda mask: resize_labels(mask, height, width))

    def mirrored(self) -> InstanceMask:
        return self._each(self.shape, lambda mask: mask[:, ::-1])

    def _each(self, shape: tuple[int, int], change) -> InstanceMask:
        things = (InstanceObject(change(thing.mask), thing.category_id, thing.iscrowd) for thing in self.objects)
        return InstanceMask(shape, tuple(things), self.ignore_id)


def stacking(masks: Sequence[np.ndarray]) -> list[int]:
    """The order to draw overlapping objects in: largest first, so that the smallest shows; equals keep their order."""
    return sorted(range(len(masks)), key=lambda place: -int(np.count_nonzero(masks[place])))


def _label_type(mask: SegmentMask) -> type:
    return np.uint8 if max([mask.ignore_id, *(s.category_id for s in mask.segments)]) <= 255 else np.uint16


def _still(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to."""
    view = np.asarray(array).view()
    view.setflags(write=False)
    return view


def _cut(array: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    if not (0 <= top <= top + height <= array.shape[0] and 0 <= left <= left + width <= array.shape[1] and height > 0 < width):
        raise SegGenError("a window reaches out of its mask", expected=f"inside {array.shape[0]} x {array.shape[1]} (H x W)",
                          found=f"{height} x {width} at row {top}, column {left}")
    return array[top : top + height, left : left + width]
