"""From a record to a sample: read, augment, make targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from seggen_d2.bank.paths import open_member
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.sources import read_image

from .augmentations import Augmentation
from .targets import TargetGenerator


class DatasetMapper:
    """A callable in Detectron2's sense: dataset dict in, model input out. Plain files and ``bank://`` alike.

    Args:
        augmentations: applied in order.
        targets: makes what is learned from the labels; None at test time, where no label is read.
        seed: with the sample's global number it fixes every draw.
    """

    def __init__(self, augmentations: Sequence[Augmentation], targets: TargetGenerator | None = None, seed: int = 0):
        self.augmentations, self.targets, self.seed = list(augmentations), targets, seed
        self._calls = 0

    def __call__(self, record: dict[str, Any], number: int | None = None) -> dict[str, Any]:
        """Map one record.

        Args:
            record: at least ``file_name``, and what ``targets`` reads.
            number: the sample's global number. Without it (a host's loader) draws follow seed, worker and call.

        Returns:
            The record's facts, ``image`` (3, H, W) uint8 RGB, the file's ``height`` and ``width`` in
            pixels, and the targets.

        Raises:
            SegGenError: a file cannot be read, or image and mask differ in size.
        """
        where = record["file_name"]
        image = read_image(open_member(where), where)
        sample = {**record, "height": image.shape[0], "width": image.shape[1]}
        labels = self.targets.read(record) if self.targets else None
        if labels is not None and labels.shape[:2] != image.shape[:2]:
            raise SegGenError(
                f"{where} and its mask {record.get('sem_seg_file_name')} differ in size",
                expected=f"a mask of {image.shape[1]}x{image.shape[0]} pixels",
                found=f"{labels.shape[1]}x{labels.shape[0]}",
                remedy="resize the mask by nearest neighbour",
            )
        generator = self._generator(number)
        for augmentation in self.augmentations:
            image, labels = augmentation(image, labels, generator)
        sample["image"] = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return sample if labels is None else {**sample, **self.targets(labels, record)}

    def _generator(self, number: int | None) -> np.random.Generator:
        if number is not None:
            return np.random.default_rng(derive_seed("mapping", self.seed, number))
        worker, call = get_worker_info(), self._calls
        self._calls += 1
        return np.random.default_rng(derive_seed("host mapping", self.seed, worker.id if worker else -1, call))
