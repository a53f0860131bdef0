"""Banks and folders as Detectron2 datasets: names, metadata, label spaces, lazily read records, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from bank_samples import CATEGORIES, info
from bank_samples import write_bank as write_small_bank
from detectron2.data import (
    DatasetCatalog,
    DatasetFromList,
    MetadataCatalog,
    detection_utils,
    get_detection_dataset_dicts,
)
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from seggen_d2.bank import BankWriter
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin import categories_like, register_all, register_bank, register_folder
from seggen_d2.plugin.data import registration
from seggen_d2.plugin.data.bench_registration import registration_rows
from seggen_d2.segmentation import Categories, Category, default_palette, label_map_png
from seggen_d2.sources import load_dataset


def fresh(word: str = "data") -> str:
    return f"{word}_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def like(tmp_path):
    """A registered semantic dataset with the label space of the small banks."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    name = fresh()
    register_folder(name, tmp_path / "images", tmp_path / "masks", CATEGORIES)
    return name


@pytest.fixture
def bank(tmp_path):
    root = tmp_path / fresh("bank")
    write_small_bank(root)
    return root


def empty_bank(root, task, categories):
    BankWriter(root, info(task=task, categories=categories, palette=default_palette(len(categories))))
    return root


def test_a_bank_is_a_dataset_with_its_likes_metadata_and_none_of_its_files(like, bank):
    name = fresh()
    register_bank(name, bank, like=like)
    theirs, ours = (MetadataCatalog.get(n).as_dict() for n in (like, name))
    assert {"image_root", "sem_seg_root"} <= set(theirs) and not {"image_root", "sem_seg_root"} & set(ours)
    assert {key: ours[key] for key in ("stuff_classes", "ignore_label", "evaluator_type")} == {
        "stuff_classes": ["sky", "road", "car"],
        "ignore_label": 255,
        "evaluator_type": "sem_seg",
    }
    records = get_detection_dataset_dicts(name)
    assert isinstance(records, Dataset) and not isinstance(records, DatasetFromList) and len(records) == 6
    assert detection_utils.read_image(records[5]["file_name"], "RGB").shape == (16, 16, 3)
    assert set(np.unique(detection_utils.read_image(records[0]["sem_seg_file_name"]))) <= {0, 1, 2, 255}
    assert [record["image_id"] for record in records] == [f"imgsyn-{i:09d}" for i in range(6)]  # and iteration ends


def test_the_same_again_is_fine_and_another_under_its_name_is_not(like, bank, tmp_path):
    name = fresh()
    register_bank(name, bank, like=like)
    register_bank(name, bank, like=like)
    shutil.copytree(bank, tmp_path / "copy")
    with pytest.raises(SegGenError, match="another dataset is registered") as error:
        register_bank(name, tmp_path / "copy", like=like)
    assert str(bank) in error.value.expected and "copy" in error.value.found


def test_the_same_again_is_fine_after_a_project_changed_the_metadata(like, bank):
    """As Mask2Former does to COCO's panoptic names when it is imported."""
    name = fresh()
    register_bank(name, bank, like=like)
    MetadataCatalog.get(like).set(thing_classes=["car"])
    register_bank(name, bank, like=like)


def test_an_unknown_like_names_the_nearest(bank):
    with pytest.raises(SegGenError, match="did you mean 'ade20k_sem_seg_train'"):
        register_bank(fresh(), bank, like="ade20k_semseg_train")


@pytest.mark.parametrize("there", [True, False])
def test_a_path_without_a_bank_is_told(like, tmp_path, there):
    root = tmp_path / "nothing"
    if there:
        root.mkdir()
    with pytest.raises(SegGenError, match="no bank at") as error:
        register_bank(fresh(), root, like=like)
    assert error.value.found == ("a folder without it" if there else "no such folder")


def test_a_difference_in_the_label_space_is_listed(like, tmp_path):
    other = Categories((Category("sky"), Category("street"), Category("car", isthing=True)), ignore_id=254)
    with pytest.raises(SegGenError, match="id 1: 'road'.* against 'street'.*ignore label: 255 against 254") as error:
        register_bank(fresh(), empty_bank(tmp_path / "b", "semantic", other), like=like)
    assert "to the letter" in error.value.remedy


def test_the_order_of_categories_counts(like, tmp_path):
    turned = Categories(CATEGORIES.items[::-1])
    with pytest.raises(SegGenError, match="id 0: 'sky'.* against 'car'"):
        register_bank(fresh(), empty_bank(tmp_path / "b", "semantic", turned), like=like)


