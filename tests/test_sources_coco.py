"""COCO's panoptic and instance data as records, and what bad files get."""

from __future__ import annotations

import json
from pathlib import Path

import coco_samples as coco
import numpy as np
import pytest
import yaml

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, Category
from seggen_d2.segmentation.panoptic import panoptic_png
from seggen_d2.sources import (
    load_dataset,
    read_coco_categories,
    read_image,
    read_instance,
    read_panoptic,
    read_sample,
)

SHARED = Path(__file__).parents[1] / ".." / "shared" / "data" / "coco_sample"
needs_coco = pytest.mark.skipif(not SHARED.is_dir(), reason="no COCO samples beside the repository")


@pytest.fixture()
def files(tmp_path):
    return coco.write_coco(tmp_path)


def test_panoptic_records(files):
    source = load_dataset(files["panoptic"])
    assert source.name == "coco_panoptic" and source.task == "panoptic"
    assert source.categories == Categories((Category("person", True), Category("train", True), Category("sky")))
    records = source.records()
    assert [r["image_id"] for r in records] == [139, 285, 632] and records[0]["source_id"] == "139"
    assert (records[1]["height"], records[1]["width"]) == (coco.HEIGHT, coco.WIDTH)
    assert [(s["id"], s["category_id"], s["iscrowd"], s["isthing"]) for s in records[1]["segments_info"]] == [
        (70001, 2, 0, False),
        (301, 1, 0, True),
        (5, 0, 0, True),
        (9, 0, 1, True),
    ]
    image, ids = read_panoptic(records[1])
    assert image.shape == (coco.HEIGHT, coco.WIDTH, 3) and np.array_equal(ids, coco.ids(1))
    records[0]["segments_info"][0]["id"] = 1
    assert source.records()[0]["segments_info"][0]["id"] == 70000  # a caller's changes stay the caller's


def test_instance_records(files):
    source = load_dataset(files["instance"], task="instance")
    assert source.categories.names == ("person", "train") and all(c.isthing for c in source.categories.items)
    record = source.records()[2]
    assert [(a["category_id"], a["iscrowd"], a["bbox_mode"]) for a in record["annotations"]] == [(1, 0, 1), (0, 0, 1), (0, 1, 1)]
    size = record["height"], record["width"]
    train, person, crowd = (read_instance(a, *size, "x") for a in record["annotations"])
    assert np.array_equal(train, coco.ids(2) == 302) and np.array_equal(crowd, coco.ids(2) == 9)
    assert isinstance(record["annotations"][1]["segmentation"], list) and np.array_equal(person, coco.ids(2) == 5)


def test_limit_and_category_file(files, tmp_path):
    (tmp_path / "list.json").write_text(json.dumps(coco.CATEGORIES[::-1]))
    for task, names in (("panoptic", ("sky", "train", "person")), ("instance", ("train", "person"))):
        files[task].write_text(files[task].read_text() + "limit: 2\ncategories: list.json\n")
        source = load_dataset(files[task])
        assert source.categories.names == names and len(source.records()) == 2
    known = read_coco_categories(tmp_path / "list.json")
    assert known.numbers == {92: 0, 7: 1, 1: 2} and [c.isthing for c in known.categories.items] == [False, True, True]


def test_a_bare_category_list_of_instances_is_of_things(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"categories": [{"id": 3, "name": "car"}]}))
    assert read_coco_categories(tmp_path / "c.json").categories.items == (Category("car", True),)


