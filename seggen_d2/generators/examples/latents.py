"""Pictures as latents, and both as bytes of a cache's row.

Shapes: B pictures of ``(H, W)`` pixels, C latent channels of ``(h, w)``; H = h times the VAE's factor. Latents are scaled as
the base's UNet takes them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from PIL import Image
from torch import nn
from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError

from ..images import to_signed

PRECISIONS = {"float16": np.float16, "float32": np.float32}


@contextmanager
def in_float32(vae: AutoencoderKL) -> Iterator[AutoencoderKL]:
    """The VAE in float32, whatever it was loaded in: SDXL's overflows in float16 (``force_upcast``), and bfloat16 blurs latents."""
    before = vae.dtype
    nn.Module.to(vae, torch.float32)
    try:
        with torch.autocast(vae.device.type, enabled=False):
            yield vae
    finally:
        nn.Module.to(vae, before)


def scale_of(vae: AutoencoderKL) -> tuple[torch.Tensor, torch.Tensor]:
    """Shift and factor, ``(C, 1, 1)`` or scalars: latents are ``(raw - shift) * factor``.

    The mirror of what ``StableDiffusionXLPipeline`` undoes before it decodes.
    """
    means, deviations = (getattr(vae.config, name, None) for name in ("latents_mean", "latents_std"))
    if means is None or deviations is None:
        return torch.tensor(0.0), torch.tensor(vae.config.scaling_factor)
    return torch.tensor(means).view(-1, 1, 1), vae.config.scaling_factor / torch.tensor(deviations).view(-1, 1, 1)


@torch.no_grad()
def encode_batch(vae: AutoencoderKL, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """``(B, H, W, 3)`` uint8 to mean and standard deviation of scaled latents, float32 ``(B, C, h, w)`` on the CPU.

    ``vae`` is in float32.
    """
    posterior = vae.encode(to_signed(images).to(vae.device)).latent_dist
    shift, factor = scale_of(vae)
    return (posterior.mean.cpu() - shift) * factor, posterior.std.cpu() * factor


def encode_pictures(pipeline: StableDiffusionXLPipeline, images: np.ndarray, chunk: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`encode_batch` of any number of pictures, ``chunk`` at once."""
    with in_float32(pipeline.vae) as vae:
        parts = [encode_batch(vae, images[start : start + chunk])
                 for start in tqdm(range(0, len(images), chunk), desc="latents", unit="batch", mininterval=1)]
    return tuple(torch.cat(both) for both in zip(*parts, strict=True))


@dataclass(frozen=True)
class LatentLayout:
    """How latents lie in a row: for each way round the mean, then the deviation; what follows is the condition's PNG.

    Attributes:
        channels: C.
        factor: pixels a latent pixel, along each side.
        ways: 2 where mirror images are kept, else 1.
        precision: ``float16`` or ``float32``.
    """

    channels: int
    factor: int
    ways: int
    precision: str

    def shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """``(C, h, w)`` of a picture of ``size``."""
        return self.channels, size[0] // self.factor, size[1] // self.factor

    def bytes_of(self, size: tuple[int, int], ways: int = 0) -> int:
        """Bytes of ``ways`` ways round (0: all) of a picture of ``size``."""
        return 2 * (ways or self.ways) * math.prod(self.shape(size)) * np.dtype(PRECISIONS[self.precision]).itemsize

    def read(self, row: bytes, size: tuple[int, int], way: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation, float32 ``(C, h, w)``, of one way round (1: mirrored)."""
        count = self.bytes_of(size, 1) // np.dtype(PRECISIONS[self.precision]).itemsize
        values = np.frombuffer(row, PRECISIONS[self.precision], count, way * self.bytes_of(size, 1)).astype(np.float32)
        return tuple(torch.from_numpy(values).view(2, *self.shape(size)))

    def condition(self, row: bytes, size: tuple[int, int], way: int) -> np.ndarray:
        """The condition ``(3, H, W)`` uint8 RGB of one way round."""
        return read_color_png(row[self.bytes_of(size) :], mirrored=bool(way))


def to_bytes(values: torch.Tensor, precision: str, what: str) -> bytes:
    """Float values as bytes of ``precision``.

    Raises:
        SegGenError: one is not finite, or too large for float16.
    """
    with np.errstate(over="ignore"):  # told below
        array = values.float().cpu().numpy().astype(PRECISIONS[precision])
    if not np.isfinite(array).all():
        raise SegGenError(f"{what} cannot be stored as {precision}", expected="finite values",
                          found=f"{np.count_nonzero(~np.isfinite(array))} of {array.size} are not",
                          remedy="set cache: precision: float32; where that is set, the base's weights are broken")
    return array.tobytes()


def color_png(rgb: np.ndarray) -> bytes:
    """A colour map ``(H, W, 3)`` uint8 as PNG bytes: with a palette up to 256 colours, which is a third of the work to read."""
    packed = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colors, places = np.unique(packed, return_inverse=True)
    if len(colors) > 256:
        image = Image.fromarray(rgb)
    else:
        image = Image.fromarray(places.reshape(rgb.shape[:2]).astype(np.uint8), "P")
        image.putpalette(np.stack([colors >> 16, colors >> 8 & 255, colors & 255], 1).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def read_color_png(data: bytes, *, mirrored: bool = False) -> np.ndarray:
    """The inverse of :func:`color_png`, or of its mirror image, colours first: ``(3, H, W)`` uint8."""
    with Image.open(io.BytesIO(data)) as image:
        values = np.asarray(image)[:, :: -1 if mirrored else 1]
        if image.mode != "P":
            return np.ascontiguousarray(values.transpose(2, 0, 1))
        places, colors = values.tobytes(), bytes(image.getpalette("RGB")).ljust(3 * 256, b"\0")
    planes = b"".join(places.translate(colors[channel::3]) for channel in range(3))  # a table look-up a byte, as fast as copying
    return np.frombuffer(planes, np.uint8).reshape(3, *values.shape)
