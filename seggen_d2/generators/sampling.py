"""Sample colour maps and images: per-sample noise, any batch.

A sample's noise comes from a CPU float32 generator of its own seed, so that its inputs depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline

from seggen_d2.foundation.errors import check_range

from .images import from_unit, to_unit


@dataclass(frozen=True)
class SamplerOptions:
    """How one network is sampled.

    Attributes:
        steps: denoising steps of the Euler sampler over SDXL's schedule (the paper: 200 for masks, 40 for images).
        guidance: classifier-free guidance scale (Ho & Salimans 2022); 1 is none.
        conditioning_scale: weight of the ControlNet's residuals.
    """

    steps: int = 40
    guidance: float = 5.0
    conditioning_scale: float = 1.0

    def __post_init__(self) -> None:
        check_range("steps", self.steps, 1, 1000)
        check_range("guidance", self.guidance, 1, 50)
        check_range("conditioning_scale", self.conditioning_scale, 0, 10)


def sample_color_maps(pipeline: StableDiffusionXLPipeline, captions: Sequence[str], seeds: Sequence[int],
                      height: int, width: int, options: SamplerOptions,
                      original_size: Sequence[int] | None = None) -> np.ndarray:
    """Text2Mask: B captions and seeds to colour maps ``(B, height, width, 3)`` uint8 RGB, not yet decoded.

    ``original_size`` is the height and width that the time ids tell, as in training (:class:`GeneratorCard`).
    """
    output = pipeline(prompt=list(captions), latents=noise(pipeline, seeds, height, width), height=height, width=width,
                      num_inference_steps=options.steps, guidance_scale=options.guidance,
                      original_size=tuple(original_size or (height, width)), target_size=(height, width), output_type="pt")
    return from_unit(output.images)


def sample_images(pipeline: StableDiffusionXLControlNetPipeline, captions: Sequence[str], color_maps: np.ndarray,
                  seeds: Sequence[int], options: SamplerOptions, original_size: Sequence[int] | None = None) -> np.ndarray:
    """Mask2Img: B captions, colour maps ``(B, H, W, 3)`` uint8 and seeds to images ``(B, H, W, 3)`` uint8 RGB."""
    height, width = color_maps.shape[1:3]
    condition = to_unit(color_maps).to(pipeline.device, pipeline.unet.dtype)
    output = pipeline(prompt=list(captions), image=condition, latents=noise(pipeline, seeds, height, width),
                      height=height, width=width, num_inference_steps=options.steps, guidance_scale=options.guidance,
                      controlnet_conditioning_scale=options.conditioning_scale,
                      original_size=tuple(original_size or (height, width)), target_size=(height, width), output_type="pt")
    return from_unit(output.images)


def noise(pipeline: StableDiffusionXLPipeline, seeds: Sequence[int], height: int, width: int) -> torch.Tensor:
    """Standard normal latents ``(B, C, h, w)``, one CPU float32 generator a sample."""
    factor = pipeline.vae_scale_factor
    shape = (pipeline.unet.config.in_channels, height // factor, width // factor)
    latents = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    return latents.to(pipeline.device, pipeline.unet.dtype)
