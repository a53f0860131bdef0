"""One interface for what images of the three tasks are labelled with, and its way through colours."""

import numpy as np
import pytest

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, Category, default_palette, resize_labels
from seggen_d2.segmentation.mask_codec import mask_codec
from seggen_d2.segmentation.masks import InstanceMask, InstanceObject, Segment, SegmentMask, SemanticMask
from seggen_d2.segmentation.segment_codec import connected_regions, edge_pixels

ITEMS = Categories((Category("person", True), Category("train", True), Category("sky"), Category("grass")))
PALETTE = default_palette(4)


def panoptic() -> SegmentMask:
    """``(60, 80)``: sky over grass, two persons that touch, a train, a crowd, and a strip of nothing."""
    ids = np.zeros((60, 80), np.int32)
    ids[5:30], ids[30:], ids[20:50, 10:25], ids[20:50, 25:40], ids[10:35, 50:70], ids[45:55, 55:75] = 70_000, 9, 3, 4, 12, 8
    segments = ((70_000, 2, 0), (9, 3, 0), (3, 0, 0), (4, 0, 0), (12, 1, 0), (8, 0, 1))
    return SegmentMask(ids, tuple(Segment(i, c, bool(crowd)) for i, c, crowd in segments))


def instance() -> InstanceMask:
    """A small object over a large one, two more that touch, and a crowd."""
    boxes = (((5, 50, 5, 45), 1, False), ((20, 30, 20, 32), 0, False), ((30, 55, 50, 62), 0, False), ((30, 55, 62, 76), 0, False),
             ((2, 15, 55, 75), 0, True))
    objects = []
    for (top, bottom, left, right), category, crowd in boxes:
        mask = np.zeros((60, 80), bool)
        mask[top:bottom, left:right] = True
        objects.append(InstanceObject(mask, category, crowd))
    return InstanceMask((60, 80), tuple(objects))


def semantic() -> SemanticMask:
    return SemanticMask(panoptic().labels())


MASKS = {"semantic": semantic, "panoptic": panoptic, "instance": instance}


@pytest.mark.parametrize("make", MASKS.values(), ids=MASKS)
def test_labels_go_with_every_change_of_shape(make):
    mask = make()
    assert mask.shape == mask.labels().shape == (60, 80) and mask.labels().dtype == np.uint8
    assert np.array_equal(mask.mirrored().labels(), mask.labels()[:, ::-1])
    assert np.array_equal(mask.mirrored().mirrored().labels(), mask.labels())
    assert np.array_equal(mask.window(5, 7, 40, 50).labels(), mask.labels()[5:45, 7:57])
    assert mask.window(5, 7, 40, 50).shape == (40, 50)
    assert np.array_equal(mask.resized(90, 33).labels(), resize_labels(mask.labels(), 90, 33))
    assert mask.resized(90, 33).task == mask.task == mask.window(0, 0, 3, 3).task


@pytest.mark.parametrize("make", MASKS.values(), ids=MASKS)
def test_masks_do_not_change(make):
    with pytest.raises(SegGenError, match="reaches out.*\n.*60 x 80"):
        make().window(30, 0, 31, 80)
    for array in (getattr(make(), name) for name in ("ids",) if hasattr(make(), name)):
        with pytest.raises(ValueError):
            array[0, 0] = 1


def test_what_shows_of_objects_is_the_smallest_and_no_crowd():
    labels = instance().labels()
    assert labels[25, 25] == 0 and labels[10, 10] == 1 and labels[5, 60] == 255 == labels[0, 0]
    shown = instance().flattened()
    assert shown.ids[25, 25] == 2 and shown.ids[5, 60] == 5 and [s.iscrowd for s in shown.segments] == [False] * 4 + [True]


def test_parts_without_a_pixel_are_dropped():
    assert [s.id for s in panoptic().window(0, 0, 28, 9).segments] == [70_000]
    assert [o.category_id for o in instance().window(0, 0, 60, 8).objects] == [1]
    assert panoptic().segments[5].iscrowd and panoptic().labels()[50, 60] == 0  # a panoptic crowd is of its category


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(SegGenError, match="do not fit.*\n.*\n.*without one \\[5\\]"):
        SegmentMask(np.full((2, 2), 5), (Segment(4, 0),))
    with pytest.raises(SegGenError, match="do not fit"):
        SegmentMask(np.full((2, 2), 5), (Segment(5, 0), Segment(5, 1)))
    with pytest.raises(SegGenError, match="another size"):
        InstanceMask((3, 3), (InstanceObject(np.ones((2, 3), bool), 0),))


def test_semantic_masks_come_back_exactly():
    codec = mask_codec("semantic", PALETTE, ITEMS)
    decoded = codec.decode(codec.encode(semantic()))
    assert np.array_equal(decoded.mask.labels(), semantic().labels())
    assert (decoded.specks, decoded.holes, decoded.lost) == (0, 0, 0) and not codec.unsure(codec.encode(semantic())).any()


