"""Between latents and pixels: the VAE at a precision that keeps colours, in parts that fit the memory."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL

from seggen_d2.foundation.errors import SegGenError

from ..images import from_unit, to_signed
from .options import SamplerOptions

PIXELS_AT_ONCE = 1024 * 1024


class PixelDecoder:
    """A VAE both ways: ``(B, C, h, w)`` scaled latents, ``(B, H, W, 3)`` uint8 images.

    Args:
        vae: it is brought to ``options.decode_dtype``, whatever the other networks' type is.
        options: precision, images at once, tiles.

    Raises:
        SegGenError: the VAE overflows at that precision.
    """

    def __init__(self, vae: AutoencoderKL, options: SamplerOptions):
        if options.decode_dtype == "float16" and vae.config.force_upcast:
            raise SegGenError("this base's VAE overflows in float16", expected="decode_dtype: float32 or bfloat16",
                              found="force_upcast: true in the VAE's config", remedy="leave decode_dtype out, or use a base with a mended VAE")
        dtype = getattr(torch, options.decode_dtype)
        self.vae, self.options = vae if vae.dtype == dtype else vae.to(dtype), options
        if options.decode_tiles:
            self.vae.enable_tiling()

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """Latents to images."""
        latents = (latents.float() / self.vae.config.scaling_factor).to(self.vae.device, self.vae.dtype)
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        size = self._at_once(latents.shape[2] * latents.shape[3] * factor**2)
        parts = [self.vae.decode(part, return_dict=False)[0].float() / 2 + 0.5 for part in latents.split(size)]
        return from_unit(torch.cat(parts))

    @torch.no_grad()
    def encode(self, images: np.ndarray) -> torch.Tensor:
        """Images to the means of their posteriors, as float32 latents."""
        pixels = to_signed(images).to(self.vae.device, self.vae.dtype)
        size = self._at_once(pixels.shape[2] * pixels.shape[3])
        means = torch.cat([self.vae.encode(part).latent_dist.mean.float() for part in pixels.split(size)])
        return means * self.vae.config.scaling_factor

    def _at_once(self, pixels: int) -> int:
        """How many images of that many pixels the VAE sees at once."""
        return self.options.decode_batch or max(1, PIXELS_AT_ONCE // pixels)
