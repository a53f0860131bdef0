"""Between pixels and tensors; each converter names its value domain."""

from __future__ import annotations

import cv2
import numpy as np
import torch


def to_signed(images: np.ndarray) -> torch.Tensor:
    """uint8 ``(B, H, W, 3)`` => float32 ``(B, 3, H, W)`` in [-1, 1], what the VAE takes."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_unit(images: np.ndarray) -> torch.Tensor:
    """uint8 ``(B, H, W, 3)`` => float32 ``(B, 3, H, W)`` in [0, 1], what a ControlNet's condition is."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def from_unit(images: torch.Tensor) -> np.ndarray:
    """float ``(B, 3, H, W)`` in [0, 1] => uint8 ``(B, H, W, 3)``, rounded."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Photo ``(H, W, 3)`` uint8 to ``(height, width, 3)``: area averaging down, cubic up. Never for label maps."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
