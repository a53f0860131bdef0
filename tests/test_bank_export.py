"""Banks written out, each format opened by the library that it is for."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import coco_samples as coco
import numpy as np
import pytest
from bank_samples import CATEGORIES, info, labels, sample, write_bank
from PIL import Image

from seggen_d2.bank import Bank, BankWriter, ExportOptions, export_bank, import_bank
from seggen_d2.bank.export import folders, members
from seggen_d2.foundation import files
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, default_palette, label_map_png, read_label_map
from seggen_d2.segmentation.panoptic import read_panoptic_png
from seggen_d2.segmentation.rle import decode_mask
from seggen_d2.sources import load_dataset, read_sample


@pytest.fixture
def bank(tmp_path):
    """Six semantic samples of 16 x 16 pixels in two shards."""
    write_bank(tmp_path / "bank")
    opened = Bank(tmp_path / "bank", check=True)
    yield opened
    opened.close()


@pytest.fixture
def coco_banks(tmp_path):
    """``{task: bank}`` of small COCO samples, crowds among them."""
    found = {}
    for task, file in coco.write_coco(tmp_path / "coco").items():
        import_bank(load_dataset(file), tmp_path / task)
        found[task] = Bank(tmp_path / task)
    yield found
    for opened in found.values():
        opened.close()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_ade20k_folders_hold_the_members_and_read_as_a_dataset(bank, tmp_path):
    source = load_dataset(export_bank(bank, tmp_path / "out", ExportOptions("ade20k", split="training")))
    assert source.categories == CATEGORIES
    for number, record in enumerate(source.records()):
        assert record["image_id"] == sample(number).key and "images/training" in record["file_name"]
        assert Path(record["file_name"]).read_bytes() == sample(number).image
        assert np.array_equal(read_sample(record, CATEGORIES)[1], labels(number))
    assert (tmp_path / "out" / "categories.txt").read_text().splitlines()[2] == "2 car"


def test_shifted_masks_are_as_ade20k_publishes_them(bank, tmp_path):
    source = load_dataset(export_bank(bank, tmp_path / "out", ExportOptions("ade20k", shift=1)))
    assert source.categories.names == ("ignored", "sky", "road", "car")
    for number, record in enumerate(source.records()):
        ids = read_label_map(record["sem_seg_file_name"]).astype(int)
        assert np.array_equal(np.where(ids == 0, 255, ids - 1), labels(number))


def test_licences_lie_beside_each_export(bank, tmp_path):
    for kind in ("ade20k", "coco", "webdataset", "parquet"):
        export_bank(bank, tmp_path / kind, ExportOptions(kind))
        told = json.loads((tmp_path / kind / "LICENCES.json").read_text())
        assert told["licences"] == {"mask2img": "Apache-2.0"} and told["models"][0]["fingerprint"] == "0123456789abcdef"
    assert "- mask2img: Apache-2.0" in (tmp_path / "parquet" / "README.md").read_text()


@pytest.mark.parametrize("kind", ["ade20k", "coco", "webdataset", "parquet"])
def test_a_stopped_export_goes_on_and_ends_the_same(bank, tmp_path, kind, monkeypatch):
    options = ExportOptions(kind, **({"file_bytes": 1500} if kind == "parquet" else {}))
    export_bank(bank, tmp_path / "whole", options)
    whole = tree(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    lost = [name for name in whole if name.endswith((".jpg", ".tar", ".parquet"))][1]
    for name in (lost, "dataset.yaml", "README.md", "dataset.json"):
        (tmp_path / "cut" / name).unlink(missing_ok=True)
    (tmp_path / "cut" / f"{lost}.part").write_bytes(b"half")
    empty = [name for name in whole if name.endswith((".jpg", ".tar", ".parquet"))][0]
    (tmp_path / "cut" / empty).write_bytes(b"")  # as a machine leaves it that lost its power
    whole_files = [name for name in tree(tmp_path / "cut") if name.endswith((".jpg", ".png", ".tar", ".parquet")) and name != empty]
    kept = {name: (tmp_path / "cut" / name).stat().st_mtime_ns for name in whole_files}
    export_bank(bank, tmp_path / "cut", options)
    after = tree(tmp_path / "cut")
    assert {name: data for name, data in after.items() if not name.endswith(".part")} == whole
    assert all((tmp_path / "cut" / name).stat().st_mtime_ns == time for name, time in kept.items())


def test_panoptic_json_reads_as_cocos(coco_banks, tmp_path):
    bank = coco_banks["panoptic"]
    export_bank(bank, tmp_path / "out", ExportOptions("coco", split="val"))
    value = json.loads((tmp_path / "out" / "annotations" / "panoptic_val.json").read_text())
    assert set(value) == {"info", "images", "annotations", "categories"} and [c["id"] for c in value["categories"]][:2] == [1, 2]
    for image, annotation in zip(value["images"], value["annotations"], strict=True):
        ids = read_panoptic_png(tmp_path / "out" / "panoptic" / "val" / annotation["file_name"])
        assert image["id"] == annotation["image_id"] and ids.shape == (image["height"], image["width"])
        assert {s["id"] for s in annotation["segments_info"]} == set(np.unique(ids)) - {0}


@pytest.mark.parametrize("masks", ["polygons", "rle"])
def test_pycocotools_reads_instances(coco_banks, tmp_path, masks):
    COCO = pytest.importorskip("pycocotools.coco").COCO
    bank = coco_banks["instance"]
    export_bank(bank, tmp_path / "out", ExportOptions("coco", masks=masks))
    read = COCO(str(tmp_path / "out" / "annotations" / "instances_train.json"))
    crowds = 0
    for number in range(len(bank)):
        record, found = bank.record(number), read.loadAnns(read.getAnnIds(imgIds=number + 1))
        assert read.imgs[number + 1]["file_name"] == f"{record['image_id']}.jpg"
        for ours, theirs in zip(record["annotations"], found, strict=True):
            crowds += theirs["iscrowd"]
            exact = decode_mask(ours["rle"], "x")
            assert theirs["category_id"] == ours["category_id"] + 1 and isinstance(theirs["segmentation"], dict) == (masks == "rle" or bool(ours["iscrowd"]))
            overlap = np.logical_and(exact, read.annToMask(theirs)).sum() / np.logical_or(exact, read.annToMask(theirs)).sum()
            assert overlap == 1 if isinstance(theirs["segmentation"], dict) else overlap > 0.7
    assert crowds


def test_pycocotools_reads_semantic_masks_as_stuff(bank, tmp_path):
    COCO = pytest.importorskip("pycocotools.coco").COCO
    file = export_bank(bank, tmp_path / "out", ExportOptions("coco"))
    assert file.name == "stuff_train.json"
    read = COCO(str(file))
    for number in range(len(bank)):
        ids = np.full((16, 16), 255)
        for annotation in read.loadAnns(read.getAnnIds(imgIds=number + 1)):
            ids[read.annToMask(annotation) == 1] = annotation["category_id"] - 1
        assert np.array_equal(ids, labels(number))


def test_webdataset_reads_the_shards(bank, tmp_path):
    wds = pytest.importorskip("webdataset")
    folder = export_bank(bank, tmp_path / "out", ExportOptions("webdataset"))
    facts = json.loads((folder / "dataset.json").read_text())
    rows = list(wds.WebDataset([str(folder / name) for name in facts["shards"]], shardshuffle=False))
    assert [row["__key__"] for row in rows] == [sample(n).key for n in range(6)] and facts["samples"] == 6
    for number, row in enumerate(rows):
        assert row["jpg"] == sample(number).image and np.array_equal(read_label_map(row["png"]), labels(number))
        assert json.loads(row["json"])["caption"] == sample(number).caption


def test_the_recipe_for_webdataset_keeps_ids_past_255(tmp_path, monkeypatch):
    pytest.importorskip("webdataset")
    wide = Categories.from_names((f"class {number}" for number in range(300)), ignore_id=65535)
    ids = np.arange(44, 300).reshape(16, 16)
    made = sample(0, mask=label_map_png(ids), histogram=np.bincount(ids.ravel(), minlength=300))
    BankWriter(tmp_path / "bank", info(categories=wide, palette=default_palette(300))).write_shard("imgsyn-00000", [made])
    bank = Bank(tmp_path / "bank")
    export_bank(bank, tmp_path / "out" / "wds", ExportOptions("webdataset"))
    bank.close()
    monkeypatch.chdir(tmp_path)
    told = (Path(__file__).parents[1] / "docs" / "export.md").read_text().split("```python\n")[1:]
    names: dict = {}
    exec(next(part.split("```")[0] for part in told if "wds.WebDataset" in part), names)
    image, mask, facts = next(iter(names["samples"]))
    assert image.size == (16, 16) and np.array_equal(mask, ids) and facts["caption"] == made.caption


def test_datasets_reads_the_tables(bank, coco_banks, tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = export_bank(bank, tmp_path / "out", ExportOptions("parquet", file_bytes=1500))
    assert len(list((folder / "data").iterdir())) > 1
    read = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert read.features["image"] == datasets.Image() and len(read) == 6
    for number, row in enumerate(read):
        assert row["caption"] == sample(number).caption and row["seed"] == sample(number).seed and row["image"].size == (16, 16)
        assert np.array_equal(np.asarray(row["mask"]), labels(number))
    bank = coco_banks["instance"]
    folder = export_bank(bank, tmp_path / "objects", ExportOptions("parquet", split=""))
    row = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))[0]
    assert json.loads(row["annotations"])[0]["rle"] == bank.record(0)["annotations"][0]["rle"]


def damage(bank: Bank) -> None:
    """One byte of the second image is turned over."""
    row = bank.find(bank.key(1))
    with open(bank.root / "shards" / f"{bank.shards[0]}.tar", "r+b") as tar:
        tar.seek(row.jpg_offset + 20)
        byte = tar.read(1)[0]
        tar.seek(row.jpg_offset + 20)
        tar.write(bytes([byte ^ 255]))


@pytest.mark.parametrize("kind", ["ade20k", "coco", "webdataset", "parquet"])
def test_damage_is_named_and_not_passed_on(bank, tmp_path, kind):
    damage(bank)
    with pytest.raises(SegGenError, match=bank.key(1)):
        export_bank(bank, tmp_path / "out", ExportOptions(kind))
    assert not [name for name in tree(tmp_path / "out") if name.endswith((f"{bank.key(1)}.jpg", f"{bank.shards[0]}.tar", ".parquet", ".part"))]


def test_an_unchecked_export_is_the_same(bank, tmp_path):
    unchecked = Bank(bank.root, "unchecked")
    for kind in ("ade20k", "webdataset"):
        export_bank(bank, tmp_path / kind, ExportOptions(kind))
        export_bank(unchecked, tmp_path / f"{kind}-unchecked", ExportOptions(kind))
        plain, quick = ({name: data for name, data in tree(folder).items() if not name.endswith((".json", ".yaml"))}
                        for folder in (tmp_path / kind, tmp_path / f"{kind}-unchecked"))
        assert plain == quick
    unchecked.close()


def test_what_does_not_fit_is_refused(bank, coco_banks, tmp_path, monkeypatch):
    with pytest.raises(SegGenError, match="ADE20K's style"):
        export_bank(coco_banks["panoptic"], tmp_path / "a", ExportOptions("ade20k"))
    export_bank(bank, tmp_path / "b", ExportOptions("ade20k"))
    with pytest.raises(SegGenError, match="begun with other options"):
        export_bank(bank, tmp_path / "b", ExportOptions("ade20k", shift=1))
    for wrong in ({"format": "voc"}, {"format": "coco", "masks": "dots"}, {"format": "coco", "split": "../up"}):
        with pytest.raises(SegGenError):
            ExportOptions(**wrong)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**6, 10**6, 100))
    with pytest.raises(SegGenError, match=r"no room for the export(.|\n)*0.00 GB"):
        export_bank(bank, tmp_path / "c", ExportOptions("webdataset"))


def test_a_refused_format_leaves_the_folder_free_for_another(coco_banks, tmp_path):
    bank = coco_banks["panoptic"]
    with pytest.raises(SegGenError, match="ADE20K's style"):
        export_bank(bank, tmp_path / "out", ExportOptions("ade20k"))
    assert not (tmp_path / "out").exists()
    assert len(load_dataset(export_bank(bank, tmp_path / "out", ExportOptions("coco"))).records()) == len(bank)


@pytest.mark.parametrize(("kind", "idle"), [("coco", {"shift": 1}), ("ade20k", {"masks": "rle"}), ("webdataset", {"split": "val"})])
def test_an_option_that_a_format_does_not_heed_is_refused(kind, idle):
    with pytest.raises(SegGenError, match=f"format {kind} has no use for {next(iter(idle))}"):
        ExportOptions(kind, **idle)


def test_shifted_masks_read_where_the_ignore_label_follows_the_categories(tmp_path):
    """The label 3 ignores, which is the third category's once ids are shifted."""
    tight = Categories(CATEGORIES.items, ignore_id=3)
    ids = np.minimum(labels(0), 3)
    BankWriter(tmp_path / "bank", info(categories=tight)).write_shard("imgsyn-00000", [sample(0, mask=label_map_png(ids))])
    bank = Bank(tmp_path / "bank")
    source = load_dataset(export_bank(bank, tmp_path / "out", ExportOptions("ade20k", shift=1)))
    bank.close()
    assert source.categories.ignore_id == 4
    assert np.array_equal(read_sample(source.records()[0], source.categories)[1], np.where(ids == 3, 0, ids + 1))


