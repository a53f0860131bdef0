"""Where a synthetic sample's mask comes from: a human (ImgSyn), Text2Mask (MaskSyn), or nobody (unlabelled)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from seggen_d2.bank.mask_members import useless
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.generators.sampling.sampler import SampleBatch, Sampler
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.mask_codec import MaskCodec
from seggen_d2.segmentation.masks import InstanceMask, Mask, SegmentMask, SemanticMask
from seggen_d2.sources import Source
from seggen_d2.sources.masks import read_mask

from .plan import SampleSpec
from .quality import QualityOptions, fault


class MaskMaker(Protocol):
    """A batch of specs, all of one size, to masks of that size, or to the reason why there is none."""

    def __call__(self, specs: Sequence[SampleSpec]) -> list[Mask | str]: ...


class HumanMasks:
    """ImgSyn: what the spec's view shows of the real image's own mask.

    Objects stay whole under those that lie over them, and crowds stay marked: only the colour map that Mask2Img sees
    shows the smallest on top, and crowds as unlabelled.

    Args:
        records: the dataset's records by ``source_id``.
        source: the dataset.
    """

    def __init__(self, records: Mapping[str, dict[str, Any]], source: Source):
        self.records, self.source = records, source

    def __call__(self, specs: Sequence[SampleSpec]) -> list[Mask | str]:
        masks = [spec.view.mask(read_mask(self.records[spec.source_id], self.source)) for spec in specs]
        return [useless(mask) or mask for mask in masks]


class SampledMasks:
    """MaskSyn: Text2Mask paints a colour map from the spec's caption; it is decoded and judged.

    Args:
        sampler: of a Text2Mask.
        codec: of the colour maps that it was trained on.
        categories: the label space.
        quality: what is rejected.
    """

    def __init__(self, sampler: Sampler, codec: MaskCodec, categories: Categories, quality: QualityOptions):
        self.sampler, self.codec, self.categories, self.quality = sampler, codec, categories, quality

    def __call__(self, specs: Sequence[SampleSpec]) -> list[Mask | str]:
        height, width = specs[0].view.out
        seeds = [derive_seed(spec.seed, "mask") for spec in specs]
        batch = SampleBatch([spec.caption for spec in specs], seeds, [spec.view.time_ids() for spec in specs], height, width)
        return [self._judged(rgb, spec.caption) for rgb, spec in zip(self.sampler.paint(batch), specs, strict=True)]

    def _judged(self, rgb: np.ndarray, caption: str) -> Mask | str:
        decoded = self.codec.decode(rgb)
        wrong = fault(self.codec.unsure(rgb), decoded, caption, self.categories, self.quality)
        if wrong or not self.quality.ignore_doubtful or decoded.mask.task == "instance":
            return wrong or decoded.mask
        return decoded.mask.without(self.codec.doubtful(rgb))


class NoMasks:
    """Unlabelled: every pixel is ignored, and there is no segment and no object.

    Args:
        task: ``semantic``, ``panoptic`` or ``instance``.
        ignore_id: the label of unlabelled pixels.
    """

    def __init__(self, task: str, ignore_id: int):
        self.task, self.ignore_id = task, ignore_id

    def __call__(self, specs: Sequence[SampleSpec]) -> list[Mask | str]:
        return [self._empty(spec.view.out) for spec in specs]

    def _empty(self, size: tuple[int, int]) -> Mask:
        if self.task == "instance":
            return InstanceMask(size, (), self.ignore_id)
        if self.task == "panoptic":
            return SegmentMask(np.zeros(size, np.int32), (), self.ignore_id)
        return SemanticMask(np.full(size, self.ignore_id, np.uint8 if self.ignore_id <= 255 else np.uint16), self.ignore_id)
