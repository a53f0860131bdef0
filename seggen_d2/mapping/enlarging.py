"""Enlarging by Pillow's bilinear filter, inside a window alone: the bytes that Pillow's resize gives, in less time.

Enlarged pixels lie between two neighbours a and b of the file, at a weight w: a + (b - a) w. Pillow's weights are whole
numbers of 2**-22, it rounds halves up, and it filters along rows first, then along columns, rounding in between.
"""

from __future__ import annotations

import cv2
import numpy as np

from .plan import Size

_BITS = 22
_ONE = 1 << _BITS
_BLOCK = 128  # rows at once, so that what is computed stays in the cache


def enlarge(pixels: np.ndarray, resized: Size, window: tuple[int, int, int, int]) -> np.ndarray:
    """The window (top, left, height, width) of ``pixels`` resized to ``resized``.

    Args:
        pixels: (H, W, 3) uint8.
        resized: height and width of the whole, neither less than H and W.

    Returns:
        (height, width, 3) uint8.
    """
    (top, left, height, width), channels = window, pixels.shape[2]
    if pixels.shape[:2] == tuple(resized):
        return pixels[top : top + height, left : left + width]
    rows, row_weights = neighbours(pixels.shape[0], resized[0], top, height)
    columns, column_weights = neighbours(pixels.shape[1], resized[1], left, width)
    part = pixels[rows[0] : rows[-1] + 2, columns[0] : columns[-1] + 2]
    lines = cv2.transpose(part).reshape(part.shape[1], -1)
    lines = _between(lines, columns - columns[0], column_weights).reshape(width, -1, channels)
    lines = cv2.transpose(lines).reshape(part.shape[0], -1)
    return _between(lines, rows - rows[0], row_weights).reshape(height, width, channels)


def neighbours(source: int, resized: int, start: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """For ``length`` resized pixels from ``start`` on: the first neighbour of each, and the second one's weight.

    Returns:
        (length,) indices below ``source``, and (length,) int32 weights in units of 2**-22; 0 where there is no second.
    """
    centres = (np.arange(start, start + length) + 0.5) * (source / resized)
    first = np.maximum((centres - 0.5).astype(np.intp), 0)
    near, far = 1 - np.abs(first - centres + 0.5), 1 - np.abs(first - centres + 1.5)
    far[(centres < 0.5) | (first == source - 1)] = 0
    return first, (0.5 + far / (near + far) * _ONE).astype(np.int32)


def _between(lines: np.ndarray, first: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(L, M) uint8 lines to (N, M): from line ``first[n]``, ``weights[n]`` of the way to the next."""
    result = lines.take(first, axis=0)
    if not weights.any():
        return result
    steps = np.zeros(lines.shape, np.int32)
    np.subtract(lines[1:], lines[:-1], out=steps[:-1], dtype=np.int32)
    whole, part = np.empty((_BLOCK, lines.shape[1]), np.int32), np.empty((_BLOCK, lines.shape[1]), np.uint8)
    for start in range(0, len(first), _BLOCK):
        block = slice(start, start + _BLOCK)
        count = len(first[block])
        moved = steps.take(first[block], axis=0, out=whole[:count], mode="clip")
        moved *= weights[block, None]
        moved += _ONE >> 1
        moved >>= _BITS
        part[:count] = moved  # modulo 256, as the sum below is
        result[block] += part[:count]
    return result
