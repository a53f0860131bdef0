"""Pictures as ``data:`` URIs, for pages that load nothing."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def data_uri(image: np.ndarray, *, exact: bool, quality: int = 88) -> str:
    """An ``(H, W, 3)`` uint8 RGB image (or ``(H, W)`` grey) as PNG where it must be ``exact``, else as JPEG."""
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.save(buffer, "PNG", optimize=True) if exact else picture.save(buffer, "JPEG", quality=quality)
    return f"data:image/{'png' if exact else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def fitted(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Height and width of an array of ``shape`` when its longer side has at most ``side`` pixels."""
    scale = min(1.0, side / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """An ``(H, W, 3)`` uint8 image of at most ``side`` pixels on its longer side."""
    height, width = fitted(image.shape, side)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
