"""Label maps as colour maps and back: ``decode`` gives each pixel its nearest palette colour in RGB, exactly.

Voronoi cells are convex, so a cube of colours whose eight corners share a nearest colour lies wholly in its cell.
The colour cube is therefore cut into 64^3 blocks of 4x4x4: whole blocks share one row a category in a table, only
the blocks that a border crosses hold 64 answers of their own. Decoding is two look-ups a pixel.
"""

from __future__ import annotations

import functools

import numpy as np

from seggen_d2.foundation.errors import SegGenError

from .borders import doubtful, settled
from .palette import Palette, _squared_distances

BLOCK = 4  # colours a side of a block
SIDE = 256 // BLOCK


class ColorCodec:
    """Encode label maps by a palette, decode colour maps to labels.

    Args:
        palette: colours of N categories, ignore and edge.
        ignore_id: the label that stands for unlabelled pixels.
    """

    def __init__(self, palette: Palette, ignore_id: int = 255):
        self.palette = palette
        self.ignore_id = ignore_id
        self._dtype = np.uint8 if max(ignore_id, len(palette) - 1) <= 255 else np.uint16
        self._blocks, self._answers = _tables(palette.all_colors.tobytes())
        # the edge is no category: its pixels come back as ignore
        ids = np.concatenate([np.arange(len(palette)), [ignore_id, ignore_id]]).astype(self._dtype)
        self._ids, self._labels = ids, ids[self._answers]

    def encode(self, labels: np.ndarray) -> np.ndarray:
        """``(H, W)`` integer labels to ``(H, W, 3)`` uint8 RGB.

        Raises:
            SegGenError: an id is neither a category nor the ignore label.
        """
        colors = np.zeros((max(len(self.palette), self.ignore_id) + 1, 3), dtype=np.uint8)
        colors[: len(self.palette)] = self.palette.colors
        colors[self.ignore_id] = self.palette.ignore_color
        flat = np.asarray(labels)
        bad = (flat != self.ignore_id) & ((flat < 0) | (flat >= len(self.palette)))
        if bad.any():
            raise SegGenError("a label map holds ids without a colour", expected=f"0..{len(self.palette) - 1} or {self.ignore_id}",
                              found=f"{np.unique(flat[bad])[:10].tolist()} on {int(bad.sum())} pixels")
        return colors[flat]

    def decode(self, rgb: np.ndarray) -> np.ndarray:
        """``(H, W, 3)`` uint8 RGB to ``(H, W)`` labels (uint8, or uint16 past 255); ties go to the lower id."""
        return self._labels.take(self._answer(rgb))

    def decode_blended(self, rgb: np.ndarray) -> np.ndarray:
        """:meth:`decode` for maps that a network painted: blends along borders go to one of the two colours that they mix.

        Raises:
            SegGenError: opencv is not installed.
        """
        return self._ids.take(settled(rgb, self.nearest(rgb), self.palette.all_colors))

    def doubtful(self, rgb: np.ndarray) -> np.ndarray:
        """``(H, W)`` bool: pixels by borders that noise may have brought to either side; see :func:`.borders.doubtful`.

        Raises:
            SegGenError: opencv is not installed.
        """
        return doubtful(rgb, self.nearest(rgb), self.palette.all_colors)

    def nearest(self, rgb: np.ndarray) -> np.ndarray:
        """``(H, W)`` uint16: which of the palette's colours is nearest; N is the ignore colour, N + 1 the edge's."""
        return self._answers.take(self._answer(rgb))

    def _answer(self, rgb: np.ndarray) -> np.ndarray:
        red, green, blue = (np.ascontiguousarray(rgb[..., c]).astype(np.int32) for c in range(3))
        block = self._blocks.take(((red >> 2) << 12) | ((green >> 2) << 6) | (blue >> 2))
        block <<= 6
        block |= ((red & 3) << 4) | ((green & 3) << 2) | (blue & 3)
        return block

    def distance(self, rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """How far each pixel is from the colour of its label: ``(H, W)`` float32, RGB units (0 to 442)."""
        difference = rgb.astype(np.float32) - self.encode(labels).astype(np.float32)
        return np.sqrt((difference**2).sum(-1))

    def distance_to(self, rgb: np.ndarray, places: np.ndarray) -> np.ndarray:
        """:meth:`distance` to the palette's colours at ``places``, as :meth:`nearest` gives them; ``(..., 3)`` and ``(...)``."""
        difference = rgb.astype(np.float32) - self.palette.all_colors.astype(np.float32)[places]
        return np.sqrt((difference**2).sum(-1))

    def unsure(self, rgb: np.ndarray) -> np.ndarray:
        """``(H, W)`` bool: pixels farther from their label's colour than a quarter of the palette's smallest distance.

        The edge's colour is none of a label map's: its pixels are unsure.
        """
        return self.distance(rgb, self.decode(rgb)) > self.palette.min_distance() / 4


@functools.lru_cache(maxsize=4)
def _tables(packed: bytes) -> tuple[np.ndarray, np.ndarray]:
    """``(64^3,)`` int32 block numbers and ``(blocks * 64,)`` uint16 indices of the nearest colour."""
    colors = np.frombuffer(packed, dtype=np.uint8).reshape(-1, 3).astype(np.float32)
    whole = _whole_blocks(colors)
    mixed = np.flatnonzero(whole < 0)
    blocks = whole.astype(np.int32)
    blocks[mixed] = len(colors) + np.arange(len(mixed), dtype=np.int32)
    inner = np.stack(np.meshgrid(*[np.arange(BLOCK)] * 3, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    corners = np.stack(np.unravel_index(mixed, (SIDE,) * 3), -1).astype(np.float32) * BLOCK
    answers = [np.repeat(np.arange(len(colors), dtype=np.uint16), BLOCK**3)]
    for start in range(0, len(corners), 512):
        points = (corners[start : start + 512, None] + inner[None]).reshape(-1, 3)
        answers.append(_nearest(points, colors))
    return blocks, np.concatenate(answers)


def _whole_blocks(colors: np.ndarray) -> np.ndarray:
    """``(64^3,)`` int: the colour that owns a block alone, or -1 where a border crosses it."""
    ends = np.sort(np.concatenate([np.arange(0, 256, BLOCK), np.arange(BLOCK - 1, 256, BLOCK)])).astype(np.float32)
    plane = np.stack(np.meshgrid(ends, ends, indexing="ij"), -1).reshape(-1, 2)
    owners = np.empty((len(ends),) * 3, dtype=np.uint16)
    for i, red in enumerate(ends):
        points = np.concatenate([np.full((len(plane), 1), red, dtype=np.float32), plane], 1)
        owners[i] = _nearest(points, colors).reshape(len(ends), len(ends))
    corners = owners.reshape(SIDE, 2, SIDE, 2, SIDE, 2).transpose(0, 2, 4, 1, 3, 5).reshape(SIDE**3, 8)
    return np.where((corners == corners[:, :1]).all(1), corners[:, 0].astype(np.int32), -1)


def _nearest(points: np.ndarray, colors: np.ndarray) -> np.ndarray:
    return _squared_distances(points, colors).argmin(1).astype(np.uint16)
