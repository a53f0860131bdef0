"""Random truth and predictions with the hard cases: nothing at all, crowds, void, categories that are absent, one pixel."""

from __future__ import annotations

import numpy as np

from seggen_d2.segmentation import Categories, Category
from seggen_d2.segmentation.masks import Segment, SegmentMask

CATEGORIES = Categories(tuple(Category(name, name[0] == "t") for name in ("t0", "t1", "t2", "t absent", "s0", "s1", "s2", "s absent")))
PRESENT = [place for place, name in enumerate(CATEGORIES.names) if "absent" not in name]
SIZES = ((37, 53), (64, 48), (5, 90), (1, 1), (48, 64))


def truth_segments(rng: np.random.Generator, shape: tuple[int, int]) -> SegmentMask:
    """Boxes over each other: some void, several crowds of a category, single pixels; one image in six is empty."""
    ids = np.zeros(shape, np.int32)
    kinds = []
    for number in range(1, 1 + rng.integers(0, 12) * int(rng.random() > 1 / 6)):
        top, left = (int(rng.integers(side)) for side in shape)
        height, width = (1, 1) if rng.random() < 0.2 else (int(rng.integers(1, side + 1)) for side in shape)
        ids[top : top + height, left : left + width] = number * 7
        category = int(rng.choice(PRESENT))
        kinds.append(Segment(number * 7, category, bool(CATEGORIES.items[category].isthing and rng.random() < 0.3)))
    return SegmentMask(ids, tuple(kinds))


def predicted_segments(rng: np.random.Generator, truth: SegmentMask) -> SegmentMask:
    """The truth, shifted a little, with segments lost, renamed and cut in two; one in eight predicts nothing."""
    if rng.random() < 1 / 8:
        return SegmentMask(np.zeros(truth.shape, np.int32), ())
    ids = np.roll(truth.ids, int(rng.integers(-2, 3)), axis=int(rng.integers(2))).copy()
    ids[rng.random(truth.shape) < 0.02] = 0
    kinds = []
    for segment in truth.segments:
        if rng.random() < 0.15:
            ids[ids == segment.id] = 0
        if rng.random() < 0.3:
            half = (ids == segment.id) & (np.arange(truth.shape[1]) < rng.integers(truth.shape[1] + 1))
            ids[half] = segment.id + 1
            kinds.append(Segment(segment.id + 1, segment.category_id))
        kinds.append(Segment(segment.id, int(rng.choice(PRESENT)) if rng.random() < 0.2 else segment.category_id))
    if rng.random() < 0.5:  # somewhere else entirely, and of a category that the truth never has
        ids[: 1 + truth.shape[0] // 4] = 999
        kinds.append(Segment(999, int(rng.choice([3, *PRESENT]))))
    return SegmentMask(ids, tuple(kinds))


def segment_pairs(seed: int, count: int) -> list[tuple[SegmentMask, SegmentMask]]:
    """``(predicted, truth)`` pairs."""
    rng = np.random.default_rng(seed)
    truths = [truth_segments(rng, SIZES[int(rng.integers(len(SIZES)))]) for _ in range(count)]
    return [(predicted_segments(rng, truth), truth) for truth in truths]


def label_pairs(seed: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """``(predicted, truth)`` label maps: 255 is void in the truth, and a category stands everywhere in the prediction."""
    rng = np.random.default_rng(seed)
    pairs = []
    for predicted, truth in segment_pairs(seed, count):
        labels = truth.labels()
        guess = np.where(predicted.labels() == 255, rng.choice([3, *PRESENT], labels.shape), predicted.labels())
        pairs.append((guess.astype(np.uint8), labels))
    return pairs


def scored_objects(seed: int, count: int) -> list[tuple[tuple[int, int], list[dict], list[dict]]]:
    """``(shape, predicted, truth)``: objects that overlap, as ``{mask, category_id, score}`` and ``{mask, category_id, iscrowd}``."""
    rng, made = np.random.default_rng(seed), []
    for predicted, truth in segment_pairs(seed, count):
        theirs = [{"mask": truth.ids == s.id, "category_id": s.category_id, "iscrowd": int(s.iscrowd)} for s in truth.segments]
        ours = [{"mask": predicted.ids == s.id, "category_id": s.category_id, "score": _score(rng)} for s in predicted.segments]
        ours += [{**rng.choice(ours), "score": _score(rng)} for _ in range(int(rng.integers(3))) if ours]  # found twice
        things = [[o for o in side if CATEGORIES.items[o["category_id"]].isthing] for side in (ours, theirs)]
        made.append((truth.shape, *things))
    return made


def _score(rng: np.random.Generator) -> float:
    return float(rng.choice([0.5, 0.9, rng.random()]))  # equal scores, too
