"""Images that were scored, each kept by itself: figures of any draw of them, an image as often as it was drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from seggen_d2.segmentation import Categories

from .scores import Measured, Scores


class Kept(Protocol):
    """Scored images, in the order in which they were added by ``+=``."""

    def scores(self, classes: Sequence[str] = ()) -> Scores:
        """The figures of all of them."""

    def figure(self, name: str, draws: np.ndarray, classes: Sequence[str] = ()) -> np.ndarray:
        """One of the figures, of many draws: that of one of each image is exactly the one of :meth:`scores`.

        Args:
            name: of the figure.
            draws: ``(R, I)`` integers, how often each image was drawn.
            classes: names, for the figures with a ``*``.

        Returns:
            ``(R,)`` percent, NaN where not defined.
        """


class ImageSums:
    """Images whose figures are functions of sums over them; a draw is then a product of matrices.

    Args:
        categories: N categories.
        measured: figures of ``(..., N, C)`` sums, over images, of what an image counted (its ``sums()``).
    """

    def __init__(self, categories: Categories, measured: Callable[[np.ndarray, Sequence[str]], Measured]):
        self.categories, self.measured = categories, measured
        self.rows: list[np.ndarray] = []

    def __iadd__(self, counted: Any) -> ImageSums:
        self.rows.append(counted.sums())
        return self

    def scores(self, classes: Sequence[str] = ()) -> Scores:
        return self.measured(np.sum(self.rows, 0), classes).scores(self.categories)

    def figure(self, name: str, draws: np.ndarray, classes: Sequence[str] = ()) -> np.ndarray:
        sums = np.tensordot(draws.astype(float), np.stack(self.rows).astype(float), 1)  # of integers: exact
        return self.measured(sums, classes).figures[name]