@pytest.mark.parametrize("kind", ["ade20k", "coco", "webdataset", "parquet"])
def test_a_bank_without_samples_is_exported_as_nothing(tmp_path, kind):
    BankWriter(tmp_path / "bank", info()).write_shard("imgsyn-00000", [])
    bank = Bank(tmp_path / "bank")
    place = export_bank(bank, tmp_path / "out", ExportOptions(kind))
    bank.close()
    assert place.exists() and not [*(tmp_path / "out").rglob("*.jpg")]
    if kind == "parquet":
        import pyarrow.parquet as pq

        assert pq.read_table(place / "data" / "train-00000-of-00001.parquet").num_rows == 0
    if kind == "coco":
        assert json.loads(place.read_text())["images"] == []


def test_a_damaged_header_is_named_and_not_passed_on(bank, tmp_path):
    """Its one byte is of a member's name: the member is sound, and would be another sample's."""
    row = bank.find(bank.key(1))
    with open(bank.root / "shards" / f"{bank.shards[0]}.tar", "r+b") as tar:
        tar.seek(row.jpg_offset - 512)
        tar.write(b"I")
    with pytest.raises(SegGenError, match=bank.key(1)):
        export_bank(bank, tmp_path / "out", ExportOptions("webdataset"))
    assert not (tmp_path / "out" / f"{bank.shards[0]}.tar").exists()


