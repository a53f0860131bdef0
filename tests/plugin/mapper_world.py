"""Configs of the mappers' tests, over a training set that is known by its metadata alone."""

from __future__ import annotations

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from seggen_d2.plugin.config import load_config
from seggen_d2.plugin.data.bench_mapper import ROOT, SAMPLES

FOLDERS = {
    "mask_former_semantic": "ade20k/semantic-segmentation",
    "mask_former_panoptic": "ade20k/semantic-segmentation",
    "mask_former_instance": "ade20k/semantic-segmentation",
    "coco_panoptic_lsj": "coco/panoptic-segmentation",
    "coco_instance_lsj": "coco/instance-segmentation",
}
needs_stock = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the real samples are not there")


@pytest.fixture(autouse=True)
def training_set():
    name = "mapper_test_train"
    DatasetCatalog.register(name, list)
    MetadataCatalog.get(name).set(stuff_classes=[f"category {i}" for i in range(150)], ignore_label=255)
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def config(mapper, *overrides):
    """The R50 config of a mapper; ``overrides`` are ``KEY, VALUE, KEY, VALUE, ...``."""
    file = ROOT / "configs" / FOLDERS[mapper] / "mask2former_R50_real.yaml"
    fixed = ["INPUT.DATASET_MAPPER_NAME", mapper, "DATASETS.TRAIN", "('mapper_test_train',)"]
    return load_config(file, [*fixed, *map(str, overrides)])[0]