def change(path, key, function):
    value = json.loads(path.read_text())
    function(value[key])
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("task", "break_it", "words"),
    [
        ("panoptic", lambda f: (f / "panoptic.json").unlink(), "panoptic.json does not exist"),
        ("panoptic", lambda f: (f / "panoptic.json").write_bytes((f / "panoptic.json").read_bytes()[:500]), "not JSON(.|\n)*truncated"),
        ("panoptic", lambda f: (f / "panoptic.json").write_text("[]"), "lack images"),
        ("panoptic", lambda f: (f / "panoptic.json").write_text('{"images": [], "annotations": []}'), "no category list"),
        ("panoptic", lambda f: (f / "images/000000000285.jpg").unlink(), "1 of 3 images are missing\n.*000000000285.jpg"),
        ("panoptic", lambda f: (f / "panoptic/000000000285.png").unlink(), "1 of 3 panoptic masks are missing\n.*285.png"),
        ("panoptic", lambda f: change(f / "panoptic.json", "annotations", lambda a: a[0]["segments_info"][1].update(category_id=8)),
         "segment 300 of .*panoptic.json, image 139 is of category 8, which is unknown\n.*1, 7, 92"),
        ("panoptic", lambda f: change(f / "panoptic.json", "annotations", lambda a: a[0]["segments_info"][1].pop("bbox")), "lacks bbox"),
        ("panoptic", lambda f: change(f / "panoptic.json", "annotations", lambda a: a[0].update(image_id=5)), "of image 5, which"),
        ("panoptic", lambda f: change(f / "panoptic.json", "images", lambda i: i[0].pop("height")), "an image of .* lacks height"),
        ("panoptic", lambda f: change(f / "panoptic.json", "categories", lambda c: c[0].update(id=7)), "two categories have one id"),
        ("panoptic", lambda f: change(f / "panoptic.json", "annotations", lambda a: a[0]["segments_info"].pop(1)),
         "000000000139.png holds segments that its JSON does not know(.|\n)*id 300 on"),
        ("panoptic", lambda f: (f / "panoptic/000000000139.png").write_bytes(panoptic_png(coco.ids(0)[:, :20])), "differ in size"),
        ("panoptic", lambda f: (f / "panoptic/000000000139.png").write_bytes(b""), "is empty"),
        ("panoptic", lambda f: change(f / "panoptic.json", "images", lambda i: i[0].update(height=21)),
         "139.jpg has another size than its annotations\n.*21 x 28(.|\n)*20 x 28"),
        ("panoptic", lambda f: (f / "panoptic.json").write_bytes((f / "instance.json").read_bytes()), "not panoptic"),
        ("instance", lambda f: (f / "images/000000000139.jpg").unlink(), "1 of 3 images are missing"),
        ("instance", lambda f: change(f / "instance.json", "annotations", lambda a: a[1].update(category_id=90)), "category 90"),
        ("instance", lambda f: change(f / "instance.json", "annotations", lambda a: a[1]["segmentation"].update(size=[20, 27])),
         "has another size(.|\n)*20 x 28(.|\n)*20 x 27"),
        ("instance", lambda f: change(f / "instance.json", "annotations", lambda a: a[1]["segmentation"].update(counts="12")), "is broken"),
        ("instance", lambda f: change(f / "instance.json", "annotations", lambda a: a[2].update(segmentation=[[1, 2, 3]])), "a polygon of"),
        ("instance", lambda f: change(f / "instance.json", "annotations", lambda a: a[2].update(segmentation=3)), "is none"),
        ("instance", lambda f: change(f / "instance.json", "annotations", lambda a: a[2].update(segmentation=[[1, 1, 5, 1, 5, float("nan")]])),
         "a polygon of"),  # pycocotools would take all memory for it
        ("instance", lambda f: change(f / "instance.json", "annotations", lambda a: a[2].update(segmentation=[[1, 1, 1e12, 1, 5, 9]])),
         "a polygon of"),
        ("instance", lambda f: change(f / "instance.json", "annotations", lambda a: a[1].update(bbox=None)), "the box of annotation 1 of"),
        ("instance", lambda f: change(f / "instance.json", "annotations", lambda a: a.append(3)), "lacks image_id"),
        ("panoptic", lambda f: change(f / "panoptic.json", "annotations", lambda a: a[0]["segments_info"][0].update(bbox=[1, 2])),
         "the box of segment 70000 of"),
        ("instance", lambda f: change(f / "instance.json", "annotations", lambda a: a[2].pop("segmentation")), "lacks segmentation"),
        *((task, lambda f, t=task, k=key, u=update: change(f / f"{t}.json", k, u), words) for task in ("panoptic", "instance") for key, update, words in (
            ("annotations", lambda a: a[0].update(image_id=[139]), "lacks image_id, a number"),
            ("annotations", lambda a: a[1].get("segments_info", a[1:])[0].update(category_id=[1]), r"category \[1\], which is unknown"),
            ("annotations", lambda a: a[1].get("segments_info", a[1:])[0].update(iscrowd="no"), "iscrowd of .* is none"),
            ("categories", lambda c: c[0].update(id="1"), "no category list"),
            ("images", lambda i: i[0].update(height=None), "an image of .*json is none(.|\n)*whole pixels"),
            ("images", lambda i: i[0].update(height="20"), "an image of .*json is none"),
            ("images", lambda i: i[0].update(file_name=None), "an image of .*json is none"),
            ("images", lambda i: i[1].update(id=139), "two images have the id 139\n.*139.jpg and 000000000285.jpg"))),
        ("panoptic", lambda f: change(f / "panoptic.json", "annotations", lambda a: a.append(a[0])), "holds 2 annotations of image 139"),
        ("panoptic", lambda f: change(f / "panoptic.json", "annotations", lambda a: a[0]["segments_info"][0].update(id="x")), "has no number"),
    ],
)
def test_bad_coco_files_are_named(files, tmp_path, task, break_it, words):
    break_it(tmp_path)
    with pytest.raises(SegGenError, match=words):
        for record in load_dataset(files[task]).records():
            if task == "panoptic":
                read_panoptic(record)
            for annotation in record.get("annotations", ()):
                read_instance(annotation, record["height"], record["width"], "x")


