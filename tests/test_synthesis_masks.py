"""Masks of synthetic samples, for the three tasks: humans' by views, and sampled ones, decoded and judged."""

from dataclasses import replace

import numpy as np
import pytest
from coco_samples import ids, write_coco
from toy_world import write_dataset

from seggen_d2.bank.format import Sample
from seggen_d2.bank.mask_members import NO_LABEL, NO_OBJECT, mask_members
from seggen_d2.bank.parts import check_parts
from seggen_d2.generators.geometry import View
from seggen_d2.segmentation import Categories, Category, default_palette
from seggen_d2.segmentation.mask_codec import Decoded, mask_codec
from seggen_d2.segmentation.masks import InstanceMask, Segment, SegmentMask, SemanticMask
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_mask
from seggen_d2.synthesis.masks import HumanMasks, SampledMasks
from seggen_d2.synthesis.plan import SampleSpec
from seggen_d2.synthesis.quality import QualityOptions, fault

TASKS = ("semantic", "panoptic", "instance")
ITEMS = Categories((Category("cat", True), Category("dog", True), Category("sky")))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A dataset a task."""
    folder = tmp_path_factory.mktemp("data")
    files = {"semantic": write_dataset(folder / "toy", "toy", range(2)), **write_coco(folder)}
    return {task: load_dataset(file) for task, file in files.items()}


def spec(source_id: str, view: View, caption: str = "a scene", seed: int = 0) -> SampleSpec:
    return SampleSpec("imgsyn-000000000", source_id, "imgsyn", seed, caption, view)


def whole(record: dict, out: tuple[int, int]) -> View:
    size = record["height"], record["width"]
    return View(0, 0, *size, out, size)


@pytest.mark.parametrize("task", TASKS)
def test_a_human_mask_is_what_the_view_shows_at_its_size(sources, task):
    source = sources[task]
    records = {str(r["source_id"]): r for r in source.records()}
    views = {name: whole(record, (48, 64)) for name, record in records.items()}
    made = HumanMasks(records, source)([spec(name, view) for name, view in views.items()])
    for (name, view), mask in zip(views.items(), made, strict=True):
        expected = read_mask(records[name], source).resized(48, 64)
        assert mask.task == task and mask.shape == (48, 64) and np.array_equal(mask.labels(), expected.labels())
        assert view.out == mask.shape


def test_objects_stay_whole_and_crowds_stay_marked(sources):
    source = sources["instance"]
    record = source.records()[0]
    mask, = HumanMasks({"a": record}, source)([spec("a", whole(record, (20, 28)))])
    assert np.array_equal(mask.objects[0].mask, ids(0) == 300) and [o.iscrowd for o in mask.objects] == [False, False, True]
    members = mask_members(mask, source.categories)
    sample = Sample("a", b"", source_id="a", strategy="imgsyn", seed=0, caption="", height=20, width=28, **members)
    check_parts(sample, "instance", len(source.categories), "the sample")
    assert [part["iscrowd"] for part in members["annotations"]] == [0, 1, 0]  # largest first


def test_a_view_without_anything_is_rejected(sources):
    size = (20, 28)
    corner, crowd = View(0, 0, 1, 4, (8, 32), size), View(15, 20, 4, 6, (32, 48), size)
    for task, view, reason in (("panoptic", corner, NO_LABEL), ("instance", corner, NO_OBJECT), ("instance", crowd, NO_OBJECT)):
        record = sources[task].records()[0]
        assert HumanMasks({"a": record}, sources[task])([spec("a", view)]) == [reason]


class Painted:
    """In a sampler's place: paints given maps, and keeps what it was asked."""

    def __init__(self, maps):
        self.maps = maps

    def paint(self, batch):
        self.batch = batch
        return np.stack(self.maps)


def scene(side: int = 64) -> SegmentMask:
    """Sky, a cat over it, a dog beside the cat."""
    array = np.ones((side, side), np.int32)
    array[20:50, 10:30], array[20:50, 30:55] = 2, 3
    return SegmentMask(array, (Segment(1, 2), Segment(2, 0), Segment(3, 1)))


def test_sampled_maps_become_masks_or_reasons():
    codec = mask_codec("panoptic", default_palette(3), ITEMS)
    good, blank = codec.encode(scene()), np.full((64, 64, 3), 77, np.uint8)
    sampler = Painted([good, blank, good])
    view = View(0, 0, 64, 64, (64, 64), (64, 64))
    specs = [spec("a", view, caption, seed) for seed, caption in enumerate(("a cat", "a cat", "two dogs, a cat"))]
    made = SampledMasks(sampler, codec, ITEMS, QualityOptions())(specs)
    assert sorted(s.category_id for s in made[0].segments) == [0, 1, 2] and "unsure colours on 100%" in made[1]
    assert not isinstance(made[2], str) and sampler.batch.captions == ["a cat", "a cat", "two dogs, a cat"]
    assert len(set(sampler.batch.seeds)) == 3 and sampler.batch.time_ids[0] == view.time_ids()
    assert (sampler.batch.height, sampler.batch.width, sampler.batch.color_maps) == (64, 64, None)


def judged(task: str, mask, caption: str = "", **facts) -> str:
    return fault(np.zeros(mask.shape, bool), replace(Decoded(mask), **facts), caption, ITEMS, QualityOptions())


def test_instance_masks_need_an_object_and_no_labelled_background():
    empty, one = InstanceMask((64, 64), ()), scene()
    objects = mask_codec("instance", default_palette(3), ITEMS)
    only = SegmentMask(np.where(one.ids == 2, 2, 0), (Segment(2, 0),))
    decoded = objects.decode(objects.encode(only)).mask
    assert judged("instance", empty) == "no object" and judged("instance", decoded) == ""
    assert "labelled" in judged("panoptic", only)  # a panoptic mask needs labels


def test_specks_edges_and_captions_are_judged():
    assert judged("panoptic", scene()) == "" and "specks and holes on 30%" in judged("panoptic", scene(), dropped=0.3)
    assert "edge colour alone on 20%" in judged("panoptic", scene(), lost=0.2)
    sky = SegmentMask(np.where(scene().ids == 2, 2, 1), (Segment(1, 2), Segment(2, 0)))
    assert judged("panoptic", sky, "a dog") == "holds 0 of the 1 categories that the caption names"
    assert judged("panoptic", sky, "cats under a sky") == ""
    tiny = np.full((64, 64), 2)
    tiny[0, :3] = 0  # under min_share
    assert judged("semantic", SemanticMask(tiny)) == "only 1 categories held"
    speck = SegmentMask(np.where(tiny == 0, 2, 1), (Segment(1, 2), Segment(2, 0)))
    assert judged("panoptic", speck) == ""
