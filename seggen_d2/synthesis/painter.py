"""Makes samples: a mask maker, then Mask2Img; everything after the networks stands apart, so that it can run in another thread."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from seggen_d2.bank import Rejection, Sample
from seggen_d2.bank.mask_members import mask_members
from seggen_d2.foundation.seeds import derive_seed
from seggen_d2.generators.directory import GeneratorCard, load_generator
from seggen_d2.generators.examples.texts import check_captions
from seggen_d2.generators.sampling.sampler import SampleBatch, Sampler
from seggen_d2.segmentation.mask_codec import MaskCodec, mask_codec
from seggen_d2.segmentation.masks import Mask
from seggen_d2.sources import read_image

from .job import Job
from .masks import HumanMasks, MaskMaker, SampledMasks
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
        pipeline = load_generator(options.mask2img, "mask2img", **load)
        captions = {source.source_id: source.captions for source in job.plan.sources}
        check_captions(captions, pipeline, cut=options.long_captions == "cut", where=options.captions)
        self.categories = job.source.categories
        self.sampler, self.codec = Sampler(pipeline, options.images), self._codec(job.card)
        self.masks = self._mask_maker(load)

    def _codec(self, card: GeneratorCard) -> MaskCodec:
        return mask_codec(card.task, card.read_palette(card.kind), self.categories, edge_width=card.edge_width, edges=card.edges)

    def _mask_maker(self, load: dict) -> MaskMaker:
        job, options = self.job, self.job.options
        if job.strategy == "imgsyn":
            return HumanMasks(job.records, job.source)
        text2mask = load_generator(options.text2mask, "text2mask", **load)
        return SampledMasks(Sampler(text2mask, options.masks), self._codec(job.cards["text2mask"]), self.categories, options.quality)

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
                           np.stack([self.codec.encode(mask) for _, mask in kept]), photos)

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


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
