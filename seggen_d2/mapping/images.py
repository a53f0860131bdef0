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
from .enlarging import enlarge
from .plan import Flip, Plan, Size

PADDING = 128  # grey, in all three channels
CHANNELS = {"RGB": (0, 1, 2), "BGR": (2, 1, 0)}
_ORIENTATION = 0x0112  # EXIF's tag
_CV2_FLIPS = {(True, False): 0, (False, True): 1, (True, True): -1}


def read_upright(where: str) -> Image.Image:
    """The RGB image of a file or ``bank://`` member, turned as its EXIF orientation says.

    Raises:
        SegGenError: it is missing, empty, truncated or no image.
    """
    image = open_image(open_member(where), where)
    return image if image.getexif().get(_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(image)


def render_image(image: Image.Image, plan: Plan, channels: str = "RGB") -> torch.Tensor:
    """The plan's window of ``image``, padded: (3, H, W) uint8, channels in the order that ``channels`` names."""
    pixels = apply_colours(resized_window(image, plan), plan.colours)
    return _planes(_flipped(pixels, plan.flip), plan, CHANNELS[channels])


def resized_window(image: Image.Image, plan: Plan) -> np.ndarray:
    """(height, width, 3) uint8 window of the image flipped and resized by Pillow's bilinear filter.

    Byte for byte the pixels of resizing all and cutting. Pillow's own ``box`` would leave out the rest too, but holds its
    edges in single precision: up to a tenth of the values then differ by one or two. Nor is a JPEG decoded at a
    reduced size, which would change pixels as well.
    """
    top, left, rows, columns = plan.window
    if plan.resized == plan.source:
        return _flipped(np.asarray(image), plan.source_flip)[top : top + rows, left : left + columns]
    if all(after >= before for after, before in zip(plan.resized, plan.source, strict=True)):
        return enlarge(_flipped(np.asarray(image), plan.source_flip), plan.resized, plan.window)
    for flip, way in zip(plan.source_flip, (Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_LEFT_RIGHT), strict=True):
        image = image.transpose(way) if flip else image
    return np.asarray(_shrink(image, plan.resized, plan.window))


def _flipped(pixels: np.ndarray, flip: Flip) -> np.ndarray:
    """(H, W, 3) upside down, left to right, both or neither."""
    return cv2.flip(pixels, _CV2_FLIPS[flip]) if any(flip) else pixels


def _shrink(image: Image.Image, resized: Size, window: tuple[int, int, int, int]) -> Image.Image:
    """A window of the resized image; Pillow filters along rows first, then along columns.

    Rows that the window does not need are left out of the first pass, columns out of the second.
    """
    (height, width), (top, left, rows, columns) = resized, window
    if (rows, columns) == resized:
        return image.resize((width, height), Image.Resampling.BILINEAR)
    first, last = _rows_needed(image.height, height, top, top + rows)
    band = image.crop((0, first, image.width, last)).resize((width, last - first), Image.Resampling.BILINEAR)
    strip = band.crop((left, -first, left + columns, image.height - first))  # rows left out are black, and not read
    return strip.resize((columns, height), Image.Resampling.BILINEAR).crop((0, top, columns, top + rows))


def _rows_needed(source: int, resized: int, top: int, bottom: int) -> tuple[int, int]:
    """First and past-the-last row of the file that the bilinear filter reads for rows ``top`` to ``bottom``."""
    step = source / resized
    reach = max(step, 1.0) + 1
    return max(0, math.floor((top + 0.5) * step - reach)), min(source, math.ceil((bottom - 0.5) * step + reach))


def _planes(pixels: np.ndarray, plan: Plan, order: tuple[int, ...]) -> torch.Tensor:
    """(H, W, 3) to (3, H, W) of the plan's canvas; ``order`` says where each channel goes."""
    height, width = plan.window_size
    planes = np.empty((3, *plan.canvas), np.uint8)
    cv2.split(pixels, [planes[place, :height, :width] for place in order])
    planes[:, height:] = PADDING
    planes[:, :height, width:] = PADDING
    return torch.from_numpy(planes)
