"""Geometry: which part of a photo a network sees, and at which size.

Photos are never stretched. Each goes to the aspect bucket nearest its own aspect, is scaled until it covers that bucket, and what
stands over is cropped; the crop goes into SDXL's time ids (Podell et al. 2023, sections 2.2 and 2.3). Large photos may be cut
into overlapping views instead, so that small objects keep their size.

Sizes are (height, width) in pixels throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from seggen_d2.foundation.errors import SegGenError, check_range

if TYPE_CHECKING:
    from seggen_d2.segmentation.masks import Mask

OVERLAP = 1 / 8  # the least that neighbouring views share, as a part of a view


@dataclass(frozen=True)
class View:
    """A window of a photo, and the size it is brought to.

    Attributes:
        top, left, height, width: the window, pixels of the source photo.
        out: size of the view, of the window's aspect up to half a source pixel.
        source: size of the photo.
    """

    top: int
    left: int
    height: int
    width: int
    out: tuple[int, int]
    source: tuple[int, int]

    def image(self, photo: np.ndarray) -> np.ndarray:
        """The photo ``(H, W, 3)`` uint8 to the view ``(*out, 3)`` uint8.

        Raises:
            SegGenError: the photo has not the size that the view was made for.
        """
        self._check(photo.shape[:2], "a photo")
        window = photo[self.top : self.top + self.height, self.left : self.left + self.width]
        return resize_image(window, *self.out)

    def mask(self, mask: Mask) -> Mask:
        """The photo's mask to the view's, by nearest neighbour; its pixels are those of :meth:`image`.

        Raises:
            SegGenError: the mask has not the size that the view was made for.
        """
        self._check(mask.shape, "a mask")
        return mask.window(self.top, self.left, self.height, self.width).resized(*self.out)

    def _check(self, found: tuple[int, ...], what: str) -> None:
        if tuple(found) != tuple(self.source):
            raise SegGenError(f"{what} has another size than its view was made for", expected="{} x {} (H x W)".format(*self.source),
                              found=" x ".join(map(str, found)), remedy="sizes in the records must be those of the files")

    def mirrored(self) -> View:
        """The same part of the mirrored photo."""
        return replace(self, left=self.source[1] - self.left - self.width)

    def time_ids(self) -> tuple[float, float, float, float, float, float]:
        """SDXL's micro-conditioning: original height and width, crop top and left, target height and width.

        The crop is told in pixels of the photo after it was scaled, as in SDXL's training; the order is that of
        ``StableDiffusionXLPipeline._get_add_time_ids``.
        """
        top, left = round(self.top * self.out[0] / self.height), round(self.left * self.out[1] / self.width)
        return tuple(map(float, (*self.source, top, left, *self.out)))


@dataclass(frozen=True)
class Geometry:
    """How photos of any size become batches of one size.

    Attributes:
        height, width: one fixed size for all; 0 and 0: aspect buckets.
        pixels: the base's pixel budget, that every bucket is near (SDXL fine-tuned as in the paper: 768 x 768).
        multiple: sides of buckets are multiples of it.
        max_aspect: the longest bucket's long side by its short side; longer photos are cropped to it.
        max_shrink: 0: one view a photo. Else photos that would be scaled down more than this (2 is to half their
            sides) are cut into overlapping views that are scaled down by this.
    """

    height: int = 0
    width: int = 0
    pixels: int = 768 * 768
    multiple: int = 64
    max_aspect: float = 2.0
    max_shrink: float = 0.0

    def __post_init__(self) -> None:
        if bool(self.height) != bool(self.width):
            raise SegGenError("geometry: one side is fixed, the other is not", expected="height and width, or neither for aspect buckets",
                              found=f"height {self.height}, width {self.width}")
        for name in ("height", "width"):
            check_range(f"geometry: {name}", getattr(self, name), 8 if getattr(self, name) else 0, 8192)
        check_range("geometry: multiple", self.multiple, 1, 1024)
        check_range("geometry: pixels", self.pixels, self.multiple**2, 8192**2)
        check_range("geometry: max_aspect", self.max_aspect, 1, 64)
        check_range("geometry: max_shrink", self.max_shrink, 1 if self.max_shrink else 0, 1024)

    def buckets(self) -> tuple[tuple[int, int], ...]:
        """All sizes that views may have, from the widest to the tallest."""
        return _buckets(self)

    def bucket(self, height: int, width: int) -> tuple[int, int]:
        """The bucket of the aspect nearest to that of a photo of ``height`` x ``width``; of two, the larger."""
        return min(self.buckets(), key=lambda size: (round(abs(math.log(size[1] * height / (size[0] * width))), 9), -size[0] * size[1]))

    def views(self, height: int, width: int) -> tuple[View, ...]:
        """The views of a photo of ``height`` x ``width``: one, of the whole photo, unless it is cut.

        Views of a cut photo go by rows; together they show every pixel.
        """
        out = self.bucket(height, width)
        shrink = min(height / out[0], width / out[1])
        if not self.max_shrink or shrink <= self.max_shrink:
            window = _part(out[0] * shrink, height), _part(out[1] * shrink, width)
            return (View((height - window[0]) // 2, (width - window[1]) // 2, *window, out, (height, width)),)
        window = _part(out[0] * self.max_shrink, height), _part(out[1] * self.max_shrink, width)
        return tuple(View(top, left, *window, out, (height, width))
                     for top in _starts(height, window[0]) for left in _starts(width, window[1]))


@lru_cache(maxsize=16)
def _buckets(geometry: Geometry) -> tuple[tuple[int, int], ...]:
    if geometry.height:
        return ((geometry.height, geometry.width),)
    step, longest = geometry.multiple, math.sqrt(geometry.pixels * geometry.max_aspect)
    wide = {(side, max(step, round(geometry.pixels / side / step) * step)) for side in range(step, int(longest) + step, step)}
    both = {size for pair in wide for size in (pair, pair[::-1]) if max(size) <= geometry.max_aspect * min(size)}
    return tuple(sorted(both, key=lambda size: (size[0] / size[1], size)))


def _part(length: float, whole: int) -> int:
    return min(max(1, round(length)), whole)


def _starts(whole: int, window: int) -> list[int]:
    """Where evenly spaced windows begin, from 0 to the last that fits, neighbours overlapping by ``OVERLAP`` or more."""
    if window >= whole:
        return [0]
    count = 1 + math.ceil((whole - window) / (window * (1 - OVERLAP)))
    return [round(i * (whole - window) / (count - 1)) for i in range(count)]


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Photo ``(H, W, 3)`` uint8 to ``(height, width, 3)``: area averaging down, cubic up. Never for label maps."""
    if image.shape[:2] == (height, width):
        return image
    import cv2  # here, since plans of a synthesis read geometries without it

    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
