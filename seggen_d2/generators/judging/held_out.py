"""Held-out pairs: photos, captions and masks that a generator never saw, for the measurements along its training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.segmentation.mask_codec import MaskCodec
from seggen_d2.segmentation.masks import Mask
from seggen_d2.sources import Source
from seggen_d2.sources.masks import read_labelled, read_mask

from ..examples.texts import captions_of
from ..geometry import Geometry, View
from ..sampling.options import SamplerOptions
from ..sampling.sampler import SampleBatch


@dataclass(frozen=True)
class ValidationOptions:
    """How held-out pairs are sampled.

    Attributes:
        pictures: held-out pairs, spread evenly over their dataset.
        batch: samples at once.
        sampler: few steps are enough to see what a generator heeds.
        copy_distance: a sampled mask nearer than this to a training mask counts as its copy; see :mod:`.copies`.
        seed: of the samples.
    """

    pictures: int = 32
    batch: int = 4
    sampler: SamplerOptions = field(default_factory=lambda: SamplerOptions(steps=12))
    copy_distance: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("validation: pictures", self.pictures, 2, 10**6)
        check_range("validation: batch", self.batch, 1, 4096)
        check_range("validation: copy_distance", self.copy_distance, 0, 1)
        odd = [name for name, plain in (("distilled", not self.sampler.distilled), ("strength", self.sampler.strength == 1)) if not plain]
        if odd:
            raise SegGenError(f"validation: sampler: {' and '.join(odd)} cannot be used along a training", expected="no such key",
                              found=", ".join(f"{name}: {getattr(self.sampler, name)}" for name in odd),
                              remedy="leave it out: distilled weights would stay in what is trained, and a photo to start from shows its mask")


@dataclass(frozen=True)
class Pair:
    """A held-out photo and its mask, by name: they are read when they are needed."""

    record: dict[str, Any]
    caption: str
    view: View


@dataclass(frozen=True)
class HeldOut:
    """Pairs that a generator never saw, as it would see them.

    Args:
        source: their dataset.
        captions: ``{image_id: its captions}``; the first is used.
        geometry, codec: the generator's.
        options: how many, and how they are sampled.

    Raises:
        SegGenError: the dataset has fewer than two pairs.
    """

    source: Source
    captions: Mapping[str, str | Sequence[str]]
    geometry: Geometry
    codec: MaskCodec
    options: ValidationOptions

    def __post_init__(self) -> None:
        if len(self.source.records()) < 2:
            raise SegGenError(f"dataset {self.source.name} is too small to validate on", expected="two pairs or more",
                              found=str(len(self.source.records())))

    def batches(self) -> Iterator[list[Pair]]:
        """Pairs of one size each; the same in every call."""
        records, sizes = self.source.records(), defaultdict(list)
        count = min(self.options.pictures, len(records))
        for number in range(count):
            record = records[number * len(records) // count]
            view = self.geometry.views(record["height"], record["width"])[0]
            sizes[view.out].append(Pair(record, captions_of(self.captions[str(record["image_id"])])[0], view))
        for pairs in sizes.values():
            yield from (pairs[start : start + self.options.batch] for start in range(0, len(pairs), self.options.batch))

    def mask(self, pair: Pair) -> Mask:
        """The pair's mask at the view's size."""
        return pair.view.mask(read_mask(pair.record, self.source))

    def photo(self, pair: Pair) -> np.ndarray:
        """The pair's photo ``(H, W, 3)`` uint8 at the view's size."""
        return pair.view.image(read_labelled(pair.record, self.source)[0])

    def to_paint(self, pairs: Sequence[Pair], masks: Sequence[Mask] | None = None) -> SampleBatch:
        """What a generator is given; with masks, what Mask2Img is given."""
        seeds = [derive_seed("validation", self.options.seed, str(pair.record["image_id"])) for pair in pairs]
        maps = None if masks is None else np.stack([self.codec.encode(mask) for mask in masks])
        return SampleBatch([p.caption for p in pairs], seeds, [p.view.time_ids() for p in pairs], *pairs[0].view.out, color_maps=maps)