def test_of_two_exports_into_one_folder_the_second_is_told(bank, tmp_path, monkeypatch):
    def second(*arguments):
        monkeypatch.undo()
        with pytest.raises(SegGenError, match="another process exports into"):
            export_bank(bank, tmp_path / "out", ExportOptions("ade20k"))
        members.write_members(*arguments)

    monkeypatch.setattr(folders, "write_members", second)
    export_bank(bank, tmp_path / "out", ExportOptions("ade20k"))
    assert export_bank(bank, tmp_path / "out", ExportOptions("ade20k")).exists()  # the lock went with the call


def test_a_full_disk_is_told(bank, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(members, "_put", full)
    with pytest.raises(SegGenError, match="no space left"):
        export_bank(bank, tmp_path / "out", ExportOptions("ade20k"))


def test_the_tool_exports(bank, tmp_path, monkeypatch, capsys):
    import runpy

    monkeypatch.setattr(sys, "argv", ["export_bank.py", str(bank.root), "--format", "ade20k", "--output", str(tmp_path / "out")])
    runpy.run_path(str(Path(__file__).parents[1] / "tools" / "export_bank.py"), run_name="__main__")
    assert "6 samples of bank" in capsys.readouterr().out
    with Image.open(io.BytesIO((tmp_path / "out" / "images" / "train" / f"{sample(0).key}.jpg").read_bytes())) as image:
        assert image.size == (16, 16)
