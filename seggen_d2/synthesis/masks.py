"""Where a synthetic sample's mask comes from: a human (ImgSyn) or Text2Mask (MaskSyn)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.generators.sampling import SamplerOptions, sample_color_maps
from seggen_d2.segmentation import Categories, ColorCodec, check_labels, read_label_map, resize_labels

from .plan import SampleSpec
from .quality import QualityOptions, fault


class MaskMaker(Protocol):
    """A batch of specs to label maps ``(H, W)``, or to the reason why there is none."""

    def __call__(self, specs: Sequence[SampleSpec]) -> list[np.ndarray | str]: ...


class HumanMasks:
    """ImgSyn: the source's own mask, resized by nearest neighbour.

    Args:
        mask_files: ``{source_id: path}``.
        categories: the label space that each mask is checked against.
    """

    def __init__(self, mask_files: Mapping[str, str], categories: Categories, height: int, width: int):
        self.mask_files, self.categories, self.height, self.width = mask_files, categories, height, width

    def __call__(self, specs: Sequence[SampleSpec]) -> list[np.ndarray | str]:
        return [self._read(self.mask_files[spec.source_id]) for spec in specs]

    def _read(self, path: str) -> np.ndarray:
        labels = read_label_map(path)
        check_labels(labels, self.categories, path)
        return resize_labels(labels, self.height, self.width)


class SampledMasks:
    """MaskSyn: Text2Mask paints a colour map from the source's caption; it is decoded and judged."""

    def __init__(self, pipeline, captions: Mapping[str, str], codec: ColorCodec, categories: Categories,
                 height: int, width: int, sampler: SamplerOptions, quality: QualityOptions, original_size: Sequence[int]):
        self.pipeline, self.captions, self.codec, self.categories = pipeline, captions, codec, categories
        self.height, self.width, self.sampler, self.quality, self.original_size = height, width, sampler, quality, original_size

    def __call__(self, specs: Sequence[SampleSpec]) -> list[np.ndarray | str]:
        captions = [self.captions[spec.source_id] for spec in specs]
        seeds = [derive_seed(spec.seed, "mask") for spec in specs]
        maps = sample_color_maps(self.pipeline, captions, seeds, self.height, self.width, self.sampler, self.original_size)
        return [self._judge(rgb, caption) for rgb, caption in zip(maps, captions, strict=True)]

    def _judge(self, rgb: np.ndarray, caption: str) -> np.ndarray | str:
        labels = self.codec.decode(rgb)
        return fault(rgb, labels, caption, self.codec, self.categories, self.quality) or labels