def test_a_mark_of_crowds_that_is_null_is_none(files, tmp_path):
    change(tmp_path / "instance.json", "annotations", lambda a: [item.update(iscrowd=None) for item in a])
    assert not any(annotation["iscrowd"] for record in load_dataset(files["instance"]).records() for annotation in record["annotations"])


def test_a_polygon_of_two_points_is_left_out_and_said(files, tmp_path, caplog):
    change(tmp_path / "instance.json", "annotations", lambda a: a[2].update(segmentation=[[1, 2, 3, 4]]))
    records = load_dataset(files["instance"]).records()
    assert len(records[0]["annotations"]) == 2 and "annotation 2 of" in caplog.text


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"task": "panoptc"}, "did you mean 'panoptic'"),
        ({"task": "panoptic", "masks": "m"}, "lacks json"),
        ({"masks": "m", "categories": ["a"], "limit": -1}, "limit is out of range"),
        ({"task": "instance", "json": "j", "masks": "m"}, "masks means nothing for task: instance"),
        ({"task": "semantic", "masks": "m"}, "lacks categories"),
        ({"json": "j", "masks": "m", "categories": ["a"]}, "json means nothing for task: semantic"),
        ({"task": "instance", "json": "j", "categories": ["a"]}, "a list of categories means nothing"),
    ],
)
def test_keys_that_do_not_fit_the_task(tmp_path, spec, words):
    (tmp_path / "d.yaml").write_text(yaml.safe_dump({"name": "x", "images": "i", **spec}))
    with pytest.raises(SegGenError, match=words):
        load_dataset(tmp_path / "d.yaml")


def test_semantic_work_refuses_other_tasks(files):
    with pytest.raises(SegGenError, match="for another task\n.*task: semantic\n.*task: panoptic"):
        load_dataset(files["panoptic"], task="semantic")
    source = load_dataset(files["panoptic"])
    with pytest.raises(SegGenError, match="lacks sem_seg_file_name"):
        read_sample(source.records()[0], source.categories)


@needs_coco
def test_the_real_samples_read(tmp_path):
    names = {"panoptic": "panoptic_examples.json", "instance": "panoptic_coco_detection_format.json"}
    records = {}
    for task, json_file in names.items():
        spec = {"name": task, "task": task, "images": str(SHARED / "input_images"), "json": str(SHARED / json_file)}
        spec |= {"masks": str(SHARED / "panoptic_examples")} if task == "panoptic" else {}
        spec |= {"categories": str(SHARED / "panoptic_coco_categories.json")}
        (tmp_path / "d.yaml").write_text(yaml.safe_dump(spec))
        source = load_dataset(tmp_path / "d.yaml")
        assert len(source.categories) == {"panoptic": 133, "instance": 80}[task]
        records[task] = {r["image_id"]: r for r in source.records()}
    assert sum(s["iscrowd"] for r in records["panoptic"].values() for s in r["segments_info"]) == 3
    for image_id, record in records["panoptic"].items():
        image, ids = read_panoptic(record)
        things = [s for s in record["segments_info"] if s["isthing"]]
        objects = records["instance"][image_id]["annotations"]
        assert len(things) == len(objects) and image.shape == read_image(record["file_name"]).shape
        masks = {(a["category_id"], read_instance(a, *ids.shape, "x").tobytes()) for a in objects}
        assert masks == {(s["category_id"], (ids == s["id"]).tobytes()) for s in things}
