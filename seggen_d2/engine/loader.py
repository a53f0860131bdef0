"""From records to batches.

The sampler hands the global sample number over with the index; workers draw nothing of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from seggen_d2.mixing import NumberedDataset, NumberedSampler


def train_loader(
    records: Sequence[dict[str, Any]],
    mapper: Callable[..., dict[str, Any]],
    sampler: NumberedSampler,
    *,
    batch_size: int,
    workers: int,
) -> DataLoader:
    """An endless loader of batches ``{"samples": [sample, ...]}``.

    Args:
        sampler: hands each index over with its number.
        batch_size: samples a batch, of this process.
        workers: processes that map; 0 maps in this one.
    """
    generator = torch.Generator()  # of its own, so that an iterator's start draws nothing from the training's
    return DataLoader(
        NumberedDataset(records, mapper),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=as_samples,
        generator=generator,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def as_samples(samples: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The model's argument by name; samples differ in their number of segments and are not stacked."""
    return {"samples": samples}