@pytest.mark.parametrize("make", [panoptic, instance])
def test_edges_are_sure_and_colours_between_are_not(make):
    codec = mask_codec(make().task, PALETTE, ITEMS)
    rgb = codec.encode(make())
    assert (rgb == PALETTE.edge_color).all(-1).any() and not codec.unsure(rgb).any()
    rgb[0, :7] = (PALETTE.colors[0].astype(int) + PALETTE.edge_color) // 2
    assert np.argwhere(codec.unsure(rgb)).tolist() == [[0, place] for place in range(7)]
    assert mask_codec("semantic", PALETTE, ITEMS).unsure(np.full((2, 2, 3), PALETTE.edge_color)).all()


@pytest.mark.parametrize("edges", ["all", "touching"])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_segments_come_back(width, edges):
    codec = mask_codec("panoptic", PALETTE, ITEMS, edge_width=width, edges=edges)
    mask = codec.decode(codec.encode(panoptic())).mask
    assert sorted(s.category_id for s in mask.segments) == [0, 0, 1, 2, 3]  # the crowd is unlabelled now
    truth = panoptic()
    for before in truth.segments[:5]:
        overlaps = [np.count_nonzero((mask.ids == s.id) & (truth.ids == before.id)) for s in mask.segments]
        union = np.count_nonzero((mask.ids == mask.segments[int(np.argmax(overlaps))].id) | (truth.ids == before.id))
        assert max(overlaps) / union > 0.85
    assert mask.ids[50, 65] == 0 == mask.ids[0, 0]


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_objects_come_back(width):
    codec = mask_codec("instance", PALETTE, ITEMS, edge_width=width)
    decoded = codec.decode(codec.encode(instance()))
    assert isinstance(decoded.mask, InstanceMask)
    assert [o.category_id for o in decoded.mask.objects] == [1, 0, 0, 0] and not any(o.iscrowd for o in decoded.mask.objects)
    assert (decoded.specks, decoded.holes) == (0, 0)
    wrong = decoded.mask.labels() != instance().labels()
    assert wrong.mean() < 0.02 * width


def test_edges_have_their_width_and_only_touching_ones_where_asked():
    places = np.repeat([[1, 1, 1, 1, 1, 2, 2, 2, 2, 2]], 6, 0)
    for width in (1, 2, 3, 4):
        assert (edge_pixels(places, width).sum(1) == width).all()
        assert not edge_pixels(places, width, labels=places).any()
        assert np.array_equal(edge_pixels(places, width, labels=np.zeros_like(places)), edge_pixels(places, width))


def test_regions_are_those_of_a_flood_fill():
    kinds = np.random.default_rng(0).integers(0, 3, (12, 17))
    regions = connected_regions(kinds, without=2)
    assert np.array_equal(regions == 0, kinds == 2)
    expected, count = np.zeros_like(kinds), 0
    for start in zip(*np.nonzero(kinds != 2), strict=True):
        if not expected[start]:
            count, stack = count + 1, [start]
            while stack:
                r, c = stack.pop()
                if not (0 <= r < 12 and 0 <= c < 17) or expected[r, c] or kinds[r, c] != kinds[start]:
                    continue
                expected[r, c] = count
                stack += [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
    pairs = set(zip(regions.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == count + 1


def test_specks_and_holes_are_given_to_their_neighbours_and_counted():
    codec = mask_codec("panoptic", PALETTE, ITEMS)
    rgb = codec.encode(panoptic())
    rgb[40, 70:73], rgb[56, 4:7], rgb[15, 60] = PALETTE.colors[1], PALETTE.ignore_color, PALETTE.colors[3]
    clean, decoded = codec.decode(codec.encode(panoptic())), codec.decode(rgb)
    assert (decoded.specks, decoded.holes, decoded.dropped) == (2, 1, 7 / 4800) and (clean.specks, clean.holes) == (0, 0)
    assert np.array_equal(decoded.mask.ids, clean.mask.ids)


def test_depths_of_edge_colour_belong_to_nothing():
    codec = mask_codec("instance", PALETTE, ITEMS)
    rgb = np.broadcast_to(PALETTE.edge_color, (40, 40, 3)).copy()
    empty = codec.decode(rgb)
    assert not empty.mask.objects and empty.mask.shape == (40, 40) and empty.lost == 1
    rgb[:20, :20] = PALETTE.colors[0]
    assert 0.4 < codec.decode(rgb).lost < 0.75


def test_codecs_tell_what_decides_them_and_refuse_other_values():
    facts = mask_codec("panoptic", PALETTE, ITEMS, edge_width=3, edges="touching").to_json()
    assert facts == {"edge_width": 3, "edges": "touching"} and mask_codec("semantic", PALETTE, ITEMS).to_json() == {}
    for bad in ({"edge_width": 5}, {"edge_width": 0}, {"edges": "none"}):
        with pytest.raises(SegGenError):
            mask_codec("panoptic", PALETTE, ITEMS, **bad)
    with pytest.raises(SegGenError, match="without a colour"):
        mask_codec("panoptic", PALETTE, ITEMS).encode(SegmentMask(np.ones((3, 3)), (Segment(1, 7),)))
