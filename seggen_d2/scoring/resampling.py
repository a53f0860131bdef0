"""Which samples are kept, and how often each is drawn: masks of hard classes and of rare ones more often.

Source: Yang et al., "FreeMask", arXiv 2310.15160, section 3.4 (hardness of a mask: the mean losses of its classes by their pixels);
Gupta et al., "LVIS", arXiv 1908.03195, section 4 (an image counts as its rarest class). For any number of classes.

Sparse sums: E entries, one for each sample and class that it holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_SHARE = 0.002  # of a sample's labelled pixels, from which it counts as holding a class


@dataclass(frozen=True, eq=False)
class ClassPixels:
    """How much of which class each of S samples holds.

    Attributes:
        count: S.
        samples, classes: ``(E,)`` integers. pixels: ``(E,)`` numbers above 0.
    """

    count: int
    samples: np.ndarray
    classes: np.ndarray
    pixels: np.ndarray

    def per_sample(self, values: np.ndarray) -> np.ndarray:
        """``(S,)`` sums of ``(E,)`` values over each sample."""
        return np.bincount(self.samples, values, self.count)

    @property
    def held(self) -> np.ndarray:
        """``(E,)`` bool: whether the sample counts as holding the class."""
        return self.pixels >= MIN_SHARE * self.per_sample(self.pixels)[self.samples]


def hardness(held: ClassPixels, means: np.ndarray) -> np.ndarray:
    """``(S,)``: mean over a mask's pixels of their class's mean loss, ``means`` (K,); 0 of an empty mask.

    It is a figure of the mask, not of the sample's own loss: that one is hard or noisy, and nobody can tell.
    """
    return held.per_sample(held.pixels * means[held.classes]) / np.maximum(held.per_sample(held.pixels), 1)


def rarity(held: ClassPixels, kept: np.ndarray) -> np.ndarray:
    """``(S,)``, 1 or more: one over the share of ``kept`` samples that hold the rarest class of each sample."""
    counted = held.held & kept[held.samples]
    shares = np.bincount(held.classes[counted], minlength=held.classes.max(initial=0) + 1) / max(1, np.count_nonzero(kept))
    found = np.ones(held.count)
    np.maximum.at(found, held.samples[counted], 1 / shares[held.classes[counted]])
    return found


def weights(held: ClassPixels, means: np.ndarray, kept: np.ndarray, by_hardness: float, by_rarity: float) -> np.ndarray:
    """``(S,)`` float64: 0 where a sample is not kept; else above 0, with mean 1 over the kept ones.

    Args:
        means: (K,) mean loss of each class.
        kept: (S,) bool.
        by_hardness, by_rarity: exponents of the two; 0 leaves one out.
    """
    hard = hardness(held, means)
    usual = hard[kept].mean() if kept.any() else 0.0
    relative = np.maximum(hard / usual, 1e-3) if usual > 0 else np.ones(held.count)
    found = np.where(kept, relative**by_hardness * rarity(held, kept) ** by_rarity, 0.0)
    return found / found[kept].mean() if kept.any() else found
