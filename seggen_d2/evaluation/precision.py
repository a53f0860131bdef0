"""Average precision of one category from ranked detections, as pycocotools accumulates it, for many draws of images at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RECALLS = np.linspace(0.0, 1.0, 101)  # where COCO reads the precision
CELLS = 1 << 22  # draws times detections that are held at once


@dataclass(frozen=True)
class Ranked:
    """The detections of a category in I images, best first, and its objects.

    Attributes:
        images: ``(D,)`` place of the image of each detection.
        found: ``(T, D)`` bool: it matched an object, at each IoU threshold.
        ignored: ``(T, D)`` bool: it counts neither way (matched with a crowd, or of another size).
        objects: ``(I,)`` how many objects each image has that are to be found.
    """

    images: np.ndarray
    found: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray


def ranked(matches: Sequence[dict[str, Any] | None]) -> Ranked | None:
    """The images' matches of one category in one range of areas, as :class:`.MaskAP` keeps them; None where there is nothing.

    Of equal scores the earlier image's comes first, as in pycocotools.
    """
    places, there = [place for place, one in enumerate(matches) if one is not None], [one for one in matches if one is not None]
    if not there:
        return None
    images, owners = (np.repeat(places, [len(one[key]) for one in there]) for key in ("dtScores", "gtIgnore"))
    objects = np.bincount(owners[~np.concatenate([one["gtIgnore"] for one in there])], minlength=len(matches))
    order = np.argsort(-np.concatenate([one["dtScores"] for one in there]), kind="stable")
    found, ignored = (np.concatenate([one[key] for one in there], 1)[:, order] for key in ("dtMatches", "dtIgnore"))
    return Ranked(images[order], found, ignored, objects)


def average_precision(listed: Ranked, draws: np.ndarray, thresholds: slice = slice(None)) -> np.ndarray:
    """``(R,)`` AP, percent, mean over IoU thresholds and 101 recalls; NaN where a draw has nothing to find.

    An image that is drawn twice counts as two of equal content. (Precision is greatest where something is found, so those
    places alone are looked at.)

    Args:
        draws: ``(R, I)`` how often each image was drawn, at least one draw.
        thresholds: the places of IoU thresholds to take.
    """
    size = max(1, CELLS // max(1, len(listed.images)))
    parts = [_average(listed, draws[first : first + size].astype(np.int64), thresholds) for first in range(0, len(draws), size)]
    return np.concatenate(parts)


def _average(listed: Ranked, draws: np.ndarray, thresholds: slice) -> np.ndarray:
    objects, drawn = draws @ listed.objects, draws[:, listed.images]
    taken, known = drawn.cumsum(1), objects > 0
    values = [_precision(drawn, taken, found & ~ignored, ignored, np.maximum(objects, 1))
              for found, ignored in zip(listed.found[thresholds], listed.ignored[thresholds], strict=True)]
    return np.where(known, 100 * np.mean(values, 0), np.nan)


def _precision(drawn: np.ndarray, taken: np.ndarray, right: np.ndarray, ignored: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """``(R,)`` mean over recalls of the greatest precision at that recall or a higher one.

    Args:
        drawn: ``(R, D)`` how often each detection is there; ``taken`` is its sum from the best on.
        right, ignored: ``(D,)``.
        objects: ``(R,)`` to be found.
    """
    places = np.flatnonzero(right)
    hits, counted = drawn[:, places].cumsum(1), taken[:, places]
    if ignored.any():
        void = np.flatnonzero(ignored)
        passed = np.pad(drawn[:, void].cumsum(1), ((0, 0), (1, 0)))
        counted = counted - passed[:, np.searchsorted(void, places)]
    precision = hits / (counted + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    reached = np.searchsorted(RECALLS, hits / objects[:, None], side="right")
    return (best * np.diff(reached, prepend=0)).sum(1) / len(RECALLS)
