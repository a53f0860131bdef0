"""Panoptic and instance banks: records by task, exact masks beside polygons, what does not fit, and folders again."""

import dataclasses
import json
from pathlib import Path

import coco_samples as coco
import numpy as np
import pytest
from bank_samples import info, sample
from PIL import Image

from seggen_d2.bank import Bank, BankWriter, export_folders, import_bank, open_member
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import label_map_png
from seggen_d2.segmentation.outlines import mask_from_polygons
from seggen_d2.segmentation.panoptic import panoptic_png, read_panoptic_png
from seggen_d2.segmentation.rle import decode_mask, encode_mask
from seggen_d2.sources import CocoInstanceSource, load_dataset, read_instance, read_panoptic

SHARED = Path(__file__).parents[1] / ".." / "shared" / "data" / "coco_sample"
SIZE = (coco.HEIGHT, coco.WIDTH)


@pytest.fixture
def made(tmp_path):
    """``{task: (dataset, bank)}``."""
    found = {}
    for task, file in coco.write_coco(tmp_path / "coco").items():
        source = load_dataset(file)
        import_bank(source, tmp_path / task)
        found[task] = source, Bank(tmp_path / task)
    yield found
    for _, bank in found.values():
        bank.close()


def test_a_panoptic_record_is_the_datasets_own(made):
    source, bank = made["panoptic"]
    assert bank.info.task == "panoptic" and bank.info.categories == source.categories and bank.verify() == []
    for number, real in enumerate(source.records()):
        record = bank.record(number)
        assert "sem_seg_file_name" not in record and record["source_id"] == real["source_id"]
        assert record["segments_info"] == real["segments_info"]
        assert np.array_equal(read_panoptic_png(open_member(record["pan_seg_file_name"])), coco.ids(number))
        assert open_member(record["file_name"]) == open_member(real["file_name"])
    pixels = [np.count_nonzero(np.isin(coco.ids(1), ids)) for ids in ([5, 9], [301], [70001])]
    assert bank.column("histogram")[1].tolist() == pixels


def test_an_instance_record_has_polygons_and_the_exact_mask(made):
    source, bank = made["instance"]
    for number, real in enumerate(source.records()):
        record = bank.record(number)
        assert not {"sem_seg_file_name", "pan_seg_file_name"} & set(record)
        assert sorted(a["category_id"] for a in record["annotations"]) == [0, 0, 1]
        wanted = sorted((a["category_id"], a["iscrowd"], read_instance(a, *SIZE, "x").tobytes()) for a in real["annotations"])
        assert wanted == sorted((a["category_id"], a["iscrowd"], decode_mask(a["rle"], "x").tobytes()) for a in record["annotations"])
        ids = read_panoptic_png(bank.read(record["image_id"], "png"))
        for a in record["annotations"]:
            assert a["bbox_mode"] == 1 and all(len(p) >= 6 and all(isinstance(v, float) for v in p) for p in a["segmentation"])
            mask, drawn = decode_mask(a["rle"], "x"), mask_from_polygons(a["segmentation"], *SIZE)
            lost = np.count_nonzero(drawn & ~mask)
            holes = (36, 12, 12)[number] if a["category_id"] == 1 else 0  # of the train: one, and in image 0 a person
            assert (drawn >= mask).all() and lost == holes
            assert np.array_equal(ids == a["id"], mask)  # nothing overlaps here


def test_where_objects_overlap_the_smaller_shows_and_the_runs_tell_all(tmp_path):
    coco.write_coco(tmp_path)
    value = json.loads((tmp_path / "instance.json").read_text())
    whole = np.ones(SIZE, bool)
    value["annotations"][1] |= {"segmentation": encode_mask(whole)}
    (tmp_path / "instance.json").write_text(json.dumps(value))
    import_bank(load_dataset(tmp_path / "instance.yaml"), tmp_path / "bank")
    bank = Bank(tmp_path / "bank")
    record = bank.record(0)
    assert [a["id"] for a in record["annotations"]] == [1, 2, 3] and decode_mask(record["annotations"][0]["rle"], "x").all()
    ids = read_panoptic_png(bank.read(record["image_id"], "png"))
    assert np.bincount(ids.ravel()).tolist() == [0, whole.sum() - 24 - 30, 30, 24]
    assert bank.column("histogram")[0].tolist() == [54, whole.sum() - 54]


