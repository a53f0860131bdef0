"""Masks of records of the three tasks, and the members of a bank's sample made from them."""

import io

import numpy as np
import pytest
from coco_samples import ids, write_coco
from PIL import Image
from toy_world import write_dataset

from seggen_d2.bank.conversion import Converter
from seggen_d2.bank.format import Sample
from seggen_d2.bank.mask_members import mask_members
from seggen_d2.bank.parts import check_parts
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import InstanceMask, InstanceObject
from seggen_d2.segmentation.panoptic import read_panoptic_png
from seggen_d2.segmentation.rle import decode_mask
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_labelled, read_mask

TASKS = ("semantic", "panoptic", "instance")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """The YAML file of a dataset a task."""
    folder = tmp_path_factory.mktemp("data")
    return {"semantic": write_dataset(folder / "toy", "toy", range(2)), **write_coco(folder)}


@pytest.mark.parametrize("task", TASKS)
def test_a_record_has_an_image_and_a_mask_of_one_size(datasets, task):
    source = load_dataset(datasets[task])
    for record in source.records():
        image, mask = read_labelled(record, source)
        assert mask.task == task and mask.shape == image.shape[:2] and image.dtype == np.uint8
        assert np.array_equal(mask.labels(), read_mask(record, source).labels())
        known = np.unique(mask.labels())
        assert (known[known != source.categories.ignore_id] < len(source.categories)).all()


def test_segments_are_those_of_the_file(datasets):
    source = load_dataset(datasets["panoptic"])
    mask = read_mask(source.records()[1], source)
    assert np.array_equal(mask.ids, ids(1))
    assert {(s.id, s.category_id, s.iscrowd) for s in mask.segments} == {(70_001, 2, False), (301, 1, False), (5, 0, False), (9, 0, True)}


def test_objects_are_whole_under_others(datasets):
    source = load_dataset(datasets["instance"])
    mask = read_mask(source.records()[0], source)
    assert [(o.category_id, o.iscrowd) for o in mask.objects] == [(1, False), (0, False), (0, True)]  # things only
    assert np.array_equal(mask.objects[0].mask, ids(0) == 300) and np.array_equal(mask.objects[2].mask, ids(0) == 9)


@pytest.mark.parametrize("task", TASKS)
def test_members_made_from_a_mask_are_those_of_its_dataset(datasets, task):
    source = load_dataset(datasets[task])
    convert = Converter(source, "imgsyn", "", 95, False)
    for number in range(len(convert)):
        expected, mask = convert(number), read_mask(convert.record(number), source)
        made = mask_members(mask, source.categories)
        assert np.array_equal(made["histogram"], expected.histogram)
        assert np.array_equal(*(np.asarray(Image.open(io.BytesIO(data))) for data in (made["mask"], expected.mask)))
        for ours, theirs in zip(made.get("segments", ()), expected.segments, strict=True):
            assert ours == theirs
        for ours, theirs in zip(made.get("annotations", ()), expected.annotations, strict=True):
            assert {**ours, "segmentation": 0} == {**theirs, "segmentation": 0}


@pytest.mark.parametrize("task", TASKS)
def test_members_make_a_sample_that_a_bank_takes(datasets, task):
    source = load_dataset(datasets[task])
    mask = read_mask(source.records()[0], source).window(3, 2, 14, 20).resized(28, 40)
    sample = Sample("a", b"jpeg", source_id="s", strategy="imgsyn", seed=0, caption="", height=28, width=40, **mask_members(mask, source.categories))
    check_parts(sample, task, len(source.categories), "the sample")
    if task == "instance":
        for number, (part, thing) in enumerate(zip(sample.annotations, sorted(mask.objects, key=lambda o: -o.mask.sum()), strict=True), 1):
            assert np.array_equal(decode_mask(part["rle"], ""), thing.mask) and part["id"] == number
        assert set(np.unique(read_panoptic_png(sample.mask))) == {0, *(part["id"] for part in sample.annotations)}


def test_objects_of_a_sample_are_whole_under_others():
    large, small = (np.zeros((8, 10), bool) for _ in range(2))
    large[1:7, 1:9], small[3:5, 4:6] = True, True
    mask = InstanceMask((8, 10), (InstanceObject(small, 0), InstanceObject(large, 1)))
    made = mask_members(mask, Categories.from_names(["cat", "dog"]))
    below, above = made["annotations"]
    assert np.array_equal(decode_mask(below["rle"], ""), large) and np.array_equal(decode_mask(above["rle"], ""), small)
    assert (below["bbox"], below["area"]) == ([1, 1, 8, 6], 48) and made["histogram"].tolist() == [4, 44]
    assert np.array_equal(read_panoptic_png(made["mask"]), np.where(small, 2, large))


def test_a_mask_of_another_size_is_named(datasets, tmp_path):
    source = load_dataset(datasets["semantic"])
    record = source.records()[0]
    small = tmp_path / "small.png"
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(small)
    with pytest.raises(SegGenError, match="small.png differ in size"):
        read_labelled({**record, "sem_seg_file_name": str(small)}, source)
    Image.fromarray(np.full((32, 32), 77, np.uint8)).save(small)
    with pytest.raises(SegGenError, match="unknown ids\n.*\n.*id 77 on 1024"):
        read_labelled({**record, "sem_seg_file_name": str(small)}, source)
