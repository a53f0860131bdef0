"""Outlined segments after blur and noise, panoptic quality, and what the benchmark of edges prints."""

import numpy as np
import pytest

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, Category, bench_edges, default_palette
from seggen_d2.segmentation.bench_edges import DRAWN, blurred, drawn_mask
from seggen_d2.segmentation.mask_codec import mask_codec
from seggen_d2.segmentation.masks import InstanceMask, InstanceObject, Segment, SegmentMask
from seggen_d2.segmentation.panoptic_quality import PanopticQuality

ITEMS = Categories((Category("cat", True), Category("dog", True), Category("sky")))


def boxes(*of: tuple[int, int, int, bool], height: int = 4, width: int = 40) -> SegmentMask:
    """Segments as columns ``left, right, category, crowd``; ids from 1."""
    ids = np.zeros((height, width), np.int32)
    for number, (left, right, _, _) in enumerate(of, start=1):
        ids[:, left:right] = number
    return SegmentMask(ids, tuple(Segment(n, category, crowd) for n, (_, _, category, crowd) in enumerate(of, start=1)))


def quality(predicted: SegmentMask, truth: SegmentMask) -> PanopticQuality:
    counted = PanopticQuality(ITEMS)
    counted.update(predicted, truth)
    return counted


def test_what_equals_the_truth_has_quality_100():
    mask = boxes((0, 10, 0, False), (10, 20, 0, False), (20, 40, 2, False))
    found = PanopticQuality(ITEMS)
    assert found.update(mask, mask) == [(0, 0), (1, 1), (2, 2)]
    assert found.pq() == 100 and found.per_class()["cat"] == 100 and np.isnan(found.per_class()["dog"])


def test_quality_is_the_sum_of_iou_over_matches_and_half_of_the_others():
    truth = boxes((0, 10, 0, False), (10, 20, 0, False), (20, 30, 1, False), (30, 40, 2, False))
    ours = boxes((0, 8, 0, False), (8, 20, 0, False), (20, 30, 2, False), (30, 40, 2, False))  # a dog taken for sky
    found = quality(ours, truth)
    assert found.counts.tolist() == [[2, 0, 0], [0, 0, 1], [1, 1, 0]]
    assert found.per_class() == pytest.approx({"cat": 100 * (0.8 + 10 / 12) / 2, "dog": 0, "sky": 100 / 1.5})
    assert found.pq() == pytest.approx(np.mean(list(found.per_class().values())))


def test_half_an_overlap_is_no_match():
    assert quality(boxes((0, 10, 0, False)), boxes((0, 20, 0, False))).counts[0].tolist() == [0, 1, 1]
    assert quality(boxes((0, 11, 0, False)), boxes((0, 20, 0, False))).counts[0].tolist() == [1, 0, 0]


def test_unlabelled_pixels_and_crowds_count_against_nobody():
    truth = boxes((0, 10, 0, False), (10, 20, 0, True))
    assert quality(boxes((15, 30, 1, False)), truth).counts.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]  # two thirds over none
    assert quality(boxes((5, 20, 0, False)), truth).counts[0].tolist() == [0, 0, 1]  # of the crowd
    assert quality(boxes((5, 20, 1, False)), truth).counts[1].tolist() == [0, 1, 0]  # the crowd is of another category
    assert quality(boxes((0, 10, 0, False), (20, 40, 1, False)), truth).per_class()["cat"] == 100
    wide = boxes((0, 20, 0, False))
    assert quality(wide, boxes((0, 10, 0, False))).iou[0] == 1  # pixels that the truth leaves open are no part of the union


def test_counts_add_up_over_images_and_sizes_must_agree():
    mask = boxes((0, 10, 0, False))
    found = quality(mask, mask)
    found.update(boxes((20, 30, 0, False)), boxes((0, 10, 0, False), (12, 38, 1, False)))
    assert found.counts.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]
    with pytest.raises(SegGenError, match="differ in size"):
        found.update(boxes((0, 1, 0, False), width=39), mask)


def test_objects_count_by_what_shows():
    small, large = (np.zeros((4, 40), bool) for _ in range(2))
    small[:, 5:10], large[:, :20] = True, True
    mask = InstanceMask((4, 40), (InstanceObject(large, 1), InstanceObject(small, 0)))
    assert quality(mask, mask).pq() == 100 and quality(mask.flattened(), mask).pq() == 100


@pytest.mark.parametrize("edges", ["all", "touching"])
def test_blur_and_noise_leave_segments_where_they_were(edges):
    """Blur alone mixes colours along borders, many of which are other categories' own."""
    mask = drawn_mask(1, side=384)
    codec = mask_codec("panoptic", default_palette(len(DRAWN)), DRAWN, edges=edges)
    rng, found, clean = np.random.default_rng(0), PanopticQuality(DRAWN), PanopticQuality(DRAWN)
    rgb = codec.encode(mask)
    decoded = codec.decode(blurred(rgb, 1.0, 4.0, rng))
    clean.update(codec.decode(rgb).mask, mask)
    matches = found.update(decoded.mask, mask)
    assert decoded.specks > 100 and 0 < decoded.dropped < 0.1
    assert len(matches) >= 0.75 * clean.counts[:, 0].sum() and found.pq() > 0.7 * clean.pq()
    bare = np.count_nonzero(codec.colors.nearest(blurred(rgb, 1.0, 4.0, rng)) != codec.colors.nearest(rgb))
    assert bare > 0.002 * mask.ids.size  # else there was nothing to mend


def test_thin_segments_of_exact_colour_are_kept():
    ids = np.ones((80, 80), np.int32)
    ids[:, 30:33], ids[40:42] = 2, 3
    mask = SegmentMask(ids, (Segment(1, 2), Segment(2, 0), Segment(3, 1)))
    codec = mask_codec("panoptic", default_palette(3), ITEMS, edge_width=1)
    assert sorted(s.category_id for s in codec.decode(codec.encode(mask)).mask.segments) == [0, 0, 1, 2]  # the pole is cut in two


def test_segments_are_numbered_by_their_first_pixels():
    codec = mask_codec("panoptic", default_palette(len(DRAWN)), DRAWN)
    ids = codec.decode(codec.encode(drawn_mask(2, side=256))).mask.ids
    numbers, first = np.unique(ids, return_index=True)
    assert (np.diff(first[numbers > 0]) > 0).all() and numbers.max() == np.count_nonzero(numbers)


def test_the_benchmark_tells_what_it_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(bench_edges, "SAMPLES", tmp_path / "none")
    monkeypatch.setattr(bench_edges, "drawn_mask", lambda seed: drawn_mask(seed, side=128))
    monkeypatch.setattr(bench_edges, "DRAWS", 1)
    rows = bench_edges.edge_rows()
    assert len(rows) == 2 * 4 * (1 + 3) + 1 and "drawn scenes (no COCO samples" in rows[0]["reference"]
    clean = [row["value"] for row in rows if row["name"].endswith("clean")]
    assert min(clean) > 50 and all(0 < row["value"] <= 100 for row in rows[:-1])