@pytest.mark.parametrize(
    ("like", "task"),
    [("ade20k_sem_seg_train", "semantic"), ("coco_2017_train_panoptic", "panoptic"), ("coco_2017_train", "instance")],
)
def test_detectron2s_own_datasets_take_banks_of_their_label_space(tmp_path, like, task):
    wanted = categories_like(like)
    register_bank(fresh(), empty_bank(tmp_path / "good", task, wanted), like=like)
    if task != "semantic":
        turned = [Category(item.name, not item.isthing) for item in wanted.items[:1]]
        with pytest.raises(SegGenError, match=r"id 0: 'person' \(thing\) against 'person' \(stuff\)"):
            register_bank(fresh(), empty_bank(tmp_path / "b", task, Categories((*turned, *wanted.items[1:]))), like=like)


def test_coco_panoptic_has_80_things_and_53_stuff():
    categories = categories_like("coco_2017_train_panoptic")
    assert [item.isthing for item in categories.items] == [True] * 80 + [False] * 53


def test_a_dataset_with_two_numberings_takes_no_panoptic_bank(tmp_path):
    separated = "coco_2017_train_panoptic_separated"
    names = Categories.from_names(MetadataCatalog.get(separated).stuff_classes)
    with pytest.raises(SegGenError, match="does not give each category its id"):
        register_bank(fresh(), empty_bank(tmp_path / "b", "panoptic", names), like=separated)


def test_register_all_takes_what_is_there_and_says_so(tmp_path, caplog, monkeypatch):
    name = "seggen_ade20k_sem_seg_train_imgsyn"
    empty_bank(tmp_path / name, "semantic", categories_like("ade20k_sem_seg_train"))
    monkeypatch.setattr(registration, "_searched", [])
    with caplog.at_level("INFO", "seggen_d2"):
        assert register_all(tmp_path) == [name] and register_all(tmp_path) == [name]
    try:
        assert name in caplog.text and registration.bank_root(name) == (tmp_path / name).resolve()
        with pytest.raises(SegGenError, match="neither a registered bank nor a folder") as error:
            registration.bank_root("seggen_ade20k_sem_seg_train_masksyn")
        assert str(tmp_path) in error.value.found and "BANK_ROOT" in error.value.remedy
        with pytest.raises(SegGenError, match=f"did you mean {name!r}"):
            registration.bank_root("seggen_ade20k_sem_seg_train_imgsin")
    finally:
        DatasetCatalog.remove(name), MetadataCatalog.remove(name)


def test_register_all_leaves_a_misfit_out_until_it_is_named(tmp_path, caplog, monkeypatch):
    good, bad = (f"seggen_ade20k_sem_seg_train_{kind}" for kind in ("imgsyn", "masksyn"))
    empty_bank(tmp_path / good, "semantic", categories_like("ade20k_sem_seg_train"))
    empty_bank(tmp_path / bad, "semantic", CATEGORIES)
    monkeypatch.setattr(registration, "_searched", [])
    monkeypatch.setattr(registration, "_left_out", {})
    try:
        assert register_all(tmp_path) == [good] == register_all(tmp_path)
        assert caplog.text.count(f"{bad} is left out") == 1 and "id 0: 'wall'" in caplog.text
        for naming in (registration.bank_root, lambda name: registration.check_registered([name], "DATASETS.TRAIN")):
            with pytest.raises(SegGenError, match="id 0: 'wall'"):
                naming(bad)
        shutil.rmtree(tmp_path / bad)
        empty_bank(tmp_path / bad, "semantic", categories_like("ade20k_sem_seg_train"))
        assert registration.bank_root(bad) == (tmp_path / bad).resolve()
        shutil.copytree(tmp_path / bad, tmp_path / "second" / bad)
        with pytest.raises(SegGenError, match="another dataset is registered"):
            register_all(tmp_path / "second")
    finally:
        for name in (good, bad):
            if name in DatasetCatalog:
                DatasetCatalog.remove(name), MetadataCatalog.remove(name)


def test_register_all_wants_a_folder(tmp_path):
    with pytest.raises(SegGenError, match="does not exist"):
        register_all(tmp_path / "nowhere")


def test_a_dataset_that_is_not_registered_names_the_nearest():
    with pytest.raises(SegGenError, match="did you mean 'coco_2017_train_panoptic'"):
        registration.check_registered(["coco_2017_train_panoptics"], "DATASETS.TRAIN")


