"""Makes samples: a mask maker, then the network that paints images; everything after the networks stands apart, so that it can run in another thread."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from seggen_d2.bank import Rejection, Sample
from seggen_d2.bank.format import UNLABELLED
from seggen_d2.bank.mask_members import mask_members
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.generators.examples.texts import check_captions
from seggen_d2.generators.sampling.sampler import SampleBatch
from seggen_d2.segmentation.masks import Mask
from seggen_d2.sources import read_image

from .job import Job
from .masks import HumanMasks, MaskMaker, NoMasks, SampledMasks
from .plan import SampleSpec


@dataclass(frozen=True, eq=False)
class Latent:
    """A batch that the networks are done with.

    Attributes:
        kept: specs and their masks.
        rejections: specs without a useful mask.
        latents: of the images of ``kept``; None where there is none.
    """

    kept: list[tuple[SampleSpec, Mask]]
    rejections: list[Rejection]
    latents: torch.Tensor | None


class Painter:
    """The networks of a job.

    Raises:
        SegGenError: a generator cannot be opened, or a caption is too long for it.
    """

    def __init__(self, job: Job):
        self.job, options = job, job.options
        torch.set_num_threads(options.threads)
        device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
        load = {"dtype": getattr(torch, options.dtype), "device": device}
        self.sampler, self.codec = job.networks.painter(**load), job.networks.codec("mask2img")
        captions = {source.source_id: source.captions for source in job.plan.sources}
        check_captions(captions, self.sampler.pipeline, cut=options.long_captions == "cut", where=options.captions)
        self.categories = job.source.categories
        self.masks = _MASK_MAKERS[job.strategy](job, load)

    def latents(self, specs: Sequence[SampleSpec]) -> Latent:
        """What the networks make of a batch of one size."""
        made = list(zip(specs, self.masks(specs), strict=True))
        rejected = [Rejection(spec.key, spec.source_id, mask) for spec, mask in made if isinstance(mask, str)]
        kept = [(spec, mask) for spec, mask in made if not isinstance(mask, str)]
        return Latent(kept, rejected, self.sampler.latents(self._batch(kept)) if kept else None)

    def _batch(self, kept: Sequence[tuple[SampleSpec, Mask]]) -> SampleBatch:
        specs, (height, width) = [spec for spec, _ in kept], kept[0][0].view.out
        photos = np.stack([self._photo(spec) for spec in specs]) if self.job.options.images.strength < 1 else None
        return SampleBatch([spec.caption for spec in specs], [derive_seed(spec.seed, "image") for spec in specs],
                           [spec.view.time_ids() for spec in specs], height, width,
                           np.stack([self.codec.encode(mask) for _, mask in kept]) if self.codec else None, photos)

    def _photo(self, spec: SampleSpec) -> np.ndarray:
        return spec.view.image(read_image(self.job.records[spec.source_id]["file_name"]))

    def samples(self, latent: Latent) -> list[Sample]:
        """The samples of a batch, decoded and written as JPEG and PNG; may run in another thread than :meth:`latents`."""
        if latent.latents is None:
            return []
        images = self.sampler.images(latent.latents)
        return [self._sample(spec, mask, image) for (spec, mask), image in zip(latent.kept, images, strict=True)]

    def _sample(self, spec: SampleSpec, mask: Mask, image: np.ndarray) -> Sample:
        height, width = mask.shape
        return Sample(key=spec.key, image=_jpeg(image, self.job.options.jpeg_quality), source_id=spec.source_id, strategy=spec.strategy,
                      seed=spec.seed, caption=spec.caption, height=height, width=width, **mask_members(mask, self.categories))


def _sampled_masks(job: Job, load: dict[str, Any]) -> SampledMasks:
    return SampledMasks(job.networks.mask_painter(**load), job.networks.codec("text2mask"), job.source.categories, job.options.quality)


_MASK_MAKERS: dict[str, Callable[[Job, dict[str, Any]], MaskMaker]] = {
    "masksyn": _sampled_masks,
    "imgsyn": lambda job, load: HumanMasks(job.records, job.source),
    UNLABELLED: lambda job, load: NoMasks(job.source.task, job.source.categories.ignore_id),
}


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
