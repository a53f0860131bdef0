"""Semantic, panoptic and instance figures: identities, and equality with references that are on PyPI."""

import contextlib
import io
import pickle

import numpy as np
import pytest
from hard_cases import CATEGORIES, label_pairs, scored_objects, segment_pairs

from seggen_d2.evaluation.instances import Detection, MaskAP, TruthObject, encode_object, read_object
from seggen_d2.evaluation.panoptic import panoptic_scores
from seggen_d2.evaluation.scores import check_classes, mean_of
from seggen_d2.evaluation.semantic import SemanticScorer, outline_width, outlines
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import Segment, SegmentMask
from seggen_d2.segmentation.panoptic_quality import PanopticQuality

STUFF = Categories.from_names(CATEGORIES.names)


def semantic(pairs, **options):
    scorer = SemanticScorer(STUFF, **options)
    for predicted, labels in pairs:
        scorer.update(predicted, labels)
    return scorer


def same(a, b, tolerance=1e-9):
    assert a.figures == pytest.approx(b.figures, abs=tolerance, nan_ok=True)
    for column, values in a.per_class.items():
        assert values == pytest.approx(b.per_class[column], abs=tolerance, nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_semantic_figures_are_those_of_their_definitions(seed):
    pairs = label_pairs(seed, 12)
    found = semantic(pairs).scores().figures
    predicted, labels = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    known = labels != 255
    here = [c for c in range(len(STUFF)) if (labels == c).any()]
    ious = [100 * ((predicted == c) & (labels == c)).sum() / (((predicted == c) & known) | (labels == c)).sum() for c in here]
    shares = [(labels == c).sum() / known.sum() for c in here]
    assert found["mIoU"] == pytest.approx(np.mean(ious))
    assert found["fwIoU"] == pytest.approx(np.dot(ious, shares))
    assert found["mACC"] == pytest.approx(np.mean([100 * (predicted[labels == c] == c).mean() for c in here]))
    assert found["pACC"] == pytest.approx(100 * (predicted == labels)[known].mean())


def test_outlines_are_what_erosion_takes_from_each_mask():
    cv2 = pytest.importorskip("cv2")
    for width, (_, labels) in zip((1, 2, 3, 7) * 5, label_pairs(4, 20)):
        expected = np.zeros(labels.shape, bool)
        for i in np.unique(labels):
            mask = np.pad((labels == i).astype(np.uint8), 1)
            expected |= (mask - cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=width))[1:-1, 1:-1] > 0
        assert np.array_equal(outlines(labels, width), expected)
    assert outline_width((480, 640)) == 16 and outline_width((10, 10)) == 1


def test_boundary_iou_is_that_of_outline_pixels_over_all_images():
    """Cheng et al. 2021, equation 1, of each category's binary mask."""
    cv2 = pytest.importorskip("cv2")
    pairs = [(predicted, labels) for predicted, labels in label_pairs(5, 20) if (labels != 255).all()]
    assert len(pairs) > 3
    found = semantic(pairs).scores()
    for i, name in enumerate(STUFF.names):
        both = either = 0
        for pair in pairs:
            outline = [_outline(cv2, (side == i).astype(np.uint8)) for side in pair]
            both, either = both + (outline[0] & outline[1]).sum(), either + (outline[0] | outline[1]).sum()
        if any((labels == i).any() for _, labels in pairs):
            assert found.per_class["Boundary IoU"][name] == pytest.approx(100 * both / either)
    assert found.figures["Boundary IoU"] == pytest.approx(mean_of([*found.per_class["Boundary IoU"].values()]))


def _outline(cv2, mask):
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return (mask - cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=outline_width(mask.shape))[1:-1, 1:-1]).astype(bool)


def test_what_lies_on_void_moves_no_outline():
    predicted, labels = next(pair for pair in label_pairs(0, 30) if 255 in pair[1] and pair[1].size > 500)
    other = np.where(labels == 255, 3, predicted)
    same(semantic([(predicted, labels)]).scores(), semantic([(other, labels)]).scores())
    perfect = np.where(labels == 255, 3, labels)
    assert semantic([(perfect, labels)]).scores().figures["Boundary IoU"] == 100


