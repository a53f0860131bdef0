"""The paired bootstrap over images: how far a difference moves when other images of the same kind had been drawn for the test.

B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993): percentile intervals (chapter 13). Both sides of a difference are
figures of the same drawn images, and each side's is the mean over its seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
LEAST = 40  # draws behind a verdict: of fewer, not one lies beyond either end
BETTER, WORSE, NEITHER = "better", "worse", "not told apart"


def draw_images(images: int, replicates: int, seed: int = 0) -> np.ndarray:
    """``(replicates, images)`` int64: how often each image is drawn when as many as there are are drawn with replacement."""
    draw = np.random.default_rng(seed)
    return np.stack([np.bincount(draw.integers(images, size=images), minlength=images) for _ in range(replicates)])


@dataclass(frozen=True)
class Interval:
    """The middle ``LEVEL`` of a figure's replicates, in percent or points.

    Attributes:
        low, high: its ends; NaN where the figure is defined in no replicate.
        replicates: those in which it is defined.
    """

    low: float
    high: float
    replicates: int

    @property
    def verdict(self) -> str:
        """Of a difference: ``better`` or ``worse`` where the interval excludes zero and stands on ``LEAST`` draws, else ``not told apart``."""
        return NEITHER if self.replicates < LEAST else BETTER if self.low > 0 else WORSE if self.high < 0 else NEITHER


def interval(values: np.ndarray) -> Interval:
    """The percentile interval of ``(R,)`` replicates; those that are NaN have no part in it."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"), 0)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), len(known))
