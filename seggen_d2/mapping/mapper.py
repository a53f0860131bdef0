"""From a record to a sample: read, draw a plan, render image and targets by it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.seeds import derive_seed

from .images import CHANNELS, read_upright, render_image
from .plan import Areas, Augmentation, Plan, Size
from .targets import TargetGenerator


class DatasetMapper:
    """A callable in Detectron2's sense: dataset dict in, model input out. Plain files and ``bank://`` alike.

    Args:
        augmentations: applied in order.
        targets: makes what is learned from the labels; None at test time, where no label is read.
        seed: with the sample's global number it fixes every draw.
        channels: order of the image's channels, "RGB" or "BGR".
        padding_mask: whether samples get ``padding_mask`` (H, W) bool, true where the image is padding.
    """

    def __init__(
        self,
        augmentations: Sequence[Augmentation],
        targets: TargetGenerator | None = None,
        seed: int = 0,
        *,
        channels: str = "RGB",
        padding_mask: bool = False,
    ):
        self.augmentations, self.targets, self.seed = list(augmentations), targets, seed
        self.channels, self.padding_mask = check_choice("the order of channels", channels, CHANNELS), padding_mask

    def __call__(self, record: dict[str, Any], number: int | None = None) -> dict[str, Any]:
        """Map one record.

        Args:
            record: at least ``file_name``, and what ``targets`` reads.
            number: the sample's global number. Without it (a host's loader) draws come from numpy's global generator,
                which loaders seed in each worker.

        Returns:
            The record's facts, ``image`` (3, H, W) uint8, the file's ``height`` and ``width`` in pixels, and the
            targets.

        Raises:
            SegGenError: a file cannot be read, or image, mask and record differ in size.
        """
        image = read_upright(record["file_name"])
        size = image.height, image.width
        _check_size(record, size)
        labels = self.targets.read(record, size) if self.targets else None
        plan = self.draw(size, number, partial(self.targets.areas, labels) if self.targets else None)
        sample = {**record, "height": size[0], "width": size[1], "image": render_image(image, plan, self.channels)}
        if self.padding_mask:
            sample["padding_mask"] = _padding_mask(plan)
        return {**sample, **self.targets(labels, record, plan)} if self.targets else sample

    def draw(self, size: Size, number: int | None = None, areas: Areas = None) -> Plan:
        """What is done to sample ``number``, an image of ``size`` (H, W)."""
        generator, plan = self._generator(number), Plan.of(size)
        for augmentation in self.augmentations:
            plan = augmentation(plan, generator, areas)
        return plan

    def _generator(self, number: int | None) -> np.random.Generator:
        if number is None:
            return np.random.default_rng(np.random.randint(0, 2**32, 4, dtype=np.uint32))
        return np.random.default_rng(derive_seed("mapping", self.seed, number))


def _check_size(record: dict[str, Any], size: Size) -> None:
    said = record.get("height") or size[0], record.get("width") or size[1]
    if said != size:
        raise SegGenError(
            f"{record['file_name']} is not of the size that its record says",
            expected=f"{said[1]}x{said[0]} pixels (width x height)",
            found=f"{size[1]}x{size[0]}, turned as the file's EXIF orientation says",
            remedy="correct height and width in the annotations, or use the images that they were made for",
        )


def _padding_mask(plan: Plan) -> torch.Tensor:
    mask = torch.ones(plan.canvas, dtype=torch.bool)
    mask[: plan.window_size[0], : plan.window_size[1]] = False
    return mask