def test_an_image_of_crowds_alone_is_a_rejection(tmp_path):
    coco.write_coco(tmp_path)
    value = json.loads((tmp_path / "instance.json").read_text())
    value["annotations"] = [a for a in value["annotations"] if a["iscrowd"] or a["image_id"] != 285]
    (tmp_path / "instance.json").write_text(json.dumps(value))
    summary = import_bank(load_dataset(tmp_path / "instance.yaml"), tmp_path / "bank")
    assert summary.samples == 2 and [r.source_id for r in summary.rejections] == ["000000000285"]
    assert "no object but crowds" in str(summary)


def test_an_image_of_another_size_than_its_annotations_is_named(tmp_path):
    files = coco.write_coco(tmp_path)
    Image.new("RGB", (coco.WIDTH, 19)).save(tmp_path / "images" / "000000000285.jpg")
    for task, file in files.items():
        with pytest.raises(SegGenError, match="000000000285.jpg has another size than its annotations\n.*20 x 28(.|\n)*19 x 28"):
            import_bank(load_dataset(file), tmp_path / task)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no COCO samples beside the repository")
def test_what_polygons_lose_on_the_real_samples(tmp_path):
    """datasets/README.md states the share."""
    names = SHARED / "panoptic_coco_detection_format.json", SHARED / "panoptic_coco_categories.json"
    source = CocoInstanceSource("coco", SHARED / "input_images", names[0], category_file=str(names[1]))
    import_bank(source, tmp_path / "bank")
    bank, lost, pixels = Bank(tmp_path / "bank"), 0, 0
    for record in map(bank.record, range(len(bank))):
        for a in (a for a in record["annotations"] if not a["iscrowd"]):
            mask = decode_mask(a["rle"], "x")
            drawn = mask_from_polygons(a["segmentation"], *mask.shape)
            assert (drawn >= mask).all()
            lost, pixels = lost + np.count_nonzero(drawn & ~mask), pixels + mask.sum()
    assert round(lost / pixels, 4) == 0.0015
    bank.close()


def test_a_segment_without_a_pixel_is_left_out_and_said(tmp_path, caplog):
    files = coco.write_coco(tmp_path)
    value = json.loads((tmp_path / "panoptic.json").read_text())
    value["annotations"][0]["segments_info"].append({**coco.segments(0)[0], "id": 77})
    (tmp_path / "panoptic.json").write_text(json.dumps(value))
    import_bank(load_dataset(files["panoptic"]), tmp_path / "bank")
    assert "1 segments of" in caplog.text and len(Bank(tmp_path / "bank").record(0)["segments_info"]) == 4


def test_a_semantic_record_never_reads_its_json(tmp_path, monkeypatch):
    BankWriter(tmp_path / "b", info()).write_shard("s", [sample(0)])
    bank = Bank(tmp_path / "b")
    monkeypatch.setattr(bank, "_pread", None)
    assert bank.record(0)["sem_seg_file_name"].endswith(".png")
    bank.close()


def test_a_damaged_json_is_named(made):
    _, bank = made["panoptic"]
    row, tar = bank.find(bank.key(1)), bank.root / "shards" / "imgsyn-00000.tar"
    data = bytearray(tar.read_bytes())
    data[row.json_offset : row.json_offset + 5] = b"\xff" * 5
    tar.write_bytes(data)
    with pytest.raises(SegGenError, match="member bank://panoptic/imgsyn-000000001.json is not JSON"):
        bank.record(1)


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_folders_read_as_the_dataset_again(made, tmp_path, task):
    source, bank = made[task]
    again = load_dataset(export_folders(bank, tmp_path / "plain"))
    assert again.task == task and again.categories == source.categories
    for theirs, ours in zip(source.records(), again.records(), strict=True):
        assert ours["source_id"] == theirs["source_id"]
        if task == "panoptic":
            assert ours["segments_info"] == theirs["segments_info"]
            assert all(map(np.array_equal, read_panoptic(ours), read_panoptic(theirs)))
        else:
            masks = [sorted((a["category_id"], read_instance(a, *SIZE, "x").tobytes()) for a in r["annotations"]) for r in (ours, theirs)]
            assert masks[0] == masks[1]
    import_bank(again, tmp_path / "again")  # and makes a bank again
    assert Bank(tmp_path / "again").record(2).get("segments_info") == bank.record(2).get("segments_info")


