# ruff: noqa: E402
"""What queries say about an image: identities of the panoptic and the instance result."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from seggen_d2.modeling.inference import crop_and_resize, instance_inference, panoptic_inference, upsample

K, SIZE = 4, 12
THINGS = torch.tensor([True, True, False, False])


def certain(categories, areas):
    """Logits of queries that are sure of a category (K is "no object") and of a (rows, columns) area."""
    classes, masks = torch.full((len(categories), K + 1), -20.0), torch.full((len(areas), SIZE, SIZE), -20.0)
    for query, (category, (rows, columns)) in enumerate(zip(categories, areas)):
        classes[query, category] = 20
        masks[query, rows, columns] = 20
    return classes, masks


def panoptic(classes, masks, **options):
    return panoptic_inference(classes, masks, **{"is_thing": THINGS, "object_mask_threshold": 0.8, "overlap_threshold": 0.8, **options})


LEFT, RIGHT, TOP, ALL = (slice(None), slice(0, 6)), (slice(None), slice(6, None)), (slice(0, 6), slice(None)), (slice(None),) * 2


def test_two_things_of_a_category_are_two_segments_and_stuff_is_one():
    things, segments = panoptic(*certain([1, 1], [LEFT, RIGHT]))
    assert things.dtype == torch.int32 and things.unique().tolist() == [1, 2]
    assert segments == [{"id": n, "isthing": True, "category_id": 1} for n in (1, 2)]
    stuff, segments = panoptic(*certain([3, 3], [LEFT, RIGHT]))
    assert (stuff == 1).all() and segments == [{"id": 1, "isthing": False, "category_id": 3}]


def test_ids_are_counted_after_stuff_was_merged():
    areas = [(slice(0, 3), slice(None)), (slice(3, 6), slice(None)), (slice(6, 9), slice(None)), (slice(9, None), slice(None))]
    segmentation, segments = panoptic(*certain([2, 0, 2, 1], areas))
    assert [segment["id"] for segment in segments] == [1, 2, 3] and segmentation[::3, 0].tolist() == [1, 2, 1, 3]


def test_no_object_and_doubt_have_no_say():
    classes, masks = certain([K, 0], [ALL, LEFT])
    segmentation, segments = panoptic(classes, masks)
    assert len(segments) == 1 and (segmentation[:, 6:] == 0).all()
    nothing, segments = panoptic(classes * 0, masks, object_mask_threshold=0.5)
    assert not segments and nothing.shape == (SIZE, SIZE) and not nothing.any()


def test_a_segment_that_is_mostly_covered_is_left_out():
    classes, masks = certain([0, 1], [TOP, ALL])
    masks[0] += 5  # wins where both claim a pixel: half of the second is left
    kept, left_out = (panoptic(classes, masks, overlap_threshold=threshold)[1] for threshold in (0.4, 0.6))
    assert [segment["category_id"] for segment in kept] == [0, 1] and [segment["category_id"] for segment in left_out] == [0]


def test_instances_are_the_best_pairs_scored_by_their_masks():
    classes, masks = certain([0, 3, K], [LEFT, RIGHT, ALL])
    found = instance_inference(classes, masks, top_k=2)
    assert sorted(found["categories"].tolist()) == [0, 3] and torch.allclose(found["scores"], torch.ones(2), atol=1e-5)
    assert found["masks"].dtype == torch.bool and found["masks"].sum((1, 2)).tolist() == [SIZE * 6] * 2
    weak = instance_inference(classes, masks * 0.01, top_k=2)["scores"]
    assert torch.allclose(weak, torch.tensor(0.2).sigmoid(), atol=1e-3)


def test_one_query_may_stand_for_several_categories_and_top_k_for_all_pairs():
    classes, masks = certain([0], [LEFT])
    found = instance_inference(classes, masks, top_k=100)
    assert sorted(found["categories"].tolist()) == list(range(K)) and found["masks"].shape == (K, SIZE, SIZE)


def test_kept_categories_are_chosen_after_the_best_pairs():
    classes, masks = certain([0, 3], [LEFT, RIGHT])
    found = instance_inference(classes, masks, top_k=2, kept=THINGS)
    assert found["categories"].tolist() == [0] and len(found["masks"]) == len(found["scores"]) == 1
    assert instance_inference(classes[1:], masks[1:], top_k=1, kept=THINGS)["masks"].shape == (0, SIZE, SIZE)


def test_padding_is_cut_off_before_resizing():
    maps = torch.zeros(2, 8, 8)
    maps[:, :4, :6] = 1
    assert (crop_and_resize(maps, (4, 6), 12, 18) == 1).all()
    assert torch.equal(crop_and_resize(maps, (4, 6), 4, 6), maps[:, :4, :6])
    assert upsample(torch.ones(1, 2, 4, 4).half(), (16, 12)).dtype == torch.float32
