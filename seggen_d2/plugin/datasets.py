"""From a config's keys to open banks, checked against what they shall stand in for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detectron2.data import DatasetCatalog

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing.leaks import check_leaks
from seggen_d2.sources import load_dataset

from .bank_dataset import PluginBank
from .coco_semantic import register_coco_semantic
from .label_space import check_label_space, check_task, task_of
from .registration import bank_root, check_registered, read_bank_info, register_all, register_source

__all__ = ["PluginBank", "banks_from_config", "register_from_config", "task_from_config"]

TASKS = {  # INPUT.DATASET_MAPPER_NAME of Mask2Former and Mask DINO
    "mask_former_semantic": "semantic",
    "mask_former_panoptic": "panoptic",
    "mask_former_instance": "instance",
    "coco_panoptic_lsj": "panoptic",
    "coco_instance_lsj": "instance",
    "coco_instance_detr": "instance",
}


def register_from_config(cfg: Any) -> None:
    """Register the files of ``SEGGEN.DATASETS``, the banks under ``SEGGEN.BANK_ROOT``, and COCO with semantic labels.

    Raises:
        SegGenError: a file cannot be read, the root is no folder, or a bank does not fit its name.
    """
    for file in cfg.SEGGEN.DATASETS:
        register_source(load_dataset(file))
    register_coco_semantic([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
    if cfg.SEGGEN.BANK_ROOT:
        register_all(cfg.SEGGEN.BANK_ROOT)


def task_from_config(cfg: Any) -> tuple[str | None, str]:
    """The task that a config's training mapper reads, and what tells so; None where nothing does."""
    name = cfg.INPUT.get("DATASET_MAPPER_NAME", "")
    if name in TASKS:
        return TASKS[name], f"INPUT.DATASET_MAPPER_NAME {name}"
    train = cfg.DATASETS.TRAIN[0]
    return task_of(train), f"dataset {train}"


def banks_from_config(cfg: Any, task: tuple[str | None, str] | None = None) -> list[PluginBank]:
    """Open ``SEGGEN.BANKS``, names or folders, after :func:`register_from_config`.

    Args:
        cfg: a Detectron2 config with this package's keys.
        task: the task that the mapper reads and what tells so; by default as the config has it.

    Raises:
        SegGenError: a bank is not found, was made for another task or label space than that of ``DATASETS.TRAIN[0]``,
            or, unless ``SEGGEN.CHECK_SOURCES`` is False, was made from images of ``DATASETS.TEST``.
    """
    register_from_config(cfg)
    check_registered(cfg.DATASETS.TRAIN, "DATASETS.TRAIN")
    if not cfg.SEGGEN.BANKS:
        return []
    train = cfg.DATASETS.TRAIN[0]
    wanted, why = task or task_from_config(cfg)
    banks = []
    for name in cfg.SEGGEN.BANKS:
        root = bank_root(name)
        info = read_bank_info(root, "SEGGEN.BANKS")
        if wanted:
            check_task(info, root, wanted, why)
        check_label_space(info, root, train)
        banks.append(PluginBank(root))
    if cfg.SEGGEN.CHECK_SOURCES:
        check_sources(banks, cfg.DATASETS.TEST, cfg.DATASETS.TRAIN)
    return banks


def check_sources(banks: Sequence[PluginBank], tests: Sequence[str], train: Sequence[str]) -> None:
    """No bank may be made from images of a test set.

    The training set is read only where names speak against a bank: names that both sets have cannot tell.

    Raises:
        SegGenError: one was, or a test set cannot be read.
    """
    check_registered(tests, "DATASETS.TEST")
    for name in tests:
        try:
            records = DatasetCatalog.get(name)
        except (OSError, AssertionError) as error:
            raise SegGenError(
                f"DATASETS.TEST: {name} cannot be read, so whether a bank was made from its images is unknown",
                found=f"{type(error).__name__}: {error}",
                remedy="bring its files, take it out of DATASETS.TEST, or set SEGGEN.CHECK_SOURCES to False",
            ) from error
        try:
            check_leaks(banks, records, name)
        except SegGenError:
            check_leaks(banks, records, name, (record for own in train for record in DatasetCatalog.get(own)))
