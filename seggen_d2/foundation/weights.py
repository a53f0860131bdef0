"""Weights of sampling, checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import SegGenError


def relative_weights(weights: Sequence[float] | np.ndarray, what: str, remedy: str) -> np.ndarray:
    """Weights in parts of the greatest: float64 of the same shape, in [0, 1].

    Args:
        what: the name that errors give to them.
        remedy: what an error says is to be done about weights of no use.

    Raises:
        SegGenError: they are no numbers, one is negative or not finite, or none is above 0.
    """
    try:
        values = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SegGenError(f"{what} cannot serve as weights", expected="numbers", found=str(error), remedy=remedy) from error
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad) or not values.any():
        raise SegGenError(
            f"{what} cannot serve as weights",
            expected="finite numbers of 0 or more, one at least above 0",
            found=f"{values.flat[bad[0]]} at position {bad[0]} ({len(bad)} such)" if len(bad) else "all 0" if values.size else "none",
            remedy=remedy,
        )
    return values / values.max()
