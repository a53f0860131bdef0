"""Images: decoded once, and rendered once by a plan, inside its window alone."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps

from seggen_d2.bank.paths import open_member
from seggen_d2.sources import open_image

from .colours import apply_colours
from .plan import Plan

PADDING = 128  # grey, in all three channels
CHANNELS = {"RGB": (0, 1, 2), "BGR": (2, 1, 0)}


def read_upright(where: str) -> Image.Image:
    """The RGB image of a file or ``bank://`` member, turned as its EXIF orientation says.

    Raises:
        SegGenError: it is missing, empty, truncated or no image.
    """
    return ImageOps.exif_transpose(open_image(open_member(where), where))


def render_image(image: Image.Image, plan: Plan, channels: str = "RGB") -> torch.Tensor:
    """The plan's window of ``image``, padded: (3, H, W) uint8, channels in the order that ``channels`` names."""
    upside_down, mirrored = plan.source_flip
    image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if upside_down else image
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image
    pixels = apply_colours(np.asarray(resized_window(image, plan)), plan.colours)
    upside_down, mirrored = plan.flip
    pixels = cv2.flip(pixels, 0) if upside_down else pixels
    pixels = cv2.flip(pixels, 1) if mirrored else pixels
    return _planes(pixels, plan, CHANNELS[channels])


def resized_window(image: Image.Image, plan: Plan) -> Image.Image:
    """The window of the image resized by Pillow's bilinear filter: the pixels of resizing all and cutting, byte for byte.

    Pillow filters rows first, then columns. So rows that the window does not need are left out of the first pass, and
    columns out of the second. Pillow's own ``box`` would do more in one call, but holds its edges in single precision:
    up to a tenth of the values then differ by one.
    """
    (height, width), (top, left, rows, columns) = plan.resized, plan.window
    if plan.window_size == plan.resized:
        return image.resize((width, height), Image.Resampling.BILINEAR)
    first, last = _rows_needed(image.height, height, top, top + rows)
    band = image.crop((0, first, image.width, last)).resize((width, last - first), Image.Resampling.BILINEAR)
    strip = Image.new("RGB", (columns, image.height))
    strip.paste(band.crop((left, 0, left + columns, last - first)), (0, first))
    return strip.resize((columns, height), Image.Resampling.BILINEAR).crop((0, top, columns, top + rows))


def _rows_needed(source: int, resized: int, top: int, bottom: int) -> tuple[int, int]:
    """First and past-the-last row of the file that the bilinear filter reads for rows ``top`` to ``bottom``."""
    step = source / resized
    reach = max(step, 1.0) + 1
    return max(0, math.floor((top + 0.5) * step - reach)), min(source, math.ceil((bottom - 0.5) * step + reach))


def _planes(pixels: np.ndarray, plan: Plan, order: tuple[int, ...]) -> torch.Tensor:
    """(H, W, 3) to (3, H, W) of the plan's canvas."""
    height, width = plan.window_size
    planes = np.empty((3, *plan.canvas), np.uint8)
    for plane, channel in zip(planes, order, strict=True):
        plane[:height, :width] = cv2.extractChannel(pixels, channel)
    planes[:, height:] = PADDING
    planes[:, :height, width:] = PADDING
    return torch.from_numpy(planes)
