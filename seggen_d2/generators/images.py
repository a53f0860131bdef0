"""Between pixels and tensors; each converter names its value domain."""

from __future__ import annotations

import numpy as np
import torch

from .geometry import resize_image

__all__ = ["from_unit", "resize_image", "to_signed", "to_unit"]


def to_signed(images: np.ndarray) -> torch.Tensor:
    """uint8 ``(B, H, W, 3)`` => float32 ``(B, 3, H, W)`` in [-1, 1], what the VAE takes."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_unit(images: np.ndarray) -> torch.Tensor:
    """uint8 ``(B, H, W, 3)`` => float32 ``(B, 3, H, W)`` in [0, 1], what a ControlNet's condition is."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def from_unit(images: torch.Tensor) -> np.ndarray:
    """float ``(B, 3, H, W)`` in [0, 1] => uint8 ``(B, H, W, 3)``, rounded."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
