"""Which source a plan's samples are made from: all alike in rounds, or the more often the greater a source's weight.

By weight, samples go where a vote goes under the method of Webster and Sainte-Laguë: the next one to the source of the
greatest ``weight / (2 * samples so far + 1)``. That is a method of divisors (Balinski & Young, Fair Representation, 1982),
so a smaller budget's samples are the first of a larger one's, and equal weights give the rounds of no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seggen_d2.foundation.weights import relative_weights

GRAIN = 2**20  # weights count in so many parts of the greatest: quotients then compare alike on every machine


@dataclass(frozen=True)
class Order:
    """Sample i is made from source ``places[i]`` as its replica ``replicas[i]``; ``(B,)`` int32 each."""

    places: np.ndarray
    replicas: np.ndarray

    def __call__(self, i: int) -> tuple[int, int]:
        """Replica and place of sample ``i``."""
        return int(self.replicas[i]), int(self.places[i])


def grains(weights: Sequence[float], what: str = "weights of sources") -> np.ndarray:
    """``(S,)`` int64: weights in parts of the greatest.

    Raises:
        SegGenError: one is negative or no number, or none is above 0.
    """
    return np.rint(relative_weights(weights, what, "make the weights again") * GRAIN).astype(np.int64)


def order_by_weight(weights: Sequence[float], samples: int) -> Order:
    """The first ``samples`` seats of the method above, brought into rounds.

    A round is as many samples as there are sources. Within one, samples stand in the order of their sources, so that
    those of one size come together. So the plan of any number of whole rounds is the beginning of every longer one.

    Args:
        weights: of each source, 0 or more; a source of weight 0 gets no sample.
        samples: the budget.
    """
    parts = grains(weights)
    step = parts.sum() / (2 * samples + np.count_nonzero(parts)) * (1 - 1e-9)  # leaves `samples` quotients or a few more at or above it
    counts = np.floor((parts / step + 1) / 2).astype(np.int64)
    places = np.repeat(np.arange(len(parts)), counts)
    replicas = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.lexsort((places, -parts[places] / (2 * replicas + 1)))[:samples]
    rounds = np.arange(samples) // len(parts)
    chosen = first[np.lexsort((replicas[first], places[first], rounds))]
    return Order(places[chosen].astype(np.int32), replicas[chosen].astype(np.int32))
