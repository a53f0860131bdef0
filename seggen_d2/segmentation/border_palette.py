"""Border-safe palettes: the package's colours, given out such that blends along frequent borders show no third category.

Across a border of two categories a blurred colour map runs along the line between their colours. Where a third
colour lies near that line, nearest-colour decoding finds a thin band of the third category. Which colours serve which
pairs of categories is a quadratic assignment problem (Koopmans and Beckmann 1957): the cost of a pair of colours times how
often its categories border each other, summed. It is solved by descent: the best exchange of two colours, as long as one helps.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .palette import Palette, _squared_distances, default_palette

BLUR = 1.5  # pixels, the deviation of the blur that borders are judged after
NOISE = 8.0  # RGB units, that of the noise
ACROSS = np.linspace(-4, 4, 17)  # pixels from a border, where it is judged
EXCHANGES = 20  # at most, for each colour


def count_borders(places: np.ndarray, count: int) -> np.ndarray:
    """``(count, count)`` int64, symmetric: how often a pixel and its right or lower neighbour are of two kinds.

    Args:
        places: ``(H, W)`` integers of 0 to ``count - 1``.
        count: how many kinds there are.
    """
    flat = places.astype(np.int64)
    borders = np.zeros(count * count, np.int64)
    for here, there in ((flat[:, :-1], flat[:, 1:]), (flat[:-1], flat[1:])):
        differ = here != there
        borders += np.bincount(here[differ] * count + there[differ], minlength=count * count)
    borders = borders.reshape(count, count)
    return borders + borders.T


def border_safe(borders: np.ndarray) -> Palette:
    """The package's colours for N categories, given out by how often categories border each other; deterministic.

    Args:
        borders: ``(N + 2, N + 2)``, symmetric: of the categories, then of ignored pixels and of edges, whose colours are
            fixed. All zero, or any other matrix that knows no difference, gives :func:`default_palette`.
    """
    count = len(borders) - 2
    palette = default_palette(count)
    order = _assign(borders.astype(np.float64), border_costs(palette), count)
    return Palette(palette.colors[order[:count]], palette.ignore_color, palette.edge_color)


def expected_wrong(palette: Palette, borders: np.ndarray) -> float:
    """Pixels that nearest-colour decoding gets wrong across a border, on average over ``borders`` as :func:`border_safe` takes them."""
    return float((border_costs(palette) * borders).sum() / max(1, borders.sum()))


def border_costs(palette: Palette) -> np.ndarray:
    """``(C, C)``, symmetric: the pixels that nearest-colour decoding gets wrong across a straight border of two of the
    palette's C = N + 2 colours, for each pixel of its length; an upper bound, the sum over the colours that may win."""
    return _costs(palette.all_colors.tobytes())


@functools.lru_cache(maxsize=4)
def _costs(packed: bytes) -> np.ndarray:
    colors = np.frombuffer(packed, np.uint8).reshape(-1, 3).astype(np.float32)
    shares = np.array([0.5 * (1 + math.erf(x / BLUR / math.sqrt(2))) for x in ACROSS], np.float32)
    apart = np.sqrt(np.maximum(_squared_distances(colors, colors), 1))
    costs = np.zeros((len(colors),) * 2)
    for place, color in enumerate(colors):
        for share in shares[shares < 0.5]:  # this colour's side of the border; the other one comes in its own turn
            costs[place] += _lost(color + share * (colors - color), place, colors, apart[place])
    return (costs + costs.T) * (ACROSS[1] - ACROSS[0])


def _lost(mixed: np.ndarray, place: int, colors: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """``(C,)``: how likely each of ``(C, 3)`` mixed colours, with noise on it, is nearer to another colour than to that at ``place``."""
    squared = _squared_distances(mixed, colors)
    margins = (squared - squared[:, place, None]) / (2 * NOISE * apart)  # in deviations of the noise along the line between the two
    likely = 1 / (1 + np.exp(np.clip(1.702 * margins, -40, 40)))  # the normal distribution's tail, within 0.01
    likely[:, place] = 0
    return np.minimum(likely.sum(1), 1)


def _assign(borders: np.ndarray, costs: np.ndarray, free: int) -> np.ndarray:
    """``(C,)``: the colour of each kind, of which the first ``free`` may exchange theirs."""
    borders = borders / max(1.0, borders.sum())
    np.fill_diagonal(borders, 0)
    costs = costs * (1 - np.eye(len(costs)))
    order = np.arange(len(costs))
    for _ in range(EXCHANGES * free):
        own = costs[np.ix_(order, order)]
        crossed = borders @ own
        alone = np.diag(crossed)
        change = (crossed + crossed.T - alone[:, None] - alone + 2 * borders * own)[:free, :free]
        first, second = np.unravel_index(change.argmin(), change.shape)
        if change[first, second] > -1e-9:
            break
        order[[first, second]] = order[[second, first]]
    return order
