"""Panoptic quality of one set of segments against another (Kirillov et al. 2019, arXiv 1801.00868, equation 1).

Conventions of cocodataset/panopticapi: segments of one category match where their IoU, taken without the prediction's
pixels on what the truth leaves unlabelled, is over one half; crowds match nothing; an unmatched prediction counts not
where more than half of it lies on unlabelled pixels and the crowd of its category (of several, the last one, as there).
Counts add up over images. Areas are counted, where panopticapi believes the truth's JSON.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from seggen_d2.foundation.errors import SegGenError

from .categories import Categories
from .masks import InstanceMask, SegmentMask
from .panoptic import VOID

MATCH = 0.5  # IoU: no segment can match two over it
STEP = 2.0**-26  # of the coarse part of an IoU: sums of coarse and of fine parts are exact, so that the order of images moves no digit


class PanopticQuality:
    """Counts matches; figures are in percent.

    Args:
        categories: N categories.

    Attributes:
        parts: ``(N, 2)`` sums of the matches' IoU: the coarse part of each, in whole steps of 2^-26, and the fine rest.
        counts: ``(N, 3)`` matches, unmatched predictions, unmatched segments of the truth.
    """

    def __init__(self, categories: Categories):
        self.categories = categories
        self.parts = np.zeros((len(categories), 2))
        self.counts = np.zeros((len(categories), 3), np.int64)

    def update(
        self, predicted: SegmentMask | InstanceMask, truth: SegmentMask | InstanceMask, where: str = "the prediction"
    ) -> list[tuple[int, int]]:
        """Add an image; of overlapping objects the smallest shows. ``where`` names the prediction in errors.

        Returns:
            The places of matched segments: ``(place in predicted, place in truth)``.

        Raises:
            SegGenError: the masks differ in size.
        """
        predicted, truth = (m.flattened() if isinstance(m, InstanceMask) else m for m in (predicted, truth))
        if predicted.shape != truth.shape:
            raise SegGenError(f"the segments of {where} and their truth differ in size", expected=str(truth.shape), found=str(predicted.shape),
                              remedy="predict at the size of the image")
        both, ours, theirs = _overlaps(predicted, truth)
        union = both.sum(1)[:, None] + both.sum(0) - both - both[:, :1]
        iou = both / np.maximum(union, 1)
        same = ours[:, None] == theirs
        crowd = np.array([False, *(s.iscrowd for s in truth.segments)])
        matches = np.argwhere((iou > MATCH) & same & ~crowd)
        matches = matches[(matches > 0).all(1)]
        excused = (both * (same & _last_crowds(theirs, crowd))).sum(1) + both[:, 0] > MATCH * both.sum(1)
        found = iou[tuple(matches.T)]
        coarse = np.round(found / STEP) * STEP
        np.add.at(self.parts, ours[matches[:, 0]], np.stack([coarse, found - coarse], 1))
        self._count(0, ours[matches[:, 0]])
        self._count(1, np.delete(ours, [0, *matches[:, 0], *np.flatnonzero(excused)]))
        self._count(2, np.delete(theirs, [0, *matches[:, 1], *np.flatnonzero(crowd)]))
        return [(int(a) - 1, int(b) - 1) for a, b in matches]

    def miss(self, categories: Iterable[int]) -> None:
        """Add segments of the truth that nothing can match, since they have no pixel."""
        self._count(2, np.fromiter(categories, np.int64))

    def _count(self, column: int, categories: np.ndarray) -> None:
        np.add.at(self.counts[:, column], categories, 1)

    def __add__(self, other: PanopticQuality) -> PanopticQuality:
        """The counts of both: those of the images of both."""
        total = PanopticQuality(self.categories)
        total.parts, total.counts = self.parts + other.parts, self.counts + other.counts
        return total

    @property
    def iou(self) -> np.ndarray:
        """``(N,)`` sums of the matches' IoU."""
        return self.parts.sum(1)

    def sums(self) -> np.ndarray:
        """``(N, 5)`` parts and counts of each category; figures are functions of their sums over images."""
        return np.concatenate([self.parts, self.counts], 1)

    def qualities(self) -> np.ndarray:
        """``(N, 3)`` PQ, SQ and RQ of each category, percent; see :func:`qualities_of`."""
        return qualities_of(self.sums())

    def per_class(self) -> dict[str, float]:
        """PQ of each category by name, percent; NaN where neither side holds one."""
        return dict(zip(self.categories.names, self.qualities()[:, 0].tolist(), strict=True))

    def pq(self) -> float:
        """The mean over the categories that either side holds, percent; NaN without any."""
        present = [value for value in self.per_class().values() if not np.isnan(value)]
        return float(np.mean(present)) if present else float("nan")


def qualities_of(sums: np.ndarray) -> np.ndarray:
    """``(..., N, 3)`` PQ, SQ and RQ, percent, of ``(..., N, 5)`` :meth:`PanopticQuality.sums`.

    NaN where neither side holds the category. SQ without a match is 0.
    """
    iou, matches = sums[..., 0] + sums[..., 1], sums[..., 2]
    weights = matches + 0.5 * (sums[..., 3] + sums[..., 4])
    parts = np.stack([iou / np.maximum(weights, 0.5), iou / np.maximum(matches, 1), matches / np.maximum(weights, 0.5)], -1)
    return np.where(weights[..., None] > 0, 100 * parts, np.nan)


def _overlaps(predicted: SegmentMask, truth: SegmentMask) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(P + 1, T + 1)`` pixels that segments share, and each side's categories; 0 stands for no segment, category -1."""
    sides = len(predicted.segments) + 1, len(truth.segments) + 1
    flat = predicted.ids.ravel(), truth.ids.ravel()
    starts = np.flatnonzero(np.append(True, (flat[0][1:] != flat[0][:-1]) | (flat[1][1:] != flat[1][:-1])))  # of runs: pixels are many
    pairs = _places(predicted, flat[0][starts]) * sides[1] + _places(truth, flat[1][starts])
    lengths = np.diff(starts, append=flat[0].size)
    both = np.bincount(pairs, lengths, minlength=sides[0] * sides[1]).astype(np.int64).reshape(sides)
    ours, theirs = (np.array([-1, *(s.category_id for s in mask.segments)]) for mask in (predicted, truth))
    return both, ours, theirs


def _places(mask: SegmentMask, ids: np.ndarray) -> np.ndarray:
    """1 + the place in ``mask.segments`` of each of ``ids``; 0 for none."""
    known = np.array([VOID, *(segment.id for segment in mask.segments)])
    order = np.argsort(known)
    return order[np.searchsorted(known[order], ids)]


def _last_crowds(categories: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """``(T + 1,)`` bool: of each category's crowds the last."""
    last = {int(category): place for place, category in enumerate(categories) if crowd[place]}
    return np.isin(np.arange(len(crowd)), [*last.values()])
