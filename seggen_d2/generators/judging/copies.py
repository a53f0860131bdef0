"""Masks that are copies: how near sampled masks come to those that a generator was trained on.

Masks are compared as thumbnails of ``SIDE`` x ``SIDE`` labels, both ways round; the distance of two is the share of their
pixels whose labels differ, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from seggen_d2.segmentation.masks import Mask

SIDE = 24
BYTES = 2 * SIDE * SIDE


def thumbnail(mask: Mask) -> np.ndarray:
    """``(SIDE, SIDE)`` uint16 labels, whatever the mask's size and aspect."""
    return mask.resized(SIDE, SIDE).labels().astype("<u2")


def read_thumbnails(data: Iterable[bytes]) -> np.ndarray:
    """Bytes of N thumbnails to ``(N, SIDE, SIDE)`` uint16."""
    return np.stack([np.frombuffer(part, "<u2").reshape(SIDE, SIDE) for part in data])


def nearest_distances(sampled: np.ndarray, training: Iterable[np.ndarray]) -> np.ndarray:
    """The distance of each sampled mask to the training mask nearest to it.

    Args:
        sampled: ``(S, SIDE, SIDE)`` thumbnails.
        training: parts ``(n, SIDE, SIDE)`` of all training thumbnails, so that they are never held at once.

    Returns:
        ``(S,)`` float64; 1 where there is no training mask.
    """
    nearest = np.ones(len(sampled))
    for part in training:
        for place, one in enumerate(sampled):
            for way in (one, one[:, ::-1]):
                nearest[place] = min(nearest[place], (part != way).mean((1, 2)).min())
    return nearest
