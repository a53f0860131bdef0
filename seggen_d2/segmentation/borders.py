"""Which colours of a blurred, noisy colour map are real, and which are blends along a border.

Halfway between two colours there is often a third category's. So pixels are told apart first: *sure* ones have their
colour exactly, or lie in a 3 x 3 square of one nearest colour and match it but for noise; all others may be blends. An unsure
pixel looks along 16 rays, as far as half a latent cell, for the sure colour that each meets first, and takes the nearest
of these. Where no ray meets any, its own nearest colour stays. So a blend goes to one of the colours on its two sides, and a speck
without a sure pixel goes to its surroundings. Clean maps have sure pixels alone: decoding inverts encoding exactly.
"""

from __future__ import annotations

import math

import numpy as np

from .opencv import opencv

REACH = 4  # pixels: half a latent cell of Stable Diffusion's VAEs
RAYS = 16
SUBSAMPLED = 4  # every so many rows and columns tell the noise
MATCH = 1.5  # deviations of the noise: the mean colour of a sure pixel's square is so near its colour
LEAST = 2.0  # RGB units: what rounding may do
RAYLEIGH = 1.538  # median length of three-dimensional Gaussian noise of deviation 1


def settled(rgb: np.ndarray, places: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's colour, with blends given to one of the colours that they mix.

    Args:
        rgb: ``(H, W, 3)`` uint8.
        places: ``(H, W)`` uint16, the place in ``colors`` of each pixel's nearest colour.
        colors: ``(C, 3)`` uint8.

    Returns:
        ``(H, W)`` uint16, places in ``colors``, and ``(H, W)`` bool, the sure pixels.

    Raises:
        SegGenError: opencv is not installed.
    """
    sure = _sure(rgb, places, colors)
    unsure = np.flatnonzero(~sure)
    if not len(unsure):
        return places, sure
    found = places.copy()
    found.ravel()[unsure] = _choose(rgb.reshape(-1, 3)[unsure], places.ravel()[unsure], _met(places, sure, unsure, len(colors)), colors)
    return found, sure


def noise_of(away: np.ndarray) -> float:
    """The deviation of a map's noise, RGB units, of ``(H, W, 3)`` differences to the nearest colours; most pixels are no blends."""
    some = away[::SUBSAMPLED, ::SUBSAMPLED].astype(np.float32)
    return math.sqrt(float(np.median((some**2).sum(-1)))) / RAYLEIGH


def _sure(rgb: np.ndarray, places: np.ndarray, colors: np.ndarray) -> np.ndarray:
    cv2 = opencv()
    away = rgb.astype(np.int16)
    away -= colors.astype(np.int16)[places]
    exact = ~away.any(-1)
    if exact.all():
        return exact
    square = np.ones((3, 3), np.uint8)
    alike = cv2.dilate(places, square) == cv2.erode(places, square)
    mean = cv2.blur(away, (3, 3)).astype(np.float32)
    return alike & (np.einsum("hwc,hwc->hw", mean, mean) < max(LEAST, MATCH * noise_of(away)) ** 2) | exact


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
    known = np.concatenate([colors, np.zeros((1, 3), np.uint8)]).astype(np.float32)
    known[-1] = 1e4  # farther than any colour
    pixels, chosen = rgb.astype(np.float32), nearest.copy()
    least = np.full(len(rgb), 1e6, np.float32)
    for place in met:
        away = known.take(place, axis=0)
        away -= pixels
        squared = np.einsum("uc,uc->u", away, away)
        nearer = squared < least
        np.copyto(least, squared, where=nearer)
        np.copyto(chosen, place, where=nearer)
    return chosen
