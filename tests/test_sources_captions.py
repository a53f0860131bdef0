"""Folders and toy scenes; and what a bad folder gets."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from PIL import Image

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, Category, label_map_png
from seggen_d2.sources import load_dataset, read_image, read_sample, stem


@pytest.fixture()
def folder(tmp_path):
    """Two photos of 6 x 8 pixels with masks, and their dataset YAML."""
    for i in range(2):
        (tmp_path / "images" / "sub").mkdir(parents=True, exist_ok=True)
        (tmp_path / "masks" / "sub").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), 40 * i, np.uint8)).save(tmp_path / "images" / "sub" / f"{i}.jpg")
        (tmp_path / "masks" / "sub" / f"{i}.png").write_bytes(label_map_png(np.full((6, 8), i)))
    spec = {"name": "mine", "images": "images", "masks": "masks", "categories": ["road", {"name": "car", "isthing": True}], "ignore_id": 9}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(spec))
    return tmp_path


def test_a_folder_reads_as_records(folder):
    source = load_dataset(folder / "dataset.yaml")
    records = source.records()
    assert [r["image_id"] for r in records] == ["sub/0", "sub/1"] and records[0]["height"] == 6 and records[0]["width"] == 8
    assert source.categories == Categories((Category("road"), Category("car", True)), 9)
    image, labels = read_sample(records[1], source.categories)
    assert image.shape == (6, 8, 3) and (labels == 1).all()


def test_a_record_of_a_host_may_hold_two_files_alone():
    assert stem({"file_name": "/x/y/cat.jpg", "sem_seg_file_name": "m"}) == "cat"


@pytest.mark.parametrize("break_it,message", [
    (lambda f: (f / "masks/sub/0.png").unlink(), "1 of 2 images have no mask"),
    (lambda f: (f / "masks/sub/0.png").write_bytes(b""), "is empty"),
    (lambda f: (f / "masks/sub/0.png").write_bytes(label_map_png(np.full((6, 8), 5))), "id 5 on 48 pixels"),
    (lambda f: (f / "masks/sub/0.png").write_bytes(label_map_png(np.zeros((6, 9), int))), "differ in size"),
    (lambda f: (f / "images/sub/0.jpg").write_bytes((f / "images/sub/0.jpg").read_bytes()[:200]), "cannot be read"),
    (lambda f: (f / "images/sub/0.jpg").write_bytes(b"no image"), "cannot be read"),
    (lambda f: (f / "dataset.yaml").write_text("name: x\nimages: nowhere\nmasks: masks\ncategories: [a]"), "does not exist"),
    (lambda f: (f / "dataset.yaml").write_text("name: x\nimages: masks\nmask: masks\ncategories: [a]"), "did you mean 'masks'"),
    (lambda f: (f / "dataset.yaml").write_text("name: x\nimages: images\nmasks: masks\ncategories: 3"), "wrong type"),
    (lambda f: (f / "dataset.yaml").write_text(""), "is empty"),
])
def test_a_bad_folder_is_named(folder, break_it, message):
    break_it(folder)
    with pytest.raises(SegGenError, match=message):
        source = load_dataset(folder / "dataset.yaml")
        for record in source.records():
            read_sample(record, source.categories)


def test_a_missing_image_names_its_neighbours(folder):
    with pytest.raises(SegGenError, match="0.jpg, 1.jpg"):
        read_image(folder / "images" / "sub" / "2.jpg")
