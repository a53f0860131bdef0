"""A dataset in another's label space: the labels pixel by pixel, what is told, and what is never touched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import coco_samples as coco
import numpy as np
import pytest
import yaml
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.options import read_yaml
from seggen_d2.segmentation import Categories
from seggen_d2.sources import load_dataset
from seggen_d2.sources.masks import read_mask
from seggen_d2.sources.preparing.class_map import read_class_map, write_template
from seggen_d2.sources.preparing.mapped import map_classes
from seggen_d2.sources.toy import CATEGORIES
from seggen_d2.sources.toy_folder import write_toy_folder

ROOT = Path(__file__).parents[1]
OURS = [{"id": 3, "name": "above", "isthing": 1}, {"id": 9, "name": "ground", "isthing": 0}, {"id": 11, "name": "vehicle", "isthing": 1},
        {"id": 40, "name": "ship", "isthing": 1}, {"id": 41, "name": "house", "isthing": 0}]
TABLE = {"sky": "above", "grass": "ground", "road": "ground", "water": None, "house": "house", "tree": None, "car": "vehicle", "balloon": "above"}
IGNORE = 200  # of our label maps


def write_ours(folder: Path, task: str) -> Path:
    """A training set of other categories, their numbers with gaps."""
    file = write_toy_folder(folder, "train", 1, task=task, size=24)
    if task == "semantic":
        names = [{"name": c["name"], "isthing": bool(c["isthing"])} for c in OURS]
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "categories": names, "ignore_id": IGNORE}))
        return file
    value = json.loads((folder / "annotations.json").read_text())
    (folder / "annotations.json").write_text(json.dumps({**value, "categories": OURS, "annotations": []}))
    return file


def write_all(root: Path, theirs: str, ours: str, table: dict, count: int = 6) -> tuple[Path, Path, Path]:
    """Their dataset, ours, and the mapping."""
    (root / "map.yaml").write_text(yaml.safe_dump(table))
    return write_toy_folder(root / "theirs", "test", count, task=theirs), write_ours(root / "ours", ours), root / "map.yaml"


def expected(labels: np.ndarray, names: tuple[str, ...], ignore_id: int) -> np.ndarray:
    """Labels of toy categories ``names``, mapped by ``TABLE``."""
    ours = [c["name"] for c in OURS]
    made = np.full(labels.shape, ignore_id)
    for number, name in enumerate(names):
        if TABLE[name]:
            made[labels == number] = ours.index(TABLE[name])
    return made


@pytest.mark.parametrize("theirs, ours", [("semantic", "semantic"), ("panoptic", "panoptic"), ("panoptic", "semantic")])
def test_labels_are_mapped_pixel_by_pixel(tmp_path, theirs, ours):
    file, like, table = write_all(tmp_path, theirs, ours, TABLE)
    made = map_classes(file, like, table, tmp_path / "out")
    before, after = load_dataset(file), load_dataset(made.file("dataset"), ours)
    assert after.name == "toy_test_mapped" and after.categories == load_dataset(like).categories
    for a, b in zip(before.records(), after.records(), strict=True):
        wanted = expected(read_mask(a, before).labels(), CATEGORIES.names, IGNORE if ours == "semantic" else 255)
        assert np.array_equal(read_mask(b, after).labels(), wanted) and Path(a["file_name"]).samefile(b["file_name"])
    assert "2 of its categories are none of ours: water, tree" in str(made) and "1 of ours are none of its: ship" in str(made)


def test_segments_keep_their_ids_stuff_is_joined_and_what_was_stuff_is_a_crowd_of_things(tmp_path):
    file, like, table = write_all(tmp_path, "panoptic", "panoptic", TABLE, count=12)
    made = map_classes(file, like, table, tmp_path / "out")
    before, after = load_dataset(file), load_dataset(made.file("dataset"))
    assert after.numbers == {c["id"]: place for place, c in enumerate(OURS)}
    joined = 0
    for a, b in zip(before.records(), after.records(), strict=True):
        old, new = read_mask(a, before), read_mask(b, after)
        names = {segment.id: CATEGORIES.names[segment.category_id] for segment in old.segments}
        assert {s.id for s in new.segments} <= set(names)
        stuff = [s.category_id for s in new.segments if not after.categories.items[s.category_id].isthing]
        assert len(stuff) == len(set(stuff))
        joined += sum(TABLE[name] == "ground" for name in names.values()) > 1
        for info in b["segments_info"]:
            pixels = new.ids == info["id"]
            rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
            assert info["area"] == pixels.sum()
            assert info["bbox"] == [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
            assert info["iscrowd"] == (names[info["id"]] == "sky")
            if names[info["id"]] in ("car", "balloon"):
                assert np.array_equal(pixels, old.ids == info["id"])
    assert joined and "sky (above)" in str(made)


def test_objects_of_none_of_ours_are_left_out_and_the_others_are_as_they_were(tmp_path):
    things = {name: TABLE[name] for name in ("house", "tree", "car", "balloon")} | {"house": "ship"}
    file, like, table = write_all(tmp_path, "instance", "instance", things)
    made = map_classes(file, like, table, tmp_path / "out", name="strange")
    before, after = load_dataset(file), load_dataset(made.file("dataset"), "instance")
    assert after.name == "strange" and after.categories.names == ("above", "vehicle", "ship")
    for a, b in zip(before.records(), after.records(), strict=True):
        kept = [(things[before.categories.names[o.category_id]], o.mask) for o in read_mask(a, before).objects
                if things[before.categories.names[o.category_id]]]
        found = [(after.categories.names[o.category_id], o.mask) for o in read_mask(b, after).objects]
        assert [name for name, _ in kept] == [name for name, _ in found]
        assert all(np.array_equal(x, y) for (_, x), (_, y) in zip(kept, found, strict=True))


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_a_dataset_that_is_mapped_to_itself_stays_as_it_is(tmp_path, task):
    """Crowds, holes and run-length masks too."""
    file = coco.write_coco(tmp_path)[task]
    file.write_text(file.read_text() + "limit: 2\n")
    write_template(tmp_path / "map.yaml", load_dataset(file).categories, load_dataset(file).categories)
    after, before = load_dataset(map_classes(file, file, tmp_path / "map.yaml", tmp_path / "out").file("dataset")), load_dataset(file)
    assert (after.categories, after.numbers) == (before.categories, before.numbers)
    plain = [[{key: value for key, value in record.items() if "file_name" not in key} for record in s.records()] for s in (before, after)]
    assert plain[0] == plain[1] and len(plain[0]) == 2
    if task == "panoptic":
        assert all((read_mask(a, before).ids == read_mask(b, after).ids).all() for a, b in zip(before.records(), after.records(), strict=True))


def test_a_second_time_nothing_is_done_and_a_json_that_is_mended_counts(tmp_path):
    file, like, table = write_all(tmp_path, "panoptic", "panoptic", TABLE)
    made = map_classes(file, like, table, tmp_path / "out", workers=2)
    times = {path: path.stat().st_ctime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert map_classes(file, like, table, tmp_path / "out").done_before == ("dataset",)
    assert times == {path: path.stat().st_ctime_ns for path in times} and len(times) == 6
    value = json.loads((tmp_path / "theirs/annotations.json").read_text())
    for annotation in value["annotations"]:  # grass was water all the time, which is none of ours
        for segment in annotation["segments_info"]:
            segment["category_id"] = 4 if segment["category_id"] == 2 else segment["category_id"]
    (tmp_path / "theirs/annotations.json").write_text(json.dumps(value))
    map_classes(file, like, table, tmp_path / "out")
    before, after = load_dataset(file), load_dataset(made.file("dataset"))
    for a, b in zip(before.records(), after.records(), strict=True):
        assert np.array_equal(read_mask(b, after).labels(), expected(read_mask(a, before).labels(), CATEGORIES.names, 255))
    table.write_text(yaml.safe_dump({**TABLE, "tree": "ground"}))
    with pytest.raises(SegGenError, match="begun with other options(.|\n)*'tree': 'ground'"):
        map_classes(file, like, table, tmp_path / "out")


def test_ids_outside_their_label_space_never_become_ours(tmp_path):
    file, like, table = write_all(tmp_path, "semantic", "semantic", {"sky": "above", "rest": "ground"})
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "categories": ["sky", "rest"]}))
    with pytest.raises(SegGenError, match="of 6 masks cannot be used(.|\n)*unknown ids"):
        map_classes(file, like, table, tmp_path / "out")
    assert not (tmp_path / "out/dataset.yaml").exists()


def test_bad_maps_are_told(tmp_path):
    theirs, ours = Categories.from_names(["road", "lane-mark", "no"]), Categories.from_names(["Road", "lane mark", "sky"])
    path = tmp_path / "map.yaml"
    faults = {"road: Road\n": "lacks 2 of the dataset's 3(.|\n)*\"lane-mark\": \"lane mark\"\n\"no\": null  # decide",
              "road: Raod\nlane-mark: sky\n'no': null\n": "names 'Raod'(.|\n)*did you mean 'Road'",
              "raod: Road\n": "names 'raod'(.|\n)*did you mean 'road'",
              "road: Road\nlane-mark: sky\nno: null\n": "no mapping of categories(.|\n)*quotes",
              "[road, sky]": "no mapping of categories",
              "road: null\nlane-mark: null\n'no': null\n": "maps no category"}
    for text, words in faults.items():
        path.write_text(text)
        with pytest.raises(SegGenError, match=words):
            read_class_map(path, theirs, ours)
    with pytest.raises(SegGenError, match="is there already"):
        write_template(path, theirs, ours)
    path.unlink()
    assert write_template(path, theirs, ours) == 1
    assert read_yaml(path) == {"road": "Road", "lane-mark": "lane mark", "no": None} and read_class_map(path, theirs, ours).targets == (0, 1, -1)


def test_tasks_that_do_not_go_together_and_folders_that_hold_what_is_given(tmp_path):
    file, like, table = write_all(tmp_path, "semantic", "panoptic", TABLE)
    other = write_toy_folder(tmp_path / "other", "val", 1, size=24)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SegGenError, match="do not go together(.|\n)*panoptic from semantic"):
        map_classes(file, like, table, tmp_path / "out")
    with pytest.raises(SegGenError, match="holds files of dataset"):
        map_classes(file, file, table, tmp_path / "theirs")
    with pytest.raises(SegGenError, match="holds files of dataset"):
        map_classes(other, file, table, tmp_path / "theirs")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_the_script_writes_a_template_that_serves_once_it_is_decided(tmp_path):
    file, like, table = write_all(tmp_path, "semantic", "semantic", TABLE)
    table.unlink()
    command = [sys.executable, "datasets/map_classes.py", "--dataset", str(file), "--like", str(like), "--classes", str(table)]
    told = subprocess.run([*command, "--template"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "7 categories to decide" in told.stdout and read_yaml(table)["house"] == "house"
    table.write_text(table.read_text().replace('"car": null  # decide', "car: vehicle"))
    done = subprocess.run([*command, "--output", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "6 photos, 5 categories, semantic" in done.stdout and "note: 6 of its categories are none of ours" in done.stdout
    mask = np.asarray(Image.open(next((tmp_path / "out/masks").glob("*.png"))))
    assert set(np.unique(mask)) <= {2, 4, IGNORE}
