# ruff: noqa: E402
"""Panoptic and instance targets: masks, classes and boxes agree with the label maps; crowds and empties as upstream."""

import coco_samples as coco
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from seggen_d2.bank import Bank, import_bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mapping import (
    DatasetMapper,
    FixedSizePad,
    HorizontalFlip,
    InstanceTargets,
    PanopticTargets,
    Plan,
    RandomCrop,
    SemanticTargets,
    large_scale_jitter,
)
from seggen_d2.mapping.panoptic import masks_and_boxes, numbered
from seggen_d2.mapping.polygons import box_around, move_polygons
from seggen_d2.segmentation import Categories, label_map_png
from seggen_d2.segmentation.panoptic import panoptic_png
from seggen_d2.segmentation.rle import encode_mask
from seggen_d2.sources import load_dataset

SIZE = coco.HEIGHT, coco.WIDTH


@pytest.fixture
def records(tmp_path):
    """``{task: records of the dataset, then of a bank made of it}``."""
    found, banks = {}, []
    for task, file in coco.write_coco(tmp_path / "coco").items():
        source = load_dataset(file)
        import_bank(source, tmp_path / task)
        banks.append(Bank(tmp_path / task, name=f"mapped-{task}"))
        found[task] = source.records() + [banks[-1].record(i) for i in range(len(banks[-1]))]
    yield found
    for bank in banks:
        bank.close()


