"""From a config's keys to open banks, checked against what they shall stand in for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from detectron2.data import DatasetCatalog, DatasetFromList, get_detection_dataset_dicts
from torch.utils.data import ConcatDataset, Dataset

from seggen_d2.bank import FilteredBank
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing.filters import through_filter
from seggen_d2.mixing.leaks import check_leaks
from seggen_d2.mixing.sampling import check_banks
from seggen_d2.sources import load_dataset

from .bank_dataset import BankDataset, PluginBank
from .coco_semantic import register_coco_semantic
from .label_space import check_label_space, check_task, task_of
from .registration import bank_root, check_registered, is_bank, read_bank_info, register_all, register_source

__all__ = [
    "PluginBank",
    "banks_from_config",
    "read_records",
    "register_from_config",
    "task_from_config",
    "train_names",
    "train_records",
]

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


def train_names(cfg: Any) -> tuple[str, ...]:
    """``DATASETS.TRAIN``, a name or more.

    Raises:
        SegGenError: it is empty.
    """
    if not cfg.DATASETS.TRAIN:
        raise SegGenError(
            "DATASETS.TRAIN names no dataset",
            expected="names registered in DatasetCatalog",
            found=repr(cfg.DATASETS.TRAIN),
            remedy="name what is trained on, in the config file or on the command line",
        )
    return tuple(cfg.DATASETS.TRAIN)


def task_from_config(cfg: Any) -> tuple[str | None, str]:
    """The task that a config's training mapper reads, and what tells so; None where nothing does.

    Raises:
        SegGenError: only the training set could tell, and there is none.
    """
    name = cfg.INPUT.get("DATASET_MAPPER_NAME", "")
    if name in TASKS:
        return TASKS[name], f"INPUT.DATASET_MAPPER_NAME {name}"
    train = train_names(cfg)[0]
    return task_of(train), f"dataset {train}"


def banks_from_config(
    cfg: Any, task: tuple[str | None, str] | None = None, names: Sequence[str] | None = None
) -> list[PluginBank | FilteredBank]:
    """Open the banks to swap from, after :func:`register_from_config`, read through ``SEGGEN.FILTER``.

    Args:
        cfg: a Detectron2 config with this package's keys.
        task: the task that the mapper reads and what tells so; by default as the config has it.
        names: registered names or folders; by default ``SEGGEN.BANKS``.

    Raises:
        SegGenError: a bank, or one that stands in ``DATASETS.TRAIN``, is not found, is empty, was made for another task
            or label space than that of ``DATASETS.TRAIN[0]``, or, unless ``SEGGEN.CHECK_SOURCES`` is False, was made
            from images of ``DATASETS.TEST``.
    """
    register_from_config(cfg)
    check_registered(cfg.DATASETS.TRAIN, "DATASETS.TRAIN")
    names = cfg.SEGGEN.BANKS if names is None else names
    banks = [_open_fitting(name, "SEGGEN.BANKS", cfg, task) for name in names]
    trained = [_open_fitting(name, "DATASETS.TRAIN", cfg, task) for name in cfg.DATASETS.TRAIN if is_bank(name)]
    if cfg.SEGGEN.CHECK_SOURCES and (banks or trained):
        real = [name for name in cfg.DATASETS.TRAIN if not is_bank(name)]
        check_sources([*banks, *trained], cfg.DATASETS.TEST, real)
    return through_filter(banks, cfg.SEGGEN.FILTER)


def _open_fitting(name: str, key: str, cfg: Any, task: tuple[str | None, str] | None) -> PluginBank:
    root = bank_root(name, key)
    info = read_bank_info(root, key)
    wanted, why = task or task_from_config(cfg)
    if wanted:
        check_task(info, root, wanted, why)
    check_label_space(info, root, train_names(cfg)[0])
    bank = PluginBank(root)
    check_banks([bank])
    return bank


def check_sources(banks: Sequence[PluginBank], tests: Sequence[str], train: Sequence[str]) -> None:
    """No bank may be made from images of a test set.

    The training set is read only where names speak against a bank: names that both sets have cannot tell.

    Args:
        banks: those that training reads. tests: names of the test sets. train: names of the real training sets.

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


def train_records(cfg: Any) -> Dataset:
    """The records of ``DATASETS.TRAIN``, in order.

    Lists are serialised once, as Detectron2 does, so that workers share them; what is lazy already, a bank, is taken
    as it is, read through ``SEGGEN.FILTER``.

    Raises:
        SegGenError: no dataset is named, or one's files are not there or cannot be read.
    """
    found = [read_records(name, "DATASETS.TRAIN", cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS) for name in train_names(cfg)]
    parts = [DatasetFromList(part, copy=False) if isinstance(part, list) else _filtered(part, cfg.SEGGEN.FILTER) for part in found]
    return parts[0] if len(parts) == 1 else ConcatDataset(parts)


def _filtered(records: Dataset, name: str) -> Dataset:
    """A bank's records through its filter."""
    return BankDataset(*through_filter([records.bank], name)) if isinstance(records, BankDataset) else records


def read_records(name: str, key: str, filter_empty: bool = False) -> Dataset | list[dict[str, Any]]:
    """What Detectron2's catalog gives for dataset ``name``, which config key ``key`` names.

    Raises:
        SegGenError: its files are not there or cannot be read.
    """
    try:
        return get_detection_dataset_dicts(name, filter_empty=filter_empty)
    except (OSError, AssertionError) as error:
        root = os.environ.get("DETECTRON2_DATASETS", "datasets")
        raise SegGenError(
            f"{key}: dataset {name} cannot be read",
            expected=f"its files, for Detectron2's own datasets under {os.path.abspath(root)} (DETECTRON2_DATASETS)",
            found=f"{type(error).__name__}: {error}",
            remedy="prepare it as Detectron2's or Mask2Former's own datasets/README.md says (configs/README.md here tells "
            "which files), or set DETECTRON2_DATASETS to where it is",
        ) from error
