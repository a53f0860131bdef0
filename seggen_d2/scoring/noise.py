"""How far a segmenter is from believing a mask: the loss of each pixel and of each segment.

Shapes: K categories, (H, W) an image's size, R segments of one mask.
Source: Yang et al., "FreeMask", arXiv 2310.15160, section 3.3, which compares pixels with the mean loss of their class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import InstanceMask, Mask, SegmentMask, SemanticMask

FLOOR = 1e-4  # the least probability that a loss tells from 0, so that no pixel outweighs a thousand others


@dataclass(frozen=True, eq=False)
class Regions:
    """The segments of a mask, which do not overlap.

    Attributes:
        numbers: ``(H, W)`` int32; 0 is none, else 1 + the segment's place.
        categories: ``(R,)`` int64.
        sizes: ``(R,)`` pixels.
    """

    numbers: np.ndarray
    categories: np.ndarray

    @cached_property
    def sizes(self) -> np.ndarray:
        return np.bincount(self.numbers.ravel(), minlength=len(self.categories) + 1)[1:]

    def means(self, values: np.ndarray) -> np.ndarray:
        """``(R,)`` means of ``(H, W)`` values over each segment."""
        return np.bincount(self.numbers.ravel(), values.ravel(), len(self.categories) + 1)[1:] / np.maximum(self.sizes, 1)

    def spread(self, values: np.ndarray, nothing: float | bool = 0) -> np.ndarray:
        """``(H, W)``: each pixel with its segment's of ``(R,)`` values."""
        return np.concatenate([[nothing], values]).astype(np.asarray(values).dtype)[self.numbers]


def regions_of(mask: SemanticMask | SegmentMask) -> Regions:
    """Panoptic: the segments that are no crowd. Semantic: connected pixels (8 neighbours) of one category."""
    if isinstance(mask, SegmentMask):
        kept = [segment for segment in mask.segments if not segment.iscrowd]
        places = iter(range(1, len(kept) + 1))
        values = [0 if segment.iscrowd else next(places) for segment in mask.segments]
        return Regions(mask.looked_up(values, 0, np.int32), np.array([segment.category_id for segment in kept], np.int64))
    return _connected(mask)


def _connected(mask: SemanticMask) -> Regions:
    import cv2

    numbers, categories = np.zeros(mask.shape, np.int32), []
    for category in (np.unique(mask.ids[mask.ids != mask.ignore_id])).tolist():
        count, found = cv2.connectedComponents((mask.ids == category).astype(np.uint8), connectivity=8)
        numbers += np.where(found > 0, found + len(categories), 0).astype(np.int32)
        categories += [category] * (count - 1)
    return Regions(numbers, np.array(categories, np.int64))


class Seen:
    """What a segmenter sees in an image.

    Args:
        scores: (K, H, W) semantic scores, 0 or more.
        whole: whether each pixel is of some category, so that scores are shares of their sum. Else, with things alone, a pixel may
            be of none: a score of 1 or less is a probability as it is.
    """

    def __init__(self, scores: Tensor, whole: bool):
        total = scores.float().sum(0, keepdim=True)
        self.shares = scores.float() / total.clamp(min=torch.finfo(torch.float32).tiny if whole else 1.0)

    @cached_property
    def best(self) -> np.ndarray:
        """(H, W) the most probable category of each pixel."""
        return self.shares.argmax(0).cpu().numpy()

    def losses(self, labels: np.ndarray, ignore_id: int) -> np.ndarray:
        """(H, W) float32: minus the logarithm of the probability of each label; 0 where there is none."""
        labelled = labels != ignore_id
        ids = torch.from_numpy(np.where(labelled, labels, 0).astype(np.int64)).to(self.shares.device)
        chances = self.shares.gather(0, ids[None])[0].clamp(FLOOR, 1)
        return np.where(labelled, -chances.log().cpu().numpy(), np.float32(0))

    def loss_in(self, pixels: np.ndarray, category: int) -> float:
        """The mean loss of ``(H, W)`` bool pixels, were they of ``category``."""
        chances = self.shares[category][torch.from_numpy(pixels).to(self.shares.device)]
        return float(-chances.clamp(FLOOR, 1).log().mean())

    def best_in(self, pixels: np.ndarray) -> int:
        """The category of the highest mean probability over ``(H, W)`` bool pixels."""
        return int(self.shares[:, torch.from_numpy(pixels).to(self.shares.device)].mean(1).argmax())


def class_losses(mask: Mask, seen: Seen, categories: Categories) -> np.ndarray:
    """``(K, 2)``: pixels of each category, and the sum of their losses. Crowds are left out; objects that overlap count each."""
    found = np.zeros((len(categories), 2))
    if isinstance(mask, InstanceMask):
        for thing in (thing for thing in mask.objects if not thing.iscrowd):
            size = np.count_nonzero(thing.mask)
            found[thing.category_id] += size, size * seen.loss_in(thing.mask, thing.category_id)
        return found
    regions = regions_of(mask)
    losses = seen.losses(mask.labels(), mask.ignore_id)
    np.add.at(found, regions.categories, np.column_stack([regions.sizes, regions.sizes * regions.means(losses)]))
    return found


def mean_losses(sums: np.ndarray) -> np.ndarray:
    """``(K,)`` mean loss a pixel of each category, of ``(K, 2)`` :func:`class_losses`; of one without a pixel that of all."""
    pixels, losses = sums.T
    overall = losses.sum() / max(pixels.sum(), 1)
    return np.where(pixels > 0, losses / np.maximum(pixels, 1), overall)


def ratio_of(pixels: Sequence[float] | np.ndarray, losses: Sequence[float] | np.ndarray, means: np.ndarray) -> float:
    """A sample's loss against that of as many pixels of its categories at their means; 1 where it has no pixel.

    Args:
        pixels, losses, means: of the categories that it holds.
    """
    usual = float(np.dot(pixels, means))
    return float(np.sum(losses)) / usual if usual > 0 else 1.0
