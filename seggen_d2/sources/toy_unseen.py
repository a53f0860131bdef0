"""Toy scenes of another domain: the categories in other colours and patterns, as if painted on canvas under coloured lamps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seggen_d2.foundation.seeds import derive_seed

from .toy import ToyScene, toy_scene

WORLD = 1  # other modes than those of the labelled scenes, which are of world 0
LAMPS = {"amber": (1.15, 0.85, 0.5), "violet": (0.9, 0.65, 1.15), "lime": (0.75, 1.1, 0.6)}
BRUSH = 1  # pixels: a stroke covers (BRUSH + 1) x (BRUSH + 1)
WEAVE = 0.08  # share of brightness by which the canvas' threads rise and fall
NOISE = 9.0  # standard deviation in 0..255: three times that of the labelled scenes


def unseen_scene(number: int, *, size: int = 48) -> ToyScene:
    """Scene ``number`` of the other domain: layouts as :func:`toy_scene` draws them, with the same categories."""
    scene = toy_scene(number, size=size, world=WORLD)
    rng = np.random.default_rng(derive_seed("toy-unseen", number))
    lamp = str(rng.choice(list(LAMPS)))
    light = f"{scene.attributes['scene']}, painted in {lamp} light"
    return replace(scene, image=_paint(scene.image, LAMPS[lamp], rng), attributes={**scene.attributes, "scene": light})


def _paint(image: np.ndarray, gains: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """``(H, W, 3)`` uint8 to the same: brush strokes, a lamp's ``gains`` of red, green and blue, a canvas, noise."""
    y, x = np.indices(image.shape[:2]) + rng.integers(0, 4, (2, 1, 1))
    canvas = 1 + WEAVE * np.where((x + y) % 4 < 2, np.cos(np.pi * x), np.cos(np.pi * y))
    painted = _strokes(image.astype(np.float32), BRUSH) * np.array(gains) * canvas[..., None]
    return np.clip(painted + rng.normal(0, NOISE, image.shape) + 0.5, 0, 255).astype(np.uint8)


def _strokes(image: np.ndarray, radius: int) -> np.ndarray:
    """Kuwahara et al.'s filter (1976): each pixel gets the mean of that of four windows at its corners that varies least."""
    height, width, _ = image.shape
    padded = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (radius + 1, radius + 1), axis=(0, 1))
    means, spread = windows.mean((-2, -1)), windows.var((-2, -1)).sum(-1)
    corners = [(slice(y, y + height), slice(x, x + width)) for y in (0, radius) for x in (0, radius)]
    least = np.argmin([spread[corner] for corner in corners], axis=0)
    return np.choose(least[..., None], [means[corner] for corner in corners])
