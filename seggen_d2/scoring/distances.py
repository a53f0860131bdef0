"""How far two sets of images are apart, by vectors of one model: Frechet and kernel distance, as torchmetrics counts them.

They are FID and KID only with the Inception network of those papers; with another network they are like them, and figures of
two networks cannot be compared. Source: Heusel et al., arXiv 1706.08500; Binkowski et al., arXiv 1801.01401.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seggen_d2.evaluation.scores import plain
from seggen_d2.foundation.errors import SegGenError

from .nearest import evenly

SUBSETS, SUBSET_SIZE = 100, 1000  # of KID's paper
SPLITS = 10  # ways to halve the real images
MOST = 20_000  # vectors of a side that subsets are drawn from
BLOCK = 4096  # vectors that are added at once
SEED = 0


class _AsTheyAre(nn.Module):
    """torchmetrics' feature network, where the features are there already."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, vectors: Tensor) -> Tensor:
        return vectors


def frechet(real: np.ndarray, made: np.ndarray) -> float:
    """The Frechet distance between normal distributions with the means and covariances of ``(R, D)`` and ``(S, D)`` vectors; NaN under two of either."""
    if min(len(real), len(made)) < 2:
        return float("nan")
    metric = _metrics()[0](feature=_AsTheyAre(real.shape[1]))
    for vectors, is_real in ((real, True), (made, False)):
        for start in range(0, len(vectors), BLOCK):
            metric.update(torch.from_numpy(vectors[start : start + BLOCK].astype(np.float64)), real=is_real)
    return max(0.0, float(metric.compute()))


def kernel(real: np.ndarray, made: np.ndarray, size: int, subsets: int = SUBSETS) -> tuple[float, float]:
    """The kernel distance (unbiased, so it may be below 0): mean and standard deviation over ``subsets`` draws of ``size`` of each side.

    Vectors are divided by the root mean square of the real ones' entries, so that the kernel means the same for every network.
    """
    if size < 2 or min(len(real), len(made)) < size:
        return float("nan"), float("nan")
    scale = float(np.sqrt(np.mean(np.square(real, dtype=np.float64)))) or 1.0
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # that vectors are kept, which they are anyway
        torch.manual_seed(SEED)
        metric = _metrics()[1](feature=_AsTheyAre(real.shape[1]), subsets=subsets, subset_size=size)
        for vectors, is_real in ((real, True), (made, False)):
            metric.update(torch.from_numpy(vectors[evenly(len(vectors), MOST)].astype(np.float64) / scale), real=is_real)
        mean, spread = metric.compute()
    return float(mean), float(spread)


def distances(real: np.ndarray, made: np.ndarray) -> dict[str, Any]:
    """Both distances between the real images and the made ones; and, to read them by, between halves of the real ones.

    Args:
        real: ``(R, D)``. made: ``(S, D)``.

    Returns:
        ``fid_like``, ``kid_like`` and its ``_sd`` over draws, the same as ``real_halves_...`` (the kernel distance's mean and
        deviation over ``SPLITS`` ways to halve), None where there are too few; numbers of images; ``notes`` for a reader.
    """
    halves = [_halves(real, split) for split in range(SPLITS)]
    size = min(SUBSET_SIZE, len(real) // 2, len(made))
    apart = [kernel(*sides, size, SUBSETS // SPLITS)[0] for sides in halves]
    kid, kid_sd = kernel(real, made, size)
    found = {"fid_like": frechet(real, made), "kid_like": kid, "kid_like_sd": kid_sd, "real_halves_fid_like": frechet(*halves[0]),
             "real_halves_kid_like": float(np.mean(apart)), "real_halves_kid_like_sd": float(np.std(apart))}
    facts = {"dimensions": real.shape[1], "real": len(real), "samples": len(made), "kid_subset": size}
    return {**plain(found), **facts, "notes": _notes(real.shape[1], len(real), len(made))}


def _halves(real: np.ndarray, split: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng((SEED, split)).permutation(len(real))
    return real[order[: len(real) // 2]], real[order[len(real) // 2 :]]


def _notes(dimensions: int, real: int, made: int) -> list[str]:
    if min(real // 2, made) > dimensions:
        return []
    return [f"FID-like figures are degenerate: {made} samples and {real} real images (halves: {real // 2}) do not determine a covariance of {dimensions} "
            "dimensions, and few images alone make them large. Read KID-like ones, which do not depend on how many there are"]


def _metrics() -> tuple[type, type]:
    """torchmetrics' Frechet and kernel distance."""
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance
    except ImportError as error:
        raise SegGenError("distances in features need torchmetrics, which is not installed", found=str(error), remedy="pip install torchmetrics") from error
    return FrechetInceptionDistance, KernelInceptionDistance
