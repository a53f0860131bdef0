"""Which colours of a blurred, noisy colour map are real, and which are blends along a border.

Halfway between two colours there is often a third category's. So pixels are told apart first: *sure* ones have their
colour exactly, or lie amid a 3 x 3 square of one nearest colour; bands of blends are thinner. An unsure pixel looks along
16 rays, as far as half a latent cell, for the sure colour that each meets first, and takes the nearest of these. Where
no ray meets any, its own nearest colour stays. So a blend goes to one of the colours on its two sides, and a speck without
a sure pixel to its surroundings. All pixels of clean maps are sure: decoding inverts encoding exactly.
"""

from __future__ import annotations

import math

import numpy as np

from .opencv import opencv

REACH = 4  # pixels: half a latent cell of Stable Diffusion's VAEs
RAYS = 16
SUBSAMPLED = 4  # every so many rows and columns tell the noise
CHI_3 = 1.538  # median length of a vector of three normal numbers
NEAR = 2.0  # deviations of the noise: colours so near the middle of two may be either


def settled(rgb: np.ndarray, places: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Each pixel's colour, with blends given to one of the colours that they mix.

    Args:
        rgb: ``(H, W, 3)`` uint8.
        places: ``(H, W)`` uint16, the place in ``colors`` of each pixel's nearest colour.
        colors: ``(C, 3)`` uint8.

    Returns:
        ``(H, W)`` uint16, places in ``colors``.

    Raises:
        SegGenError: opencv is not installed.
    """
    sure = _sure(rgb, places, colors)
    unsure = np.flatnonzero(~sure)
    found = places.copy()
    if len(unsure):
        met = _met(places, sure, unsure, len(colors))
        found.ravel()[unsure] = _choose(rgb.reshape(-1, 3)[unsure], places.ravel()[unsure], met, colors)
    return found


def doubtful(rgb: np.ndarray, places: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """``(H, W)`` bool: unsure pixels that the map's noise may have brought to one side of a border or to the other, and those
    that no ray leads to a sure pixel; arguments as in :func:`settled`."""
    sure = _sure(rgb, places, colors)
    unsure = np.flatnonzero(~sure)
    doubt = np.zeros(places.shape, bool)
    if len(unsure):
        met, pixels = _met(places, sure, unsure, len(colors)), rgb.reshape(-1, 3)[unsure]
        chosen = _choose(pixels, places.ravel()[unsure], met, colors)
        alone = np.logical_and.reduce([place == len(colors) for place in met])
        doubt.ravel()[unsure] = alone | (_margin(pixels, chosen, met, colors) < NEAR * noise_of(rgb, places, colors))
    return doubt


def noise_of(rgb: np.ndarray, places: np.ndarray, colors: np.ndarray) -> float:
    """The deviation of a map's noise, RGB units; arguments as in :func:`settled`. Most of its pixels are no blends."""
    some = np.s_[::SUBSAMPLED, ::SUBSAMPLED]
    away = rgb[some].astype(np.float32) - colors[places[some]]
    return math.sqrt(float(np.median((away**2).sum(-1)))) / CHI_3


def _sure(rgb: np.ndarray, places: np.ndarray, colors: np.ndarray) -> np.ndarray:
    cv2, square = opencv(), np.ones((3, 3), np.uint8)
    sure = cv2.dilate(places, square) == cv2.erode(places, square)
    rest = np.flatnonzero(~sure)
    sure.ravel()[rest] = (rgb.reshape(-1, 3)[rest] == colors[places.ravel()[rest]]).all(-1)
    return sure


def _met(places: np.ndarray, sure: np.ndarray, unsure: np.ndarray, nothing: int) -> list[np.ndarray]:
    """For each ray, the colour that each unsure pixel (given flat) meets first; ``nothing`` where it meets none."""
    width = places.shape[1] + 2 * REACH
    seen = np.pad(np.where(sure, places, np.uint16(nothing)), REACH, constant_values=nothing).ravel()
    start = unsure + unsure // places.shape[1] * (2 * REACH) + REACH * width + REACH
    met = []
    for steps in _rays():
        first = np.full(len(unsure), nothing, np.uint16)
        for down, right in reversed(steps):
            here = seen.take(start + (down * width + right))
            first = np.where(here != nothing, here, first)
        met.append(first)
    return met


def _rays() -> list[list[tuple[int, int]]]:
    """Steps ``(down, right)`` of each ray, nearest first, each once."""
    angles = [2 * math.pi * ray / RAYS for ray in range(RAYS)]
    return [list(dict.fromkeys((round(step * math.sin(a)), round(step * math.cos(a))) for step in range(1, REACH + 1))) for a in angles]


def _choose(rgb: np.ndarray, nearest: np.ndarray, met: list[np.ndarray], colors: np.ndarray) -> np.ndarray:
    """``(U,)`` uint16: of the colours met by each of ``(U, 3)`` pixels the nearest one, or ``nearest`` where none is met."""
    known, pixels, chosen = _with_nothing(colors), rgb.astype(np.float32), nearest.copy()
    least = np.full(len(rgb), 1e6, np.float32)
    for place in met:
        squared = _squared(known.take(place, axis=0), pixels)
        nearer = squared < least
        np.copyto(least, squared, where=nearer)
        np.copyto(chosen, place, where=nearer)
    return chosen


def _margin(rgb: np.ndarray, chosen: np.ndarray, met: list[np.ndarray], colors: np.ndarray) -> np.ndarray:
    """``(U,)``: how far each pixel is from the plane midway between its chosen colour and another met one, RGB units."""
    known, pixels = _with_nothing(colors), rgb.astype(np.float32)
    own = known.take(chosen, axis=0)
    away, margin = _squared(own, pixels), np.full(len(rgb), np.inf, np.float32)
    for place in met:
        other = known.take(place, axis=0)
        apart = np.sqrt(_squared(other, own))
        distance = (_squared(other, pixels) - away) / (2 * np.maximum(apart, 1))
        np.copyto(margin, distance, where=(place != chosen) & (distance < margin))
    return margin


def _with_nothing(colors: np.ndarray) -> np.ndarray:
    """``(C + 1, 3)`` float32, the last one farther from all than any colour."""
    return np.concatenate([colors.astype(np.float32), np.full((1, 3), 1e4, np.float32)])


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    away = a - b
    return np.einsum("uc,uc->u", away, away)