def test_a_real_dataset_is_no_bank():
    with pytest.raises(SegGenError, match="is no bank"):
        registration.bank_root("ade20k_sem_seg_train")


def test_register_folder_wants_folders_and_categories(tmp_path):
    with pytest.raises(SegGenError, match="does not exist"):
        register_folder(fresh(), tmp_path / "a", tmp_path / "b", ["sky"])
    with pytest.raises(SegGenError, match="no category"):
        register_folder(fresh(), tmp_path, tmp_path, [3])


def first_pixel(record):
    image = detection_utils.read_image(record["file_name"], "RGB")
    return [record["image_id"], image[0, 0].tolist()]


class Read(Dataset):
    """Reads a bank's images through Detectron2, wherever it is asked for."""

    def __init__(self, records):
        self.records = records

    def __len__(self):
        return len(self.records)

    def __getitem__(self, number):
        return first_pixel(self.records[number])


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_the_bank_however_they_were_started(like, bank, start):
    name = fresh()
    register_bank(name, bank, like=like)
    records = DatasetCatalog.get(name)
    loader = DataLoader(
        Read(records),
        num_workers=1 if start == "spawn" else 2,
        multiprocessing_context=start,
        batch_size=None,
        generator=torch.Generator(),
    )
    assert list(loader) == [first_pixel(record) for record in records]


COCO = Path(__file__).parents[3] / "shared" / "data" / "coco_sample"


def write_coco_yaml(root, task):
    """The COCO samples' dataset.yaml for a task, under a fresh name; both."""
    json = {"panoptic": "panoptic_examples.json", "instance": "panoptic_coco_detection_format.json"}[task]
    name = fresh("coco")
    keys = {"name": name, "task": task, "images": str(COCO / "input_images"), "json": str(COCO / json)}
    if task == "panoptic":
        keys["masks"] = str(COCO / "panoptic_examples")
    else:
        keys["categories"] = str(COCO / "panoptic_coco_categories.json")  # the JSON does not tell things from stuff
    (root / f"{task}.yaml").write_text(yaml.safe_dump(keys))
    return root / f"{task}.yaml", name


@pytest.mark.skipif(not COCO.is_dir(), reason="the COCO samples are not there")
@pytest.mark.parametrize(("task", "like"), [("panoptic", "coco_2017_train_panoptic"), ("instance", "coco_2017_train")])
def test_a_coco_dataset_file_gives_detectron2s_own_metadata(tmp_path, task, like):
    path, name = write_coco_yaml(tmp_path, task)
    registration.register_source(load_dataset(path))
    ours, theirs = (MetadataCatalog.get(n).as_dict() for n in (name, like))
    assert ours["thing_classes"] == theirs["thing_classes"][:80]  # all 133 until Mask2Former is imported
    for key in ("stuff_classes", "thing_dataset_id_to_contiguous_id",
                "stuff_dataset_id_to_contiguous_id", "ignore_label", "label_divisor", "evaluator_type"):
        assert ours.get(key) == theirs.get(key), key
    records = DatasetCatalog.get(name)
    assert len(records) == 2 and ("segments_info" if task == "panoptic" else "annotations") in records[0]


def test_a_large_bank_costs_a_loader_next_to_nothing():
    opened, *workers = registration_rows(40_000)
    assert opened["value"] < 1 and opened["ratio"] < 0.5
    assert len(workers) == 2 and all(worker["value"] < 64 and worker["ratio"] < 0.5 for worker in workers)


def test_an_import_of_ade20ks_own_masks_without_reduce_zero_is_warned_of(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (16, 12)).save(tmp_path / "images/a.jpg")
    (tmp_path / "masks/a.png").write_bytes(label_map_png(np.arange(192, dtype=np.uint8).reshape(12, 16) % 150))
    words = ["--images", tmp_path / "images", "--masks", tmp_path / "masks", "--like", "ade20k_sem_seg_train"]
    tool = Path(__file__).parents[2] / "tools/import_bank.py"
    line = [sys.executable, tool, *words, "--output", tmp_path / "bank"]
    raw, right = (subprocess.run([*line, *more], capture_output=True, text=True) for more in ([], ["--reduce-zero"]))
    assert raw.returncode == 0 and "warning: ADE20K" in raw.stderr and "--reduce-zero" in raw.stderr
    assert "warning: ADE20K" not in right.stderr