def test_a_border_that_is_off_costs_more_at_the_outline_than_in_the_area():
    labels = np.zeros((100, 100), np.uint8)
    labels[20:80, 20:80] = 1
    found = semantic([(np.roll(labels, 1, 1), labels)]).scores().figures
    assert found["Boundary IoU"] < found["mIoU"] - 10


def test_parts_add_up_to_the_whole():
    labels = label_pairs(1, 10)
    same((semantic(labels[:4]) + semantic(labels[4:])).scores(), semantic(labels).scores())
    pairs = segment_pairs(1, 10)
    same(panoptic_scores(panoptic(pairs[:4]) + panoptic(pairs[4:])), panoptic_scores(panoptic(pairs)))
    objects = scored_objects(1, 10)
    other = pickle.loads(pickle.dumps(mask_ap(objects[6:], 6)))  # as it comes from another process
    same((other + mask_ap(objects[:6])).scores(), mask_ap(objects).scores())
    with pytest.raises(SegGenError, match="twice"):
        mask_ap(objects[:2]) + mask_ap(objects[:1])


def test_the_mean_over_chosen_classes():
    """mIoU*: each IoU stays that of the whole label space; classes that the truth lacks are left out."""
    found = semantic(label_pairs(2, 12)).scores(["t0", "s1", "s absent"])
    iou = found.per_class["IoU"]
    assert found.figures["mIoU*"] == pytest.approx((iou["t0"] + iou["s1"]) / 2) and np.isnan(iou["s absent"])
    assert panoptic_scores(panoptic(segment_pairs(2, 12)), ["t0"]).figures.keys() >= {"PQ*", "PQ_th", "SQ_st", "RQ"}
    with pytest.raises(SegGenError, match="(?s)no categories.*did you mean 's absent'"):
        check_classes(["s absend"], STUFF)
    with pytest.raises(SegGenError, match="twice"):
        check_classes(["t0", "t0"], STUFF)


def panoptic(pairs):
    quality = PanopticQuality(CATEGORIES)
    for predicted, truth in pairs:
        quality.update(predicted, truth)
    return quality


def test_nothing_at_all_has_no_figures():
    assert all(np.isnan(value) for value in panoptic_scores(panoptic([])).figures.values())
    assert all(np.isnan(value) for value in semantic([]).scores().figures.values())
    pytest.importorskip("pycocotools")
    assert all(np.isnan(value) for value in MaskAP(CATEGORIES).scores().figures.values())


def test_segments_of_the_truth_without_a_pixel_are_missed():
    quality = panoptic([])
    quality.miss([0, 0, 4])
    assert quality.counts[:, 2].tolist() == [2, 0, 0, 0, 1, 0, 0, 0] and panoptic_scores(quality).figures["PQ"] == 0


def test_of_several_crowds_of_a_category_the_last_excuses():
    ids = np.repeat(np.array([[1, 2, 3]], np.int32), 4, 0)
    truth = SegmentMask(ids, (Segment(1, 0, True), Segment(2, 0, True), Segment(3, 4)))
    counts = [panoptic([(SegmentMask((ids == i).astype(np.int32), (Segment(1, 0),)), truth)]).counts[0, 1] for i in (1, 2, 3)]
    assert counts == [1, 0, 1]


def mask_ap(objects, first=0):
    scorer = MaskAP(CATEGORIES)
    for image, (_, ours, theirs) in enumerate(objects, start=first):
        scorer.update(image, [Detection(o["category_id"], o["score"], encode_object(o["mask"])) for o in ours],
                      [TruthObject(o["category_id"], encode_object(o["mask"]), int(o["mask"].sum()), bool(o["iscrowd"])) for o in theirs])
    return scorer