def tight(mask):
    """Box of an (H, W) bool mask by the plainest way."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else [0, 0, 0, 0]


@pytest.mark.parametrize("place", range(6))
def test_panoptic_segments_are_the_id_map_taken_apart(records, place):
    sample = DatasetMapper([], PanopticTargets(boxes=True))(records["panoptic"][place])
    ids, wanted = coco.ids(place % 3), [s for s in coco.segments(place % 3) if not s["iscrowd"]]
    assert len(sample["mask_labels"]) == 3 and sample["mask_labels"].dtype == torch.bool
    by_id = {s["id"]: s for s in wanted}
    kept = [s["id"] for s in sample["segments_info"] if not s["iscrowd"]]
    for mask, box, key in zip(sample["mask_labels"].numpy(), sample["boxes"].tolist(), kept):
        x, y, w, h = by_id[key]["bbox"]
        assert np.array_equal(mask, ids == key) and box == [x, y, x + w, y + h]
    number = {92: 2, 7: 1, 1: 0}
    assert sample["class_labels"].tolist() == [number[by_id[key]["category_id"]] for key in kept]
    assert not sample["mask_labels"][:, ids == 9].any()  # the crowd


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("place", [0, 4])
def test_jittered_masks_and_boxes_agree(records, number, place):
    steps = large_scale_jitter(40, 0.2, 4.0)
    panoptic = DatasetMapper(steps, PanopticTargets(boxes=True))(records["panoptic"][place], number)
    plan = DatasetMapper(steps).draw(SIZE, number)
    at_once = np.zeros((40, 40), np.int64)
    rows, columns = plan.window_size
    from seggen_d2.mapping import centres

    at_once[:rows, :columns] = plan.take(coco.ids(place % 3), centres)
    kept = [s["id"] for s in panoptic["segments_info"] if not s["iscrowd"]]
    for mask, box, key in zip(panoptic["mask_labels"].numpy(), panoptic["boxes"].tolist(), kept, strict=True):
        assert np.array_equal(mask, at_once == key) and box == tight(mask)
    instance = DatasetMapper(steps, InstanceTargets(boxes=True, drop_empty=True))(records["instance"][place], number)
    seen = {mask.numpy().tobytes() for mask, one in zip(panoptic["mask_labels"], panoptic["class_labels"]) if mask.any() and one < 2}
    exact = [one for one in records["instance"][place]["annotations"] if isinstance(one.get("rle") or one["segmentation"], dict)]
    if len(exact) == 3:  # of the bank: run-length masks go the way of id maps
        assert {mask.numpy().tobytes() for mask in instance["mask_labels"]} == seen
        assert [tight(mask.numpy()) for mask in instance["mask_labels"]] == instance["boxes"].tolist()


def test_segments_out_of_the_window_are_kept_empty_by_panoptic_and_dropped_by_coco_instance():
    numbers, plan = numbered(coco.ids(0), [5, 300]), Plan.of(SIZE).crop(0, 0, 8, 28)
    masks, boxes = masks_and_boxes(numbers, [1, 2], plan)
    assert masks.shape == (2, 8, 28) and not masks.any() and not boxes.any()
    annotation = {"category_id": 0, "segmentation": [[5.0, 12.0, 9.0, 12.0, 9.0, 15.0]]}
    for dropped, left in ((True, 0), (False, 1)):
        targets = InstanceTargets(boxes=True, drop_empty=dropped)([annotation], {"file_name": "x"}, plan)
        assert [len(value) for value in targets.values()] == [left] * 3


def test_a_segment_of_one_pixel_is_found_at_every_size():
    ids = np.zeros((9, 9), np.int64)
    ids[4, 7] = 2**24 - 1
    for side in (9, 20, 47):
        masks, boxes = masks_and_boxes(numbered(ids, [2**24 - 1]), [1], Plan.of((9, 9)).resize((side, side)).pad((50, 50)))
        assert masks.any() and boxes[0].tolist() == tight(masks[0].numpy())


def test_many_segments_need_more_than_a_byte():
    ids = np.arange(400).reshape(20, 20)
    known = list(range(1, 400))
    assert numbered(ids, known).dtype == np.uint16 and np.array_equal(numbered(ids, known), ids)
    assert numbered(ids, known[:255]).dtype == np.uint8 and numbered(ids, known[:255]).max() == 255
    assert not numbered(ids, []).any()  # nothing is left over from before
    with pytest.raises(SegGenError, match="ids from 0 to 16,777,215"):
        numbered(ids, [2**24])


def test_an_image_without_segments_gives_empty_targets(records):
    empty = {**records["panoptic"][0], "segments_info": []}
    sample = DatasetMapper([FixedSizePad(32, 32)], PanopticTargets(boxes=True))(empty)
    assert sample["mask_labels"].shape == (0, 32, 32) and sample["boxes"].shape == (0, 4)
    sample = DatasetMapper([], InstanceTargets(boxes=True))({**records["instance"][0], "annotations": []})
    assert sample["mask_labels"].shape == (0, *SIZE) and sample["class_labels"].dtype == torch.int64


def test_areas_count_crowds_and_prefer_the_semantic_map(records, tmp_path):
    record, plan = records["panoptic"][0], Plan.of(SIZE)
    targets = PanopticTargets()
    counts = targets.areas(targets.read(record), plan)
    assert counts.tolist() == [np.isin(coco.ids(0), (5, 9)).sum(), (coco.ids(0) == 300).sum(), (coco.ids(0) == 70000).sum()]
    (tmp_path / "m.png").write_bytes(label_map_png(np.full(SIZE, 1)))
    both = {**record, "sem_seg_file_name": str(tmp_path / "m.png")}
    targets = PanopticTargets(SemanticTargets(Categories.from_names("abc")))
    assert targets.areas(targets.read(both), plan).tolist() == [0, SIZE[0] * SIZE[1], 0]
    sample = DatasetMapper([FixedSizePad(32, 32)], targets)(both)
    assert sample["sem_seg"].dtype == torch.int64 and (sample["sem_seg"][20:] == 255).all()
    assert "sem_seg" not in DatasetMapper([], targets)(record)


def test_polygons_follow_flips_and_cuts():
    square = [[2.0, 2.0, 10.0, 2.0, 10.0, 8.0, 2.0, 8.0]]
    plan = Plan.of((20, 30)).resize((40, 60)).crop(6, 10, 20, 30).flipped(1)
    assert box_around(move_polygons(square, plan)).tolist() == [20.0, 0.0, 30.0, 10.0]
    assert move_polygons(square, Plan.of((20, 30)).crop(12, 0, 5, 5)) == []
    before = Plan.of((20, 30)).flipped(1).resize((40, 60)).crop(0, 40, 20, 20)
    assert box_around(move_polygons(square, before)).tolist() == [0.0, 4.0, 16.0, 16.0]


def test_a_cut_polygon_fills_what_the_whole_one_fills_in_the_window():
    star = [[1.0, 1.0, 26.0, 3.0, 8.0, 9.0, 25.0, 18.0, 3.0, 17.0, 12.0, 9.0]]
    annotation = {"category_id": 0, "segmentation": star}
    whole = InstanceTargets()([annotation], {"file_name": "x"}, Plan.of(SIZE))["mask_labels"][0]
    for top, left in ((0, 0), (4, 6), (9, 13)):
        part = InstanceTargets()([annotation], {"file_name": "x"}, Plan.of(SIZE).crop(top, left, 10, 12))["mask_labels"][0]
        assert (part != whole[top : top + 10, left : left + 12]).sum() <= 4  # on the cut alone


def test_the_exact_mask_is_preferred_to_outlines():
    mask = np.zeros(SIZE, bool)
    mask[3:9, 4:20] = True
    mask[5:7, 8:12] = False  # a hole, which outlines do not know
    annotation = {"category_id": 1, "segmentation": [[4, 3, 20, 3, 20, 9, 4, 9]], "rle": encode_mask(mask)}
    assert np.array_equal(InstanceTargets()([annotation], {"file_name": "x"}, Plan.of(SIZE))["mask_labels"][0], mask)


@pytest.mark.parametrize(
    ("targets", "has", "words"),
    [
        (SemanticTargets(Categories.from_names("ab")), "panoptic", "no semantic labels(.|\n)*panoptic labels"),
        (PanopticTargets(), "instance", "no panoptic labels(.|\n)*instance labels"),
        (InstanceTargets(), "panoptic", "no instance labels(.|\n)*panoptic labels"),
    ],
)
def test_a_record_of_another_task_is_refused(records, targets, has, words):
    with pytest.raises(SegGenError, match=words):
        DatasetMapper([], targets)(records[has][4])


def test_segments_that_do_not_fit_are_refused(records, tmp_path):
    (tmp_path / "p.png").write_bytes(panoptic_png(np.zeros((9, 9), int)))
    with pytest.raises(SegGenError, match="28x20"):
        DatasetMapper([], PanopticTargets())({**records["panoptic"][0], "pan_seg_file_name": str(tmp_path / "p.png")})
    record = records["instance"][0]
    with pytest.raises(SegGenError, match="has no mask"):
        DatasetMapper([], InstanceTargets())({**record, "annotations": [{"category_id": 0, "bbox": [1, 2, 3, 4]}]})
    with pytest.raises(SegGenError, match="20 x 28"):
        small = {"category_id": 0, "segmentation": encode_mask(np.ones((9, 9), bool))}
        DatasetMapper([], InstanceTargets())({**record, "annotations": [small]})
    with pytest.raises(SegGenError, match="limited by category"):
        DatasetMapper([RandomCrop(8, 8, 0.5)], InstanceTargets())(record)


def test_a_padding_mask_is_true_where_padding_is(records):
    mapper = DatasetMapper([HorizontalFlip(1.0), FixedSizePad(24, 40)], padding_mask=True)
    mask = mapper(records["panoptic"][0])["padding_mask"]
    assert mask.shape == (24, 40) and mask[20:].all() and mask[:, 28:].all() and not mask[:20, :28].any()
