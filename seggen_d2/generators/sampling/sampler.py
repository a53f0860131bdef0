"""Sample colour maps and images: per-sample noise, any batch, any size of the base's.

Text2Mask and Mask2Img are one :class:`Sampler`, without and with a ControlNet in the pipeline. A sample's noise comes
from a CPU float32 generator of its own seed, so that its inputs depend on nothing else. With no shortcut on, the result
is that of diffusers' own pipeline from the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DiffusionPipeline

from seggen_d2.foundation.errors import SegGenError

from ..images import to_unit
from .distilled import load_distilled
from .options import Distilled, SamplerOptions
from .pixels import PixelDecoder
from .prediction import Conditions, GuidedPrediction, PromptMemory
from .solver import Solver, draw_noise

__all__ = ["Distilled", "SampleBatch", "Sampler", "SamplerOptions", "noise"]


@dataclass(frozen=True, eq=False)
class SampleBatch:
    """What one batch is painted from.

    Attributes:
        captions: B texts.
        seeds: B seeds.
        time_ids: ``(B, 6)`` SDXL's micro-conditioning: original height and width, crop top and left, target height and width.
        height, width: pixels of every image of the batch.
        color_maps: ``(B, H, W, 3)`` uint8, for a Mask2Img.
        photos: ``(B, H, W, 3)`` uint8, to start from where the strength is below 1.
    """

    captions: Sequence[str]
    seeds: Sequence[int]
    time_ids: Sequence[Sequence[float]]
    height: int
    width: int
    color_maps: np.ndarray | None = None
    photos: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.captions)
        assert len(self.seeds) == count and np.shape(self.time_ids) == (count, 6), "a seed and six time ids a caption"
        for name in ("color_maps", "photos"):
            images = getattr(self, name)
            assert images is None or (images.shape == (count, self.height, self.width, 3) and images.dtype == np.uint8), \
                f"{name}: uint8 of the batch's size, not {images.dtype} {images.shape}"

    def __len__(self) -> int:
        return len(self.captions)


class Sampler:
    """Paints batches with one pipeline.

    ``latents`` and ``images`` may run in two threads, so that one batch is decoded while the next is denoised.

    Args:
        pipeline: a Text2Mask or a Mask2Img. Its VAE is brought to the decoding precision; distilled weights, if any, are
            fused into its UNet.
        options: how.

    Raises:
        SegGenError: the options do not go with the pipeline's base.
    """

    def __init__(self, pipeline: DiffusionPipeline, options: SamplerOptions):
        self.pipeline, self.options = pipeline, options
        load_distilled(pipeline, options.distilled)
        self.solver = Solver(pipeline.scheduler.config, options)
        self.prompts, self.decoder = PromptMemory(pipeline), PixelDecoder(pipeline.vae, options)
        self.unet, self.controlnet = (_prepared(getattr(pipeline, name, None), options) for name in ("unet", "controlnet"))
        self.threads = torch.get_num_threads()

    def paint(self, batch: SampleBatch) -> np.ndarray:
        """Images ``(B, H, W, 3)`` uint8 RGB; of a Text2Mask, colour maps that are not yet decoded."""
        return self.images(self.latents(batch))

    @torch.no_grad()
    def latents(self, batch: SampleBatch) -> torch.Tensor:
        """The images' scaled latents ``(B, C, h, w)`` float32, on the pipeline's device.

        Raises:
            SegGenError: the batch lacks what the pipeline needs, or its size does not fit the networks.
        """
        self._check(batch)
        generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
        noise = draw_noise(generators, latent_shape(self.pipeline, batch.height, batch.width)).to(self.pipeline.device)
        photos = self.decoder.encode(batch.photos) if self.options.strength < 1 else None
        predict = GuidedPrediction(self.unet, self.controlnet, self._conditions(batch), self.prompts.no_caption(len(batch)), self.options)
        return self.solver.run(predict, noise, generators, photos)

    def images(self, latents: torch.Tensor) -> np.ndarray:
        """Latents to images ``(B, H, W, 3)`` uint8 RGB."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)  # a new thread starts with OpenMP's own count, and sums round by it
        return self.decoder.decode(latents)

    def _conditions(self, batch: SampleBatch) -> Conditions:
        embeds, pooled = self.prompts(batch.captions)
        time_ids = torch.as_tensor(np.asarray(batch.time_ids, np.float32), device=embeds.device)
        maps = None if self.controlnet is None else to_unit(batch.color_maps).to(embeds.device, self.controlnet.dtype)
        return Conditions(embeds.to(self.unet.dtype), pooled.to(self.unet.dtype), time_ids, maps)

    def _check(self, batch: SampleBatch) -> None:
        levels = len(self.pipeline.unet.config.block_out_channels)
        multiple = self.pipeline.vae_scale_factor * 2 ** (levels - 1)
        if batch.height % multiple or batch.width % multiple:
            raise SegGenError("the size does not fit the networks", expected=f"height and width in multiples of {multiple}",
                              found=f"{batch.height} x {batch.width}", remedy="round both")
        if (self.controlnet is None) != (batch.color_maps is None):
            raise SegGenError("colour maps and pipeline do not go together", expected="colour maps for a Mask2Img, none for a Text2Mask",
                              found=f"{type(self.pipeline).__name__} {'without' if batch.color_maps is None else 'with'} colour maps")
        if self.options.strength < 1 and batch.photos is None:
            raise SegGenError(f"strength {self.options.strength} needs photos to start from", expected="a photo a sample",
                              found="none", remedy="only ImgSyn has them: set strength: 1.0 otherwise")


def _prepared(network: torch.nn.Module | None, options: SamplerOptions) -> torch.nn.Module | None:
    """``network`` as the options want it to run."""
    if network is None:
        return None
    network.eval()
    if options.channels_last:
        network.to(memory_format=torch.channels_last)
    return torch.compile(network) if options.compile else network


def latent_shape(pipeline: DiffusionPipeline, height: int, width: int) -> tuple[int, int, int]:
    """``(C, h, w)`` of one image's latents."""
    return pipeline.unet.config.in_channels, height // pipeline.vae_scale_factor, width // pipeline.vae_scale_factor


def noise(pipeline: DiffusionPipeline, seeds: Sequence[int], height: int, width: int) -> torch.Tensor:
    """The noise that a batch starts from: standard normal ``(B, C, h, w)`` float32, one CPU generator a sample."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return draw_noise(generators, latent_shape(pipeline, height, width)).to(pipeline.device)
