"""Toy scenes, in memory and on disk, for the three tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from seggen_d2.bank import Bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.sources import load_dataset, read_image
from seggen_d2.sources.caption_table import read_captions
from seggen_d2.sources.masks import read_labelled
from seggen_d2.sources.toy import CATEGORIES, STUFF, toy_scene
from seggen_d2.sources.toy_folder import FIRST, MOST, write_repainted, write_toy_folder
from seggen_d2.sources.toy_unlabelled import unlabelled_pictures, write_unlabelled
from seggen_d2.sources.toy_unseen import unseen_scene

SCENES = range(40)
ROOT = Path(__file__).parents[1]


def test_a_toy_scene_is_a_function_of_its_number():
    a, b, other = toy_scene(5), toy_scene(5), toy_scene(6)
    assert (a.image == b.image).all() and (a.labels == b.labels).all() and (a.objects == b.objects).all()
    assert a.attributes == b.attributes and not np.array_equal(a.image, other.image)
    assert set(np.unique(a.labels)) <= {*range(len(CATEGORIES)), CATEGORIES.ignore_id}


def test_another_appearance_keeps_the_labels_and_changes_the_look():
    for number in SCENES:
        own, other = toy_scene(number), toy_scene(number, appearance=1)
        assert (own.labels == other.labels).all() and (own.objects == other.objects).all() and own.counts == other.counts
        assert not np.array_equal(own.image, other.image)
    assert any(toy_scene(n).attributes != toy_scene(n, appearance=1).attributes for n in SCENES)


def test_the_three_masks_of_a_scene_say_the_same():
    for scene in map(toy_scene, SCENES):
        things = np.isin(scene.labels, range(len(STUFF), len(CATEGORIES)))
        assert ((scene.objects > 0) == things).all()
        assert (scene.mask("semantic").labels() == scene.labels).all() and (scene.mask("panoptic").labels() == scene.labels).all()
        assert (scene.mask("instance").labels() == np.where(things, scene.labels, CATEGORIES.ignore_id)).all()
        assert sum(CATEGORIES.items[s.category_id].isthing for s in scene.mask("panoptic").segments) == len(scene.mask("instance").objects)


def test_things_of_one_category_that_touch_are_two():
    pairs = [(a, b) for scene in map(toy_scene, SCENES) for a in scene.mask("instance").objects for b in scene.mask("instance").objects
             if a is not b and a.category_id == b.category_id]
    touching = [1 for a, b in pairs if (a.mask[:, 1:] & b.mask[:, :-1]).any()]
    assert touching


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_a_folder_reads_as_the_scenes_that_were_drawn(tmp_path, task):
    source = load_dataset(write_toy_folder(tmp_path, "test", 12, task=task), task)
    kept = CATEGORIES.names[len(STUFF):] if task == "instance" else CATEGORIES.names
    assert source.categories.names == kept and len(source.records()) == 12
    for number, record in enumerate(source.records()):
        scene, (image, mask) = toy_scene(FIRST["test"] + number), read_labelled(record, source)
        assert (image == scene.image).all() and record["attributes"] == scene.attributes
        if task != "instance":
            assert (mask.labels() == scene.labels).all()
            continue
        for found, drawn in zip(mask.objects, scene.mask("instance").objects, strict=True):
            assert found.category_id == drawn.category_id - len(STUFF)
            assert (found.mask | drawn.mask == found.mask).all()  # polygons fill holes


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_an_unseen_folder_has_the_categories_of_the_others_and_another_look(tmp_path, task):
    source, seen = (load_dataset(write_toy_folder(tmp_path / split, split, 8, task=task), task) for split in ("unseen", "test"))
    assert source.name == "toy_unseen" and source.categories == seen.categories and len(source.records()) == 8
    for number, record in enumerate(source.records()):
        scene, (image, mask) = unseen_scene(FIRST["unseen"] + number), read_labelled(record, source)
        assert (image == scene.image).all() and record["attributes"] == scene.attributes
        if task != "instance":
            assert (mask.labels() == scene.labels).all()


def test_an_unseen_scene_is_labelled_as_drawn_and_painted_as_no_labelled_scene_is():
    for number in SCENES[:12]:
        scene, plain = unseen_scene(number), toy_scene(number, world=1)
        assert (scene.labels == plain.labels).all() and (scene.objects == plain.objects).all()
        assert (unseen_scene(number).image == scene.image).all() and scene.image.shape == plain.image.shape
        assert np.abs(scene.image.astype(float) - plain.image).mean() > 10


def test_scenes_of_one_split_never_meet_those_of_another(tmp_path):
    starts = sorted(FIRST.values())
    assert starts[-1] == FIRST["unlabelled"] and min(b - a for a, b in zip(starts, starts[1:], strict=False)) >= MOST
    with pytest.raises(SegGenError, match="count is out of range"):
        write_toy_folder(tmp_path, "train", MOST + 1)
    with pytest.raises(SegGenError, match="split is not known"):
        write_toy_folder(tmp_path, "unsen", 1)
    with pytest.raises(SegGenError, match="split is not known"):  # they have no labels
        write_toy_folder(tmp_path, "unlabelled", 1)


@pytest.mark.parametrize("task", ["semantic", "panoptic"])
def test_repainted_scenes_keep_their_labels_and_tell_their_source(tmp_path, task):
    write_repainted(tmp_path, 3, 3, task=task)
    source = load_dataset(write_repainted(tmp_path, 3, 2, task=task))  # what is left of more looks is no part of it
    assert source.name == "toy_repainted" and [r["image_id"] for r in source.records()] == [f"train_{i:05d}_{k}" for i in range(3) for k in (1, 2)]
    for place, record in enumerate(source.records()):
        image, mask = read_labelled(record, source)
        assert (mask.labels() == toy_scene(FIRST["train"] + place // 2).labels).all()
        assert (image == toy_scene(FIRST["train"] + place // 2, appearance=place % 2 + 1).image).all()


def test_another_labelled_set_has_scenes_of_its_own_and_the_same_test(tmp_path):
    ids = {split: [[r["image_id"] for r in load_dataset(write_toy_folder(tmp_path / f"{split}{n}", split, 3, size=24, labelled_set=n)).records()]
                   for n in (0, 2)] for split in ("train", "oracle", "test")}
    assert ids["train"] == [[f"train_{n + i:05d}" for i in range(3)] for n in (0, 2000)]
    assert not set(ids["oracle"][0]) & set(ids["oracle"][1]) and ids["test"][0] == ids["test"][1]
    write_repainted(tmp_path / "repainted", 1, 1, size=24, labelled_set=2)
    source = load_dataset(tmp_path / "repainted/dataset.yaml")
    assert (read_image(source.records()[0]["file_name"]) == toy_scene(FIRST["train"] + 2000, size=24, appearance=1).image).all()
    for wrong, message in (({"labelled_set": 100}, "labelled_set is out of range"), ({"labelled_set": 1, "count": 1001}, "count is out of range")):
        with pytest.raises(SegGenError, match=message):
            write_toy_folder(tmp_path / "wrong", "train", **({"count": 1} | wrong))


def test_oracle_banks_keep_their_sources(tmp_path):
    write_repainted(tmp_path / "repainted", 3, 2)
    command = [sys.executable, str(ROOT / "tools/import_bank.py"), "--dataset", str(tmp_path / "repainted/dataset.yaml"), "--strategy", "oracle-imgsyn",
               "--source-pattern", r"(.+)_\d+$", "--quality", "100", "--output", str(tmp_path / "bank"), "--licence", "none needed"]
    subprocess.run(command, check=True, capture_output=True)
    records = [bank.record(number) for bank in [Bank(tmp_path / "bank")] for number in range(len(bank))]
    assert [record["source_id"] for record in records] == [f"train_{i:05d}" for i in range(3) for _ in range(2)]
    assert {record["strategy"] for record in records} == {"oracle-imgsyn"}


def test_unlabelled_pictures_have_captions_and_no_labels(tmp_path):
    table = write_unlabelled(tmp_path, 4, size=24)
    assert not list(tmp_path.rglob("*mask*")) and not list(tmp_path.rglob("*attributes*"))
    captions = read_captions(table)
    for i, (image, caption) in enumerate(unlabelled_pictures(4, size=24)):
        scene, name = toy_scene(FIRST["unlabelled"] + i, size=24), f"unlabelled_{i:07d}"
        assert captions[name] == (caption,) and (read_image(tmp_path / "images" / f"{name}.png") == image).all() and (image == scene.image).all()
        assert scene.attributes["scene"] in caption and all(f"{look} {thing}" in caption for thing, look in scene.attributes["categories"].items())
    with pytest.raises(SegGenError, match="count is out of range"):
        write_unlabelled(tmp_path, 0)


def test_the_script_adds_unseen_scenes_and_leaves_the_others_as_they_were(tmp_path):
    def content() -> dict[Path, bytes]:
        words = ["--output", str(tmp_path), "--train", "2", "--test", "2", "--size", "24"]
        subprocess.run([sys.executable, str(ROOT / "datasets/prepare_toy.py"), *words, *extra], check=True, capture_output=True)
        return {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    extra: list[str] = []
    before = content()
    extra = ["--unseen", "3"]
    after = content()
    assert {file.relative_to(tmp_path).parts[0] for file in after.keys() - before.keys()} == {"unseen"}
    assert {file: after[file] for file in before} == before and len(load_dataset(tmp_path / "unseen/dataset.yaml").records()) == 3


def test_written_again_nothing_changes(tmp_path):
    write_toy_folder(tmp_path, "val", 3, task="panoptic")
    before = {path: (path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}
    write_toy_folder(tmp_path, "val", 3, task="panoptic")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_attributes_of_an_unreadable_file_or_task_are_told(tmp_path):
    with pytest.raises(SegGenError, match="task is not known"):
        write_toy_folder(tmp_path, "val", 1, task="depth")
    file = write_toy_folder(tmp_path, "val", 1, task="instance")
    spec = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**spec, "attributes": "gone.json"}))
    with pytest.raises(SegGenError, match="gone.json"):
        load_dataset(file)
