"""Where a synthetic sample's mask comes from: a human (ImgSyn) or Text2Mask (MaskSyn)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from seggen_d2.bank.mask_members import NO_OBJECT
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.generators.sampling.sampler import SampleBatch, Sampler
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.mask_codec import MaskCodec
from seggen_d2.segmentation.masks import InstanceMask, Mask
from seggen_d2.sources import Source
from seggen_d2.sources.masks import read_mask

from .plan import SampleSpec
from .quality import QualityOptions, fault

NO_LABEL = "none of its pixels is labelled"


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
        return [self._usable(spec.view.mask(read_mask(self.records[spec.source_id], self.source))) for spec in specs]

    def _usable(self, mask: Mask) -> Mask | str:
        if isinstance(mask, InstanceMask):
            return NO_OBJECT if all(thing.iscrowd for thing in mask.objects) else mask
        return mask if (mask.labels() != mask.ignore_id).any() else NO_LABEL


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
        return fault(self.codec.unsure(rgb), decoded, caption, self.categories, self.quality) or decoded.mask