def coco_figures(objects):
    """pycocotools itself on the same objects."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    sides = [[{"id": 0, "image_id": image, "category_id": o["category_id"], "segmentation": encode_object(o["mask"]), "iscrowd": o.get("iscrowd", 0),
               "area": int(o["mask"].sum()), **({"score": o["score"]} if "score" in o else {})}
              for image, sample in enumerate(objects) for o in sample[side]] for side in (1, 2)]
    for items in sides:
        for number, item in enumerate(items, start=1):
            item["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):
        truth, categories = COCO(), [{"id": i, "name": c.name} for i, c in enumerate(CATEGORIES.items) if c.isthing]
        images = [{"id": image, "height": shape[0], "width": shape[1]} for image, (shape, _, _) in enumerate(objects)]
        truth.dataset = {"images": images, "annotations": sides[1], "categories": categories}
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(sides[0]), "segm")
        judge.evaluate(), judge.accumulate(), judge.summarize()
    per_class = {}
    for place, category in enumerate(categories):
        precision = judge.eval["precision"][:, :, place, 0, -1]
        per_class[category["name"]] = 100 * precision[precision > -1].mean() if (precision > -1).any() else float("nan")
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    return {name: 100 * value if value >= 0 else float("nan") for name, value in zip(names, judge.stats)}, per_class


@pytest.mark.parametrize("seed", range(4))
def test_mask_ap_is_that_of_pycocotools(seed):
    pytest.importorskip("pycocotools")
    objects = scored_objects(seed, 25)
    figures, per_class = coco_figures(objects)
    found = mask_ap(objects).scores()
    assert found.figures == pytest.approx(figures, abs=1e-9, nan_ok=True) and found.figures["AP"] > 5
    assert {name: found.per_class["AP"][name] for name in per_class} == pytest.approx(per_class, abs=1e-9, nan_ok=True)


def test_of_many_detections_the_best_hundred_count():
    pytest.importorskip("pycocotools")
    (shape, _, theirs), rng = scored_objects(7, 1)[0], np.random.default_rng(0)
    theirs = theirs or [{"mask": np.ones(shape, bool), "category_id": 0, "iscrowd": 0}]
    ours = [{"mask": np.roll(theirs[0]["mask"], n % 3, 0), "category_id": theirs[0]["category_id"], "score": float(rng.random())} for n in range(130)]
    figures, _ = coco_figures([(shape, ours, theirs)])
    assert mask_ap([(shape, ours, theirs)]).scores().figures == pytest.approx(figures, abs=1e-9, nan_ok=True)


def test_bad_objects():
    pytest.importorskip("pycocotools")
    good, other = (encode_object(np.ones((4, width), bool)) for width in (5, 6))
    for detection, words in ((Detection(0, 0.5, other), "differ in size"), (Detection(8, 0.5, good), "of no category"),
                             (Detection(0, float("nan"), good), "no number")):
        with pytest.raises(SegGenError, match=words):
            MaskAP(CATEGORIES).update(1, [detection], [TruthObject(0, good)])


def test_what_scoring_costs():
    pytest.importorskip("pycocotools")
    from seggen_d2.evaluation.bench import metric_rows

    rows = metric_rows(images=1, turns=1)
    assert [row["name"][:4].strip() for row in rows] == ["mIoU", "PQ o", "AP o"] and all(row["value"] > 0 for row in rows)
    assert rows[2]["ratio"] > 0 and float(rows[2]["reference"].split()[-2]) < 1e-9


def test_masks_of_every_kind_are_one():
    pytest.importorskip("pycocotools")
    mask = np.zeros((9, 11), bool)
    mask[2:5, 3:9] = True
    text = encode_object(mask)
    polygon = [[3.0, 2.0, 9.0, 2.0, 9.0, 5.0, 3.0, 5.0]]
    counts = {"size": [9, 11], "counts": [29, 3, 6, 3, 6, 3, 6, 3, 6, 3, 6, 3, 22]}
    for other in (polygon, counts, text, {**text, "counts": text["counts"].decode()}):
        again = read_object(other, 9, 11, "x")
        assert (again["counts"] if isinstance(again["counts"], bytes) else again["counts"].encode()) == text["counts"]
    for broken, words in (({**counts, "counts": [5]}, "broken"), ({**counts, "size": [11, 9]}, "another size"), ("x", "is none")):
        with pytest.raises(SegGenError, match=words):
            read_object(broken, 9, 11, "x")
