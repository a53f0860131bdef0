"""Filters in Detectron2: any host's mapper reads corrected masks by their path, and dropped samples are never drawn."""

from __future__ import annotations

from pathlib import Path

import coco_samples as coco
import numpy as np
import pytest
import torch
from detectron2.data import DatasetMapper
from detectron2.structures import BoxMode
from filter_samples import FILTER, write_filter

from seggen_d2.bank import FilteredBank, import_bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin import PluginBank, register_bank, swap
from seggen_d2.plugin.data.datasets import banks_from_config, train_records
from seggen_d2.sources import load_dataset

from .world import make_world, real_records, seed_all


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def mapped(cfg, record, count: int = 20) -> list[dict]:
    """What Detectron2's own mapper gives for draws of synthetic samples."""
    mapper = swap(DatasetMapper(cfg, True), cfg)
    seed_all()
    return [mapper(record) for _ in range(count)]


def test_a_filter_that_marks_nothing_gives_the_hosts_mapper_what_the_bank_does(world):
    write_filter(Path(world.bank))
    record = real_records(world)[0]
    plain, filtered = (mapped(world.config(P_AUG=1.0, **keys), record) for keys in ({}, {"FILTER": FILTER}))
    assert [sample["image_id"] for sample in plain] == [sample["image_id"] for sample in filtered]
    assert all(torch.equal(one["sem_seg"], other["sem_seg"]) and torch.equal(one["image"], other["image"])
               for one, other in zip(plain, filtered, strict=True))


def test_a_hosts_mapper_reads_corrected_masks_and_draws_no_dropped_sample(world):
    write_filter(Path(world.bank), {3: np.full((32, 32), 255, np.uint8)}, dropped=(0, 1, 2, 4), weights=(1, 1, 1, 3, 1, 1))
    samples = mapped(world.config(P_AUG=1.0, FILTER=FILTER, SAMPLING="weighted"), real_records(world)[0], 60)
    keys = [sample["image_id"] for sample in samples]
    assert {*keys} == {"imgsyn-000000003", "imgsyn-000000005"} and keys.count("imgsyn-000000003") > 30
    assert all(bool((sample["sem_seg"] == 255).all()) == (sample["image_id"] == "imgsyn-000000003") for sample in samples)


def test_a_bank_that_is_a_training_set_is_read_through_it_too(world):
    write_filter(Path(world.bank), dropped=(0,))
    name = register_name(world)
    cfg = world.config(FILTER=FILTER, BANKS=[])
    cfg.DATASETS.TRAIN = (name,)
    records = train_records(cfg)
    assert len(records) == 5 and records[0]["image_id"] == "imgsyn-000000001"
    cfg.SEGGEN.FILTER = ""
    assert len(train_records(cfg)) == 6


def register_name(world) -> str:
    name = f"{world.train}_bank"
    register_bank(name, world.bank, like=world.train)
    return name


def test_a_filter_that_a_bank_lacks_is_told_before_anything_is_trained(world):
    with pytest.raises(SegGenError, match="has no filter scores/noise"):
        banks_from_config(world.config(FILTER=FILTER))


def test_boxes_of_corrected_objects_have_detectron2s_modes(tmp_path):
    import_bank(load_dataset(coco.write_coco(tmp_path / "coco")["instance"]), tmp_path / "bank")
    bank = PluginBank(tmp_path / "bank")
    facts = {"annotations": [{**part, "bbox_mode": int(part["bbox_mode"])} for part in bank.record(0)["annotations"]]}
    assert all(part["bbox_mode"] is BoxMode.XYWH_ABS for part in [*bank.record(0)["annotations"], *bank.parts(facts, "")["annotations"]])
    with pytest.raises(SegGenError, match="has no filter"):
        FilteredBank(bank, FILTER)
