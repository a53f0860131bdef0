"""A plan: what augmentation does to one sample, drawn before anything is rendered.

Image and labels pass through the same stages: flip, resize, flip, cut a window, flip, pad. A plan holds the numbers of all
of them, so that pixels outside the window need never be made, and every renderer (of images, label maps, polygons)
reads the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

Size = tuple[int, int]  # height, width in pixels
Flip = tuple[bool, bool]  # upside down, left to right


@dataclass(frozen=True)
class Plan:
    """One sample's geometry and colour. Sizes are (height, width) in pixels.

    Args:
        source: size of the file.
        resized: size of the whole image after the resize.
        window: top, left, height, width of what is kept of the resized image.
        canvas: the result's size; what the window leaves open, below and on the right, is padding.
        source_flip: whether the file is flipped before the resize, along (height, width).
        flip: whether the window is flipped.
        colours: colour operations on the window, in order.
    """

    source: Size
    resized: Size
    window: tuple[int, int, int, int]
    canvas: Size
    source_flip: Flip = (False, False)
    flip: Flip = (False, False)
    colours: tuple[Any, ...] = ()

    @classmethod
    def of(cls, size: Size) -> Plan:
        """Nothing done to a file of ``size``."""
        return cls(size, size, (0, 0, *size), size)

    @property
    def window_size(self) -> Size:
        return self.window[2:]

    def resize(self, size: Size) -> Plan:
        """The whole image at ``size``; comes before any crop."""
        assert not any(self.flip) and self.window == (0, 0, *self.resized), "a plan resizes before it flips or crops"
        return replace(self, resized=size, window=(0, 0, *size), canvas=size)

    def crop(self, top: int, left: int, height: int, width: int) -> Plan:
        """Only this window of the resized image; comes before flips of the result and padding."""
        assert not any(self.flip) and self.canvas == self.window[2:], "a plan crops before it flips or pads"
        return replace(self, window=(top, left, height, width), canvas=(height, width))

    def flipped(self, axis: int) -> Plan:
        """Flipped along ``axis`` (0: upside down, 1: left to right), before the resize if none was planned yet."""
        name = "source_flip" if self.resized == self.source and self.window == (0, 0, *self.source) else "flip"
        flip = getattr(self, name)
        return replace(self, **{name: tuple(f ^ (i == axis) for i, f in enumerate(flip))})

    def pad(self, size: Size) -> Plan:
        """At least ``size``; never a cut."""
        return replace(self, canvas=(max(size[0], self.canvas[0]), max(size[1], self.canvas[1])))

    def indices(self, axis: int, sampling: Sampling) -> np.ndarray:
        """``(length of the window along axis,)`` the file's row (axis 0) or column (1) that each pixel is taken from."""
        start, length = self.window[axis], self.window[axis + 2]
        index = sampling(self.source[axis], self.resized[axis])[start : start + length]
        index = self.source[axis] - 1 - index if self.source_flip[axis] else index
        return index[::-1] if self.flip[axis] else index

    def take(self, labels: np.ndarray, sampling: Sampling) -> np.ndarray:
        """The ``(height, width)`` window of a file's ``(H, W)`` label map: nearest neighbours, no new values."""
        rows, columns = self.indices(0, sampling), self.indices(1, sampling)
        first = int(min(rows[0], rows[-1]))
        band = labels[first : int(max(rows[0], rows[-1])) + 1]
        return band.take(columns, axis=1).take(rows - first, axis=0)


Sampling = Callable[[int, int], np.ndarray]
Areas = Callable[[Plan], np.ndarray] | None
Augmentation = Callable[[Plan, np.random.Generator, Areas], Plan]


@lru_cache(maxsize=256)
def centres(source: int, resized: int) -> np.ndarray:
    """``(resized,)`` source indices nearest to the pixels' centres, as Pillow's nearest neighbour has them.

    Pillow adds up steps of source / resized; the same sum is taken here, so that ties fall alike.
    """
    steps = np.full(resized, source / resized)
    steps[0] /= 2
    return np.minimum(np.cumsum(steps).astype(np.intp), source - 1)


@lru_cache(maxsize=256)
def corners(source: int, resized: int) -> np.ndarray:
    """``(resized,)`` source indices at the pixels' upper left corners, as torch's ``interpolate(mode="nearest")``.

    Against :func:`centres` labels lie half a source pixel, less half a resized one, further to the lower right. Equal to
    torch's for results of more than 256 pixels in height plus width; below that it computes in single precision.
    """
    places = (np.arange(resized) * (source / resized)).astype(np.float32)
    return np.minimum(np.floor(places).astype(np.intp), source - 1)
