"""Exported banks, registered by Detectron2's own functions and read by stock mappers: no line of this package runs then."""

from __future__ import annotations

import uuid
from pathlib import Path

import coco_samples
import numpy as np
import pytest
import torch
from bank_samples import CATEGORIES, labels, write_bank
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.data.datasets import load_sem_seg, register_coco_instances
from detectron2.data.datasets.coco_panoptic import load_coco_panoptic_json
from detectron2.projects.deeplab import add_deeplab_config

from seggen_d2.bank import Bank, ExportOptions, export_bank, import_bank
from seggen_d2.sources import load_dataset


def mask2former_config(name):
    mask2former = pytest.importorskip("mask2former")
    cfg = get_cfg()
    add_deeplab_config(cfg)
    mask2former.add_maskformer2_config(cfg)
    cfg.DATASETS.TRAIN, cfg.INPUT.IMAGE_SIZE, cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.SIZE_DIVISIBILITY = (name,), 64, (16,), -1
    cfg.INPUT.CROP.ENABLED = False
    return mask2former, cfg


def coco_bank(folder: Path, task: str) -> Bank:
    import_bank(load_dataset(coco_samples.write_coco(folder / "coco")[task]), folder / "bank")
    return Bank(folder / "bank")


def new_name() -> str:
    return f"exported_{uuid.uuid4().hex[:8]}"  # names stay registered for the whole process


def test_a_semantic_export_goes_through_the_stock_mappers(tmp_path):
    write_bank(tmp_path / "bank")
    export_bank(Bank(tmp_path / "bank"), tmp_path / "out", ExportOptions("ade20k"))
    records = load_sem_seg(str(tmp_path / "out/annotations/train"), str(tmp_path / "out/images/train"), gt_ext="png", image_ext="jpg")
    mapper = DatasetMapper(is_train=True, augmentations=[], image_format="RGB")
    assert len(records) == 6
    for number, record in enumerate(records):
        assert np.array_equal(mapper(dict(record))["sem_seg"].numpy(), labels(number))
    name = new_name()
    MetadataCatalog.get(name).set(ignore_label=CATEGORIES.ignore_id, stuff_classes=list(CATEGORIES.names))
    mask2former, cfg = mask2former_config(name)
    assert set(mask2former.MaskFormerSemanticDatasetMapper(cfg, True)(records[0])["instances"].gt_classes.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("masks", ["polygons", "rle"])
def test_an_instance_export_goes_through_the_stock_mappers(tmp_path, masks):
    bank = coco_bank(tmp_path, "instance")
    export_bank(bank, tmp_path / "out", ExportOptions("coco", masks=masks))
    name = new_name()
    register_coco_instances(name, {}, str(tmp_path / "out/annotations/instances_train.json"), str(tmp_path / "out/images/train"))
    records = DatasetCatalog.get(name)
    assert [len(record["annotations"]) for record in records] == [len(bank.record(n)["annotations"]) for n in range(len(bank))]
    assert MetadataCatalog.get(name).thing_classes == list(bank.info.categories.names)
    stock = DatasetMapper(is_train=True, augmentations=[], image_format="RGB", use_instance_mask=True,
                          instance_mask_format="polygon" if masks == "polygons" else "bitmask")
    for number, record in enumerate(records):
        wanted = sorted(part["category_id"] for part in bank.record(number)["annotations"] if not part["iscrowd"])
        assert sorted(stock(dict(record))["instances"].gt_classes.tolist()) == wanted
    if masks == "polygons":  # the large-scale jittering mapper takes nothing else
        mask2former, cfg = mask2former_config(name)
        made = mask2former.COCOInstanceNewBaselineDatasetMapper(cfg, True)(records[0])
        assert made["image"].shape == (3, 64, 64) and torch.as_tensor(made["instances"].gt_masks).ndim == 3


def test_a_panoptic_export_goes_through_the_stock_mapper(tmp_path):
    bank = coco_bank(tmp_path, "panoptic")
    export_bank(bank, tmp_path / "out", ExportOptions("coco"))
    items = bank.info.categories.items
    name, things = new_name(), {place: place - 1 for place, item in enumerate(items, 1) if item.isthing}
    stuff = {place: place - 1 for place, item in enumerate(items, 1) if not item.isthing}
    meta = MetadataCatalog.get(name).set(thing_dataset_id_to_contiguous_id=things, stuff_dataset_id_to_contiguous_id=stuff, ignore_label=255)
    records = load_coco_panoptic_json(str(tmp_path / "out/annotations/panoptic_train.json"), str(tmp_path / "out/images/train"),
                                      str(tmp_path / "out/panoptic/train"), meta.as_dict())
    mask2former, cfg = mask2former_config(name)
    mapper = mask2former.COCOPanopticNewBaselineDatasetMapper(cfg, True)
    for number, record in enumerate(records):
        wanted = {part["category_id"] for part in bank.record(number)["segments_info"] if not part["iscrowd"]}
        assert set(mapper(record)["instances"].gt_classes.tolist()) <= wanted and wanted
        assert [s["category_id"] for s in record["segments_info"]] == [s["category_id"] for s in bank.record(number)["segments_info"]]
