"""Mask2Former's five mappers with a bank: each gets what it reads, and without the swap it is what it was."""

from __future__ import annotations

import subprocess
import sys
import uuid
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog
from detectron2.projects.deeplab import add_deeplab_config

from seggen_d2.bank.importing import import_bank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin import BankDataset, PluginBank, add_seggen_config, swap
from seggen_d2.plugin.data.registration import register_source
from seggen_d2.segmentation.outlines import mask_from_polygons
from seggen_d2.sources import load_dataset
from seggen_d2.sources.coco_instance import read_instance

from .test_swap import seed_all, states
from .world import make_world

COCO = Path(__file__).parents[3] / "shared" / "data" / "coco_sample"
pytestmark = pytest.mark.skipif(not COCO.is_dir(), reason="the COCO samples are not there")
MAPPERS = {
    "MaskFormerSemanticDatasetMapper": "semantic",
    "MaskFormerPanopticDatasetMapper": "panoptic",
    "MaskFormerInstanceDatasetMapper": "instance",
    "COCOPanopticNewBaselineDatasetMapper": "panoptic",
    "COCOInstanceNewBaselineDatasetMapper": "instance",
}
FILES = {
    "panoptic": {"json": "panoptic_examples.json", "masks": "panoptic_examples"},
    "instance": {"json": "panoptic_coco_detection_format.json", "categories": "panoptic_coco_categories.json"},
}


def coco(root: Path, task: str) -> tuple[str, str]:
    """The COCO samples registered for ``task``, and a bank of the same images: the name and the folder."""
    name = f"coco_{task}_{uuid.uuid4().hex[:8]}"
    keys = {"name": name, "task": task, "images": str(COCO / "input_images")}
    keys |= {key: str(COCO / file) for key, file in FILES[task].items()}
    (root / f"{name}.yaml").write_text(yaml.safe_dump(keys))
    source = load_dataset(root / f"{name}.yaml")
    register_source(source)
    import_bank(source, root / f"bank_{name}")
    return name, str(root / f"bank_{name}")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """``{task: (dataset name, bank)}``."""
    root = tmp_path_factory.mktemp("data")
    world = make_world(root)
    return {"semantic": (world.train, world.bank), **{task: coco(root, task) for task in FILES}}


def config(train, bank, **seggen):
    mask2former = pytest.importorskip("mask2former")
    cfg = get_cfg()
    add_deeplab_config(cfg)
    mask2former.add_maskformer2_config(cfg)
    add_seggen_config(cfg)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST, cfg.SEED = (train,), (), 1
    cfg.INPUT.IMAGE_SIZE, cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.SIZE_DIVISIBILITY = 128, (128,), -1
    cfg.INPUT.CROP.ENABLED = False
    cfg.SEGGEN.BANKS = [bank]
    for key, value in seggen.items():
        cfg.SEGGEN[key] = value
    return cfg


def mapper_of(kind, cfg):
    return getattr(pytest.importorskip("mask2former"), kind)(cfg, True)


@pytest.mark.parametrize("kind", MAPPERS)
def test_without_the_swap_it_is_the_bare_mapper_bit_for_bit(data, kind):
    name, bank = data[MAPPERS[kind]]
    cfg, outputs, ends = config(name, bank, P_AUG=0.0), [], []
    records = list(BankDataset(PluginBank(bank)))  # the COCO samples' own masks are RLE, which one of them refuses
    for wrapped in (False, True):
        mapper = swap(mapper_of(kind, cfg), cfg) if wrapped else mapper_of(kind, cfg)
        seed_all()
        outputs.append([mapper(record) for record in records * 2])
        ends.append(states())
    assert ends[0] == ends[1]
    for bare, swapped in zip(*outputs, strict=True):
        assert swapped.pop("is_synthetic") is False and bare.keys() == swapped.keys()
        assert torch.equal(bare["image"], swapped["image"])
        for field, value in bare["instances"].get_fields().items():
            other = swapped["instances"].get(field)
            assert torch.equal(getattr(value, "tensor", value), getattr(other, "tensor", other)), field


def by_class(instances):
    """``{category: (H, W) bool}``, the union of its masks."""
    masks = torch.as_tensor(instances.gt_masks).bool()
    classes = instances.gt_classes
    return {int(number): masks[classes == number].any(0) for number in classes.unique()}


