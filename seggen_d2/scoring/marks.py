"""Which pixels and segments of a mask are doubted, and the mask without them, or with what the segmenter sees there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import InstanceMask, InstanceObject, Mask, Segment, SegmentMask, SemanticMask
from seggen_d2.segmentation.panoptic import VOID

from .noise import Regions, Seen, regions_of


@dataclass(frozen=True, eq=False)
class Marked:
    """What is doubted of one mask.

    Attributes:
        sums: ``(K, 3)`` of each category: pixels, the sum of their losses, pixels that are marked.
        segments: ``(R, 3)``: category, pixels and mean loss of each segment.
        corrected: by reading (``ignore``, ``relabel``) the mask that it gives; empty where nothing is marked.
    """

    sums: np.ndarray
    segments: np.ndarray
    corrected: dict[str, Mask]


def mark(mask: Mask, seen: Seen, bars: np.ndarray, how: str, categories: Categories) -> Marked:
    """Doubt what the segmenter does not believe.

    Args:
        mask: of the bank.
        seen: what the segmenter sees in its image.
        bars: ``(K,)`` the loss above which each category's pixels and segments are doubted.
        how: a key of :data:`MARKS`; objects are doubted whole, as in ``segments``.
        categories: of the mask.
    """
    if isinstance(mask, InstanceMask):
        return _mark_objects(mask, seen, bars, categories)
    regions, labels = regions_of(mask), mask.labels()
    losses = seen.losses(labels, mask.ignore_id)
    means = regions.means(losses)
    doubted, new = MARKS[how](regions, losses, means, seen, bars)
    sums = np.zeros((len(categories), 3))
    np.add.at(sums, regions.categories, np.column_stack([regions.sizes, regions.sizes * means, regions.sizes * regions.means(doubted)]))
    segments = np.column_stack([regions.categories, regions.sizes, means])
    return Marked(sums, segments, _corrected(mask, doubted, new, categories) if doubted.any() else {})


Marking = tuple[np.ndarray, np.ndarray]  # (H, W) bool: doubted; (H, W): what the segmenter sees there


def _segments(regions: Regions, losses: np.ndarray, means: np.ndarray, seen: Seen, bars: np.ndarray) -> Marking:
    """Whole segments whose mean loss is above the bar, and in which the segmenter sees another category."""
    doubted, best = np.zeros(len(means), bool), regions.categories.copy()
    for place in np.flatnonzero(means > bars[regions.categories]):
        best[place] = seen.best_in(regions.numbers == place + 1)
        doubted[place] = best[place] != regions.categories[place]
    return regions.spread(doubted, False), regions.spread(best)


def _above(regions: Regions, losses: np.ndarray, means: np.ndarray, seen: Seen, bars: np.ndarray) -> Marking:
    """Pixels whose loss is above the bar, whatever the segmenter sees, as FreeMask has it."""
    return losses > regions.spread(bars[regions.categories], np.inf), seen.best


def _pixels(regions: Regions, losses: np.ndarray, means: np.ndarray, seen: Seen, bars: np.ndarray) -> Marking:
    """Pixels whose loss is above the bar, and in which the segmenter sees another category."""
    doubted, best = _above(regions, losses, means, seen, bars)
    return doubted & (best != regions.spread(regions.categories, -1)), best


MARKS: dict[str, Callable[[Regions, np.ndarray, np.ndarray, Seen, np.ndarray], Marking]] = {"segments": _segments, "pixels": _pixels, "freemask": _above}


def _corrected(mask: SemanticMask | SegmentMask, doubted: np.ndarray, new: np.ndarray, categories: Categories) -> dict[str, Mask]:
    if isinstance(mask, SemanticMask):
        ids = mask.ids.astype(np.uint16)  # an 8-bit map has no room for every ignore label, nor for all classes
        made = {"ignore": mask.ignore_id, "relabel": new}
        return {reading: replace(mask, ids=np.where(doubted, value, ids).astype(np.uint16)) for reading, value in made.items()}
    left = replace(mask, ids=np.where(doubted, VOID, mask.ids))
    return {"ignore": left, "relabel": _relabelled(mask, doubted, new, categories)}


def _relabelled(mask: SegmentMask, doubted: np.ndarray, new: np.ndarray, categories: Categories) -> SegmentMask:
    """Doubted things that are another thing as a whole keep their shape; what is stuff joins that stuff's segment.

    Other pixels that look like a thing are of no segment: which object they belong to is unknown.
    """
    ids, segments, things = mask.ids.copy(), [], [item.isthing for item in categories.items]
    for segment in mask.segments:
        own = mask.ids == segment.id
        category = _another_thing(segment, doubted[own], new[own], things)
        segments.append(replace(segment, category_id=category))
        ids[own & doubted] = segment.id if category != segment.category_id else VOID
    homes = {segment.category_id: segment.id for segment in segments if not segment.iscrowd and not things[segment.category_id]}
    for category in (category for category in np.unique(new[doubted]).tolist() if not things[category]):
        if category not in homes:
            homes[category] = max(segment.id for segment in segments) + 1
            segments.append(Segment(homes[category], category))
        ids[doubted & (new == category)] = homes[category]
    return replace(mask, ids=ids, segments=tuple(segments))


def _another_thing(segment: Segment, doubted: np.ndarray, new: np.ndarray, things: list[bool]) -> int:
    """The category of the thing that a whole segment is taken for, or its own."""
    found = np.unique(new) if doubted.all() and things[segment.category_id] else []
    return int(found[0]) if len(found) == 1 and things[found[0]] else segment.category_id


def _mark_objects(mask: InstanceMask, seen: Seen, bars: np.ndarray, categories: Categories) -> Marked:
    sums, rows = np.zeros((len(categories), 3)), []
    kept: dict[str, list[InstanceObject]] = {"ignore": [], "relabel": []}
    for thing in mask.objects:
        best = thing.category_id
        if not thing.iscrowd:
            size, loss = np.count_nonzero(thing.mask), seen.loss_in(thing.mask, thing.category_id)
            best = seen.best_in(thing.mask) if loss > bars[thing.category_id] else best
            sums[thing.category_id] += size, size * loss, size * (best != thing.category_id)
            rows.append((thing.category_id, size, loss))
        kept["relabel"].append(replace(thing, category_id=best))
        if best == thing.category_id:
            kept["ignore"].append(thing)
    corrected = {reading: replace(mask, objects=tuple(things)) for reading, things in kept.items()} if sums[:, 2].any() else {}
    return Marked(sums, np.array(rows, float).reshape(-1, 3), corrected)