def panoptic_sample(**changes):
    ids = np.arange(256).reshape(16, 16) // 64 + 1
    parts = [{"id": i, "category_id": i % 3, "iscrowd": 0, "bbox": [0, 0, 1, 1], "area": 64} for i in (1, 2, 3, 4)]
    return sample(0, **{"mask": panoptic_png(ids), "segments": tuple(parts), **changes})


def instance_sample(**changes):
    mask = np.zeros((16, 16), bool)
    mask[2:4, 2:4] = True
    part = {"id": 1, "category_id": 0, "iscrowd": 0, "bbox": [2, 2, 2, 2], "bbox_mode": 1, "area": 4,
            "segmentation": [[2.0, 2.0, 4.0, 2.0, 4.0, 4.0]], "rle": encode_mask(mask)} | changes
    return sample(0, mask=panoptic_png(mask.astype(int)), annotations=(part,))


@pytest.mark.parametrize(
    ("task", "wrong", "words"),
    [
        ("semantic", panoptic_sample(), "holds segments_info\n.*task semantic"),
        ("semantic", instance_sample(), "holds annotations"),
        ("panoptic", instance_sample(), "holds annotations"),
        ("panoptic", panoptic_sample(mask=label_map_png(np.zeros((16, 16), int))), "no coloured ids"),
        ("panoptic", panoptic_sample(mask=panoptic_png(np.full((16, 16), 9))), "segments that its JSON does not know(.|\n)*id 9 on 256"),
        ("panoptic", panoptic_sample(segments=panoptic_sample().segments[:3]), "id 4 on 64 pixels"),
        ("panoptic", panoptic_sample(segments=panoptic_sample().segments[:1] * 2), "numbered badly"),
        ("panoptic", panoptic_sample(segments=({**panoptic_sample().segments[0], "id": 0},)), "numbered badly"),
        ("panoptic", panoptic_sample(segments=({**panoptic_sample().segments[0], "category_id": 3},)), "category_id 0 to 2"),
        ("panoptic", panoptic_sample(segments=({"id": 1, "category_id": 0},)), "lacks iscrowd, bbox, area"),
        ("instance", instance_sample(segmentation=[]), "unfit shape"),
        ("instance", instance_sample(bbox=[2, 2, 4, 4], bbox_mode=0), "bbox_mode 1(.|\n)*bbox_mode 0"),
        ("instance", instance_sample(segmentation=[[1.0, 2.0, 3.0, 4.0]]), "6 coordinates or more"),
        ("instance", instance_sample(segmentation=instance_sample().annotations[0]["rle"]), "unfit shape"),
        ("instance", instance_sample(rle=encode_mask(np.ones((16, 15), bool))), "16 x 15"),
        ("instance", dataclasses.replace(instance_sample(), mask=sample(0).mask), "no coloured ids"),
    ],
)
def test_a_sample_that_does_not_fit_its_task_is_refused(tmp_path, task, wrong, words):
    with pytest.raises(SegGenError, match=words):
        BankWriter(tmp_path, info(task=task)).write_shard("s", [wrong])


def test_samples_that_fit_are_written(tmp_path):
    for task, fitting in (("panoptic", panoptic_sample()), ("instance", instance_sample())):
        BankWriter(tmp_path / task, info(task=task)).write_shard("s", [fitting])
        bank = Bank(tmp_path / task)
        parts = bank.record(0)["segments_info" if task == "panoptic" else "annotations"]
        assert parts[0]["category_id"] == (1 if task == "panoptic" else 0)
        bank.close()


def test_a_bank_of_an_unknown_task_is_refused(tmp_path):
    BankWriter(tmp_path, info())
    description = (tmp_path / "bank.json").read_text()
    (tmp_path / "bank.json").write_text(description.replace('"semantic"', '"panoptc"'))
    with pytest.raises(SegGenError, match="task is not known(.|\n)*did you mean 'panoptic'"):
        Bank(tmp_path)