@pytest.mark.parametrize("kind", MAPPERS)
def test_a_bank_gives_each_mapper_what_it_reads(data, kind):
    """The bank was imported from the dataset itself, so a sample equals its source under the same random numbers."""
    name, bank = data[MAPPERS[kind]]
    cfg = config(name, bank, P_AUG=1.0, SAMPLING="uniform" if kind.startswith("MaskFormerSem") else "paired")
    mapper, bare = swap(mapper_of(kind, cfg), cfg), mapper_of(kind, cfg)
    for record in DatasetCatalog.get(name):
        seed_all()
        drawn = mapper(record)
        assert drawn["is_synthetic"] and drawn["file_name"].startswith("bank://") and len(drawn["instances"])
        if MAPPERS[kind] == "semantic":
            continue
        if kind == "COCOInstanceNewBaselineDatasetMapper":
            with pytest.raises(ValueError, match="polygon"):  # of the real record's RLE; the bank gives polygons
                bare(record)
            continue
        seed_all()
        real = bare(record)
        ours, theirs = (by_class(sample["instances"]) for sample in (drawn, real))
        assert ours.keys() == theirs.keys()
        for number, mask in ours.items():
            if MAPPERS[kind] == "panoptic":
                assert torch.equal(mask, theirs[number])
            elif theirs[number].sum() > 50:  # polygons are without holes, and RLE is cut by nearest neighbour
                assert (mask & theirs[number]).sum() > 0.8 * (mask | theirs[number]).sum()
    assert mapper.failures == 0


def test_every_mapper_refuses_a_bank_of_another_task(data):
    for kind, task in MAPPERS.items():
        for other in {"semantic", "panoptic", "instance"} - {task}:
            cfg = config(data[task][0], data[other][1])
            with pytest.raises(SegGenError, match="made for another task") as error:
                swap(mapper_of(kind, cfg), cfg)
            assert error.value.expected == f"{task} ({kind})" and error.value.found == other


DINO = """
import sys, types
sys.modules["MultiScaleDeformableAttention"] = types.ModuleType("MultiScaleDeformableAttention")
import maskdino
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog
from detectron2.projects.deeplab import add_deeplab_config
from seggen_d2.plugin import add_seggen_config, swap
from seggen_d2.plugin.data.registration import register_source
from seggen_d2.sources import load_dataset

for kind, file, bank in zip(*[iter(sys.argv[1:])] * 3):
    source = load_dataset(file)
    register_source(source)
    cfg = get_cfg()
    add_deeplab_config(cfg), maskdino.add_maskdino_config(cfg), add_seggen_config(cfg)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST, cfg.INPUT.IMAGE_SIZE = (source.name,), (), 128
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.CROP.ENABLED = (128,), kind.startswith("Detr")
    cfg.SEGGEN.BANKS, cfg.SEGGEN.P_AUG = [bank], 1.0
    mapper = swap(getattr(maskdino, kind)(cfg, True), cfg)
    drawn = [mapper(record) for record in DatasetCatalog.get(source.name)]
    assert all(sample["is_synthetic"] and len(sample["instances"]) for sample in drawn) and not mapper.failures, kind
    print(kind, "done")
"""


def test_mask_dinos_coco_mappers_take_banks(data):
    if find_spec("maskdino") is None:
        pytest.skip("Mask DINO is not installed")
    kinds = {
        "COCOPanopticNewBaselineDatasetMapper": "panoptic",
        "COCOInstanceNewBaselineDatasetMapper": "instance",
        "DetrDatasetMapper": "instance",
    }
    words = []
    for kind, task in kinds.items():
        name, bank = data[task]
        words += [kind, str(Path(bank).parent / f"{name}.yaml"), bank]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", DINO, *words], capture_output=True, text=True, timeout=300)
    assert done.stdout.count("done") == 3, done.stderr[-2000:]


def test_instance_masks_lose_their_holes_and_nothing_else(tmp_path):
    """What hosts get of an instance bank is polygons; the exact mask lies beside them."""
    bank = PluginBank(coco(tmp_path, "instance")[1])
    for number in range(len(bank)):
        record = bank.record(number)
        for annotation in record["annotations"]:
            size = record["height"], record["width"]
            exact = read_instance(annotation, *size, "here")
            filled = mask_from_polygons(annotation["segmentation"], *size)
            assert not (exact & ~filled).any()
            assert np.array_equal(exact, filled) or exact.sum() < filled.sum()
