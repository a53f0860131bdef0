"""Records of imported panoptic and instance banks in the mappers that hosts use."""

from __future__ import annotations

import coco_samples as coco
import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetMapper, MetadataCatalog
from detectron2.utils.file_io import PathManager

from seggen_d2.bank import Bank, BankPathHandler, import_bank
from seggen_d2.segmentation.outlines import mask_from_polygons
from seggen_d2.segmentation.rle import decode_mask
from seggen_d2.sources import load_dataset


@pytest.fixture
def banks(tmp_path):
    PathManager.register_handler(BankPathHandler(), allow_override=True)
    files = coco.write_coco(tmp_path / "coco")
    for task, file in files.items():
        import_bank(load_dataset(file), tmp_path / task)
    opened = {task: Bank(tmp_path / task, name=f"records-{task}") for task in files}
    yield opened
    for bank in opened.values():
        bank.close()


@pytest.mark.parametrize("form", ["bitmask", "polygon"])
def test_detectron2s_own_mapper_reads_instances(banks, form):
    bank = banks["instance"]
    mapper = DatasetMapper(True, augmentations=[], image_format="RGB", use_instance_mask=True, instance_mask_format=form)
    for number in range(len(bank)):
        record = bank.record(number)
        wanted = [a for a in record["annotations"] if not a["iscrowd"]]
        found = mapper(bank.record(number))["instances"]
        assert found.gt_classes.tolist() == [a["category_id"] for a in wanted]
        drawn = [mask_from_polygons(a["segmentation"], coco.HEIGHT, coco.WIDTH) for a in wanted]
        assert all((d >= decode_mask(a["rle"], "x")).all() for d, a in zip(drawn, wanted, strict=True))
        if form == "bitmask":
            assert np.array_equal(found.gt_masks.tensor.numpy(), np.stack(drawn))
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in wanted)]
        assert found.gt_boxes.tensor.tolist() == boxes


@pytest.mark.parametrize(
    ("name", "task", "segments"),
    [
        ("MaskFormerPanopticDatasetMapper", "panoptic", 3),
        ("MaskFormerInstanceDatasetMapper", "instance", 2),
        ("COCOPanopticNewBaselineDatasetMapper", "panoptic", 3),
        ("COCOInstanceNewBaselineDatasetMapper", "instance", 2),
    ],
)
def test_mask2formers_mappers_read_them(banks, name, task, segments):
    host = pytest.importorskip("mask2former")
    from detectron2.projects.deeplab import add_deeplab_config

    cfg = get_cfg()
    add_deeplab_config(cfg)
    host.add_maskformer2_config(cfg)
    MetadataCatalog.get("records_like").set(ignore_label=255)
    cfg.DATASETS.TRAIN = ("records_like",)
    cfg.INPUT.IMAGE_SIZE, cfg.INPUT.MIN_SCALE, cfg.INPUT.MAX_SCALE = 64, 1.0, 1.0
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP = (40,), "none"
    mapper, bank = getattr(host, name)(cfg, True), banks[task]
    for number in range(len(bank)):
        instances = mapper(bank.record(number))["instances"]  # crowds are left out by the hosts
        assert len(instances) == segments and sorted(instances.gt_classes.tolist()) == [0, 1, 2][:segments]
