"""The loaders of this package's own trainer: global sample numbers, lazily read records, one copy for all workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from detectron2.data import build_detection_test_loader
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mixing import NumberedDataset, NumberedSampler

from ..data.datasets import train_records
from ..data.mapper import build_mapper
from ..hosts import host_mapper
from ..probability import course_of
from ..randomness import NoSample, NumberedMapper, seed_of
from ..swap import swap

__all__ = ["build_test_loader", "build_train_loader", "training_mapper", "training_records"]


def build_train_loader(cfg: Any, start_number: int = 0, first_number: int = 0) -> DataLoader:
    """An endless loader of this process's batches, each a list of mapped samples.

    Sample n of the run is a function of (``SEED``, n): its record, whether it is swapped and for which synthetic one,
    its augmentation. A process takes every ``world size``-th number. Images are not grouped by their shape.

    Args:
        start_number: samples that all processes together have drawn before; ``loader.sampler.start_number`` may be
            set until the loader is first iterated.
        first_number: of the stage's first sample, where its schedule of p_aug begins.

    Raises:
        SegGenError: a dataset or bank is unknown or unfit, or the batch cannot be shared out.
    """
    records, course = training_records(cfg), course_of(cfg.SEGGEN)
    p_aug = course.at(first_number, cfg.SOLVER.MAX_ITER * cfg.SOLVER.IMS_PER_BATCH)
    sampler = NumberedSampler(
        len(records),
        seed=seed_of(cfg),
        start_number=start_number,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )
    return DataLoader(
        UsableRecords(records, swap(training_mapper(cfg), cfg, p_aug)),
        batch_size=share_of_batch(cfg, comm.get_world_size()),
        sampler=sampler,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=as_list,
        generator=torch.Generator(),  # of its own, so that starting workers draws nothing from the training's
    )


class UsableRecords(NumberedDataset):
    """Where a host's mapper gives nothing for a record, the next record takes its place under the same number."""

    def __getitem__(self, pair: tuple[int, int]) -> Any:
        index, number = pair
        for place in range(index, index + len(self)):
            try:
                return super().__getitem__((place % len(self), number))
            except NoSample:
                continue
        raise SegGenError(
            "the host's mapper gives None for every record of DATASETS.TRAIN",
            expected="a sample",
            found=f"None, {len(self)} times",
            remedy="check its settings, or set SEGGEN.MAPPER to seggen",
        )


def build_test_loader(cfg: Any, name: str) -> DataLoader:
    """Detectron2's loader of test dataset ``name``, ``TEST.IMS_PER_BATCH`` images at once."""
    return build_detection_test_loader(cfg, name, batch_size=cfg.TEST.IMS_PER_BATCH)


def training_records(cfg: Any) -> Dataset:
    """The records of ``DATASETS.TRAIN``, in order; see :func:`seggen_d2.plugin.data.datasets.train_records`.

    Raises:
        SegGenError: no dataset is named, or another sampler is asked for.
    """
    if cfg.DATALOADER.SAMPLER_TRAIN != "TrainingSampler":
        raise SegGenError(
            "DATALOADER.SAMPLER_TRAIN is not known to this trainer",
            expected="TrainingSampler, which each record passes once an epoch",
            found=repr(cfg.DATALOADER.SAMPLER_TRAIN),
            remedy="leave the key out, or use your project's own train_net.py with SwapMapper (docs/detectron2.md)",
        )
    return train_records(cfg)


def training_mapper(cfg: Any) -> Callable[..., Any]:
    """``mapper(record, number)`` of ``SEGGEN.MAPPER``: this package's, or the host project's as a function of the number."""
    if cfg.SEGGEN.MAPPER == "host":
        return NumberedMapper(host_mapper(cfg), seed_of(cfg))
    return build_mapper(cfg)


def share_of_batch(cfg: Any, processes: int) -> int:
    """Images a step for each process.

    Raises:
        SegGenError: ``SOLVER.IMS_PER_BATCH`` is no multiple of processes x ``SOLVER.ACCUMULATE``.
    """
    images, parts = cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATE
    if images % (processes * parts):
        raise SegGenError(
            "SOLVER.IMS_PER_BATCH cannot be shared out",
            expected="a multiple of processes x SOLVER.ACCUMULATE",
            found=f"{images} images, {processes} processes, {parts} parts",
        )
    return images // processes


def as_list(samples: list[Any]) -> list[Any]:
    """Samples differ in size and number of segments and are not stacked."""
    return samples
