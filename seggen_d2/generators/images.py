"""Between pixels and tensors; each converter names its value domain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .geometry import resize_image

__all__ = ["from_unit", "resize_image", "to_signed", "to_unit"]


def to_signed(images: Sequence[np.ndarray] | np.ndarray) -> torch.Tensor:
    """uint8 ``(B, H, W, 3)`` => float32 ``(B, 3, H, W)`` in [-1, 1], what the VAE takes."""
    return _planes(images).div_(127.5).sub_(1)


def to_unit(images: Sequence[np.ndarray] | np.ndarray) -> torch.Tensor:
    """uint8 ``(B, H, W, 3)`` => float32 ``(B, 3, H, W)`` in [0, 1], what a ControlNet's condition is."""
    return _planes(images).div_(255)


def _planes(images: Sequence[np.ndarray] | np.ndarray) -> torch.Tensor:
    """Images of one size, colours first, as float32 in [0, 255]; written into place, so that nothing is held twice."""
    planes = torch.empty((len(images), 3, *images[0].shape[:2]))
    for place, image in zip(planes, images, strict=True):
        place.copy_(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1))
    return planes


def from_unit(images: torch.Tensor) -> np.ndarray:
    """float ``(B, 3, H, W)`` in [0, 1] => uint8 ``(B, H, W, 3)``, rounded."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
