"""A photo by day, as it might look in another light: a change of its colours in linear light, no knowledge of the scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]
HORIZON = 0.45  # share of the height
ABOVE, BELOW = 0.45, 0.25  # shares of the height by which the distance has halved
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear sRGB (IEC 61966-2-1)
_CODES = np.arange(256, dtype=np.float32) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """What a light does. Values are linear light, 0 to 1.

    Attributes:
        gains: of red, green and blue.
        highlights: bright parts, the sky above all, lose their lead: a luminance L becomes L / (1 + highlights L).
        grey: share of the colours' saturation that is lost, 0 to 1.
        upper: a gain of the uppermost row; it becomes 1 at the lowest.
        haze: optical depth of the air up to the horizon.
        air: the colour of the air.
        shot: noise variance of a sensor per unit of light.
        read: standard deviation of its noise in the dark.
    """

    gains: Color
    highlights: float = 0.0
    grey: float = 0.0
    upper: float = 1.0
    haze: float = 0.0
    air: Color = (0.0, 0.0, 0.0)
    shot: float = 1e-4
    read: float = 1e-3


LIGHTS = {
    "dawn": Light((0.95, 0.72, 0.66), highlights=0.8, grey=0.15, haze=0.12, air=(0.6, 0.45, 0.42), shot=4e-4, read=3e-3),
    "overcast": Light((0.85, 0.9, 0.96), highlights=0.9, grey=0.5, haze=0.05, air=(0.45, 0.48, 0.52), shot=3e-4, read=2e-3),
    "fog": Light((0.8, 0.82, 0.85), highlights=0.5, grey=0.3, haze=1.2, air=(0.5, 0.52, 0.54), shot=3e-4, read=2e-3),
    "dusk": Light((0.82, 0.54, 0.45), highlights=2.0, grey=0.1, upper=0.6, haze=0.05, air=(0.28, 0.17, 0.16), shot=8e-4, read=3e-3),
    "night": Light((0.62, 0.6, 0.68), highlights=6.0, grey=0.3, upper=0.2, shot=1e-3, read=4e-3),
}


def relight(image: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """``(H, W, 3)`` uint8 sRGB in another light, of the same form; ``rng`` draws the sensor's noise."""
    linear = _LINEAR[image]
    luminance = (linear @ LUMINANCE)[..., None]
    linear += light.grey * (luminance - linear)
    linear *= np.asarray(light.gains, np.float32) / (1 + light.highlights * luminance)
    rows = np.linspace(0, 1, len(image), dtype=np.float32)[:, None, None]
    linear *= light.upper + (1 - light.upper) * rows
    through = np.exp(-light.haze * depth(rows))
    linear = linear * through + np.asarray(light.air, np.float32) * (1 - through)
    linear += np.sqrt(light.shot * linear + light.read**2) * rng.standard_normal(linear.shape, dtype=np.float32)
    return _encoded(linear)


def depth(rows: np.ndarray) -> np.ndarray:
    """How far what a row shows is taken to be, 0 to 1: farthest at the horizon, the ground below it nearer and nearer, and
    above it more slowly what stands on the ground; ``rows`` are shares of the height, 0 at the top."""
    away = rows - HORIZON
    return (1 / (1 + (away / np.where(away < 0, ABOVE, BELOW)) ** 2)).astype(np.float32)


def _encoded(linear: np.ndarray) -> np.ndarray:
    """Linear light, cut to 0 to 1, as uint8 sRGB."""
    linear = np.clip(linear, 0, 1)
    codes = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** np.float32(1 / 2.4) - 0.055)
    return (codes * 255 + 0.5).astype(np.uint8)
