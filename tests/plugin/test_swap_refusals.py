"""What the swap refuses in a host, and what each error names."""

from __future__ import annotations

import sys
import weakref

import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.data import build_detection_train_loader as stock_loader
from toy_world import write_bank

from seggen_d2.bank import BankInfo, BankWriter
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.plugin import build_detection_train_loader, register_bank, swap
from seggen_d2.plugin.data.datasets import task_from_config
from seggen_d2.segmentation import default_palette

from .world import STUFF, make_world, real_records, train


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def test_a_loader_without_the_swap_is_noticed(world, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["seggen_d2.plugin.swap"], "_swaps", weakref.WeakSet())
    cfg = world.config()
    with pytest.raises(SegGenError, match="built without the swap"):
        train(cfg, tmp_path, loader=stock_loader(cfg))


def refused(cfg, match, mapper=lambda record: record):
    with pytest.raises(SegGenError, match=match) as error:
        swap(mapper, cfg)
    return error.value


def test_a_config_without_the_keys():
    refused(get_cfg(), "no SEGGEN keys")


def test_a_loader_without_a_config(world):
    with pytest.raises(SegGenError, match="without a config"):
        build_detection_train_loader(real_records(world))


def test_stages_belong_to_the_packages_own_trainer(world):
    with pytest.raises(SegGenError, match="tools/train_net.py"):
        build_detection_train_loader(world.config(STAGES=[{"P_AUG": 1.0, "ITERATIONS": 2}]))


def test_a_bank_that_does_not_exist(world):
    error = refused(world.config(BANKS=["no/such/bank"]), "neither a registered bank nor a folder")
    assert "no/such/bank" in error.found


def test_a_folder_that_holds_no_bank(world):
    refused(world.config(BANKS=[str(world.root / "train")]), "no bank at")


def test_a_training_set_that_is_not_registered(world):
    cfg = world.config()
    cfg.DATASETS.TRAIN = (world.train[:-1],)
    refused(cfg, f"did you mean '{world.train}'")


def test_a_panoptic_bank_for_a_semantic_config(world, tmp_path):
    BankWriter(tmp_path / "pan", BankInfo("panoptic", STUFF, default_palette(len(STUFF)), (), {}))
    error = refused(world.config(BANKS=[str(tmp_path / "pan")]), "made for another task")
    assert error.expected.startswith("semantic") and error.found == "panoptic"


def test_the_mapper_tells_the_task_where_it_is_known(world):
    class MaskFormerPanopticDatasetMapper:
        def __call__(self, record):
            return record

    error = refused(world.config(), "made for another task", MaskFormerPanopticDatasetMapper())
    assert error.expected == "panoptic (MaskFormerPanopticDatasetMapper)"


def test_a_bank_of_another_label_space(world, tmp_path):
    names = ("other", *STUFF.names[1:])
    write_bank(tmp_path / "other", range(2), sources=["scene0"], names=names)
    refused(world.config(BANKS=[str(tmp_path / "other")]), f"id 0: '{STUFF.names[0]}'.* against 'other'")


def test_a_bank_made_from_test_images(world, tmp_path):
    write_bank(tmp_path / "leak", range(2), sources=["scene0", "scene101"])
    error = refused(world.config(BANKS=[str(tmp_path / "leak")]), world.test)
    assert "scene101" in str(error) and "CHECK_SOURCES" in error.remedy
    assert swap(lambda record: record, world.config(BANKS=[str(tmp_path / "leak")], CHECK_SOURCES=False)).banks


def test_a_bank_that_is_trained_on_by_name_is_checked_too(world, tmp_path):
    name = world.train.replace("toy", "leak")
    register_bank(name, write_bank(tmp_path / "leak", range(2), sources=["scene101"]), like=world.train)
    for order, p_aug in (((name,), 0.6), ((world.train, name), 0.0)):
        cfg = world.config(BANKS=[], P_AUG=p_aug)
        cfg.DATASETS.TRAIN = order
        assert "scene101" in refused(cfg, world.test).found
    other = name.replace("leak", "panoptic")
    BankWriter(tmp_path / "pan", BankInfo("panoptic", STUFF, default_palette(len(STUFF)), (), {}))
    MetadataCatalog.get(f"{other}_like").set(
        stuff_classes=list(STUFF.names), ignore_label=255, evaluator_type="coco_panoptic_seg",
        thing_dataset_id_to_contiguous_id={}, stuff_dataset_id_to_contiguous_id={i: i for i in range(len(STUFF))},
    )
    DatasetCatalog.register(f"{other}_like", list)
    register_bank(other, tmp_path / "pan", like=f"{other}_like")
    cfg = world.config(BANKS=[])
    cfg.DATASETS.TRAIN = (world.train, other)
    refused(cfg, "made for another task")


def test_names_that_training_and_test_set_share_cannot_tell(world, tmp_path, caplog):
    cfg = world.config()
    cfg.DATASETS.TEST = (world.train,)
    assert swap(lambda record: record, cfg).banks and "cannot be checked" in caplog.text


def test_a_test_set_that_is_not_there(world):
    cfg = world.config()
    cfg.DATASETS.TEST = ("coco_2017_val",)
    refused(cfg, "cannot be read")


def test_an_empty_bank_is_refused_by_either_key(world, tmp_path):
    name = world.train.replace("toy", "empty")
    BankWriter(tmp_path / "empty", BankInfo("semantic", STUFF, default_palette(len(STUFF)), (), {}))
    register_bank(name, tmp_path / "empty", like=world.train)
    refused(world.config(BANKS=[name]), "empty is empty")
    for order in ((name,), (world.train, name)):
        cfg = world.config(BANKS=[])
        cfg.DATASETS.TRAIN = order
        with pytest.raises(SegGenError, match="empty is empty"):
            build_detection_train_loader(cfg)


@pytest.mark.parametrize("mapper", [None, lambda record: record, DatasetMapper])
@pytest.mark.parametrize("banks", [True, False])
def test_no_training_set(world, mapper, banks):
    cfg = world.config(**{} if banks else {"BANKS": []})
    cfg.DATASETS.TRAIN = ()
    with pytest.raises(SegGenError, match="DATASETS.TRAIN names no dataset"):
        build_detection_train_loader(cfg, DatasetMapper(cfg, True) if mapper is DatasetMapper else mapper)
    with pytest.raises(SegGenError, match="DATASETS.TRAIN names no dataset"):
        task_from_config(cfg)


def test_a_mapper_that_gives_none_for_every_record(world):
    name = world.train.replace("toy", "none")
    register_bank(name, world.bank, like=world.train)
    cfg = world.config(BANKS=[])
    cfg.DATASETS.TRAIN = (name,)
    with pytest.raises(SegGenError, match="None for every record"):
        next(iter(build_detection_train_loader(cfg, lambda record: None)))
