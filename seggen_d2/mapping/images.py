"""Images: decoded once, and rendered once by a plan, inside its window alone."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps

from seggen_d2.bank.paths import open_member
from seggen_d2.sources import open_image

from .colours import apply_colours
from .enlarging import enlarge
from .plan import Plan

PADDING = 128  # grey, in all three channels
CHANNELS = {"RGB": (0, 1, 2), "BGR": (2, 1, 0)}
_ORIENTATION = 0x0112  # EXIF's tag
_WAYS = Image.Transpose
_PILLOW_FLIPS = {(True, False): _WAYS.FLIP_TOP_BOTTOM, (False, True): _WAYS.FLIP_LEFT_RIGHT, (True, True): _WAYS.ROTATE_180}
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
    pixels = cv2.flip(pixels, _CV2_FLIPS[plan.flip]) if any(plan.flip) else pixels
    return _planes(pixels, plan, CHANNELS[channels])


def resized_window(image: Image.Image, plan: Plan) -> np.ndarray:
    """(height, width, 3) uint8 window of the image flipped and resized by Pillow's bilinear filter.

    Byte for byte the pixels of resizing all and cutting, which is what is done where the image gets smaller: the order
    of Pillow's two passes, and so the rounding, then depends on the sizes. Pillow's own ``box`` would leave out the rest
    as well, but holds its edges in single precision: up to a tenth of the values then differ by one or two. Nor is a JPEG
    decoded at a reduced size, which would change pixels too.
    """
    top, left, rows, columns = plan.window
    image = image.transpose(_PILLOW_FLIPS[plan.source_flip]) if any(plan.source_flip) else image
    if all(after >= before for after, before in zip(plan.resized, plan.source, strict=True)):
        return enlarge(np.asarray(image), plan.resized, plan.window)
    whole = np.asarray(image.resize(plan.resized[::-1], Image.Resampling.BILINEAR))
    return whole[top : top + rows, left : left + columns]


def _planes(pixels: np.ndarray, plan: Plan, order: tuple[int, ...]) -> torch.Tensor:
    """(H, W, 3) to (3, H, W) of the plan's canvas; ``order`` says where each channel goes."""
    height, width = plan.window_size
    planes = np.empty((3, *plan.canvas), np.uint8)
    cv2.split(pixels, [planes[place, :height, :width] for place in order])
    planes[:, height:] = PADDING
    planes[:, :height, width:] = PADDING
    return torch.from_numpy(planes)
