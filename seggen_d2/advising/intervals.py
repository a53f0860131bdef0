"""Differences between probes with and without a bank, and how far they would move: a paired bootstrap over images and trainings.

As in :mod:`seggen_d2.evaluation.bootstrap`, whose tables have seeds on one test set; here each fold has trainings of its own, so that F folds
of S seeds are F (S - 1) degrees of freedom. Of S seeds a fold, S - 1 are drawn, which makes the spread of so few as large as it should be
(J. N. K. Rao and C. F. J. Wu, Resampling Inference With Complex Survey Data, JASA 83, 1988), and it is widened as Student's interval is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from seggen_d2.evaluation.bootstrap import LEVEL, Interval, draw_images
from seggen_d2.evaluation.scores import mean_of
from seggen_d2.segmentation.confusion import iou_of


@dataclass(frozen=True)
class Probed:
    """Probes of one way of training, on all images that were held out.

    Attributes:
        sums: ``(S, I, N, 3)`` by seed and image the pixels of each class predicted right, in the labels, and predicted.
        folds: ``(I,)`` the fold, from 0, that held the image out.
    """

    sums: np.ndarray
    folds: np.ndarray

    def iou(self) -> np.ndarray:
        """``(S, N)`` percent, of each seed over all images; NaN where no label holds the class."""
        return iou_of(self.sums.sum(1))


@dataclass(frozen=True)
class Moved:
    """A figure and its bootstrap replicates.

    Attributes:
        value: points. draws: ``(R,)`` points; NaN where not defined.
    """

    value: float
    draws: np.ndarray

    def interval(self, level: float) -> Interval:
        """The middle ``level`` of the replicates."""
        known = self.draws[~np.isnan(self.draws)]
        low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if len(known) else (np.nan, np.nan)
        return Interval(float(low), float(high), len(known))

    @property
    def chance(self) -> float:
        """The share of replicates above 0, in [0, 1]; those of exactly 0 count half. NaN without any."""
        known = self.draws[~np.isnan(self.draws)]
        return float(((known > 0) + 0.5 * (known == 0)).mean()) if len(known) else float("nan")


def differences(ours: Probed, base: Probed, replicates: int, seed: int = 0) -> tuple[Moved, list[Moved]]:
    """Mean IoU of ``ours`` minus that of ``base``, and the same of each class, points.

    Args:
        ours, base: probes of the same seeds and images. replicates: bootstrap draws. seed: of the draws.
    """
    seeds, images = base.sums.shape[:2]
    folds = int(base.folds.max(initial=0)) + 1
    drawn = draw_images(images, replicates, seed).astype(float)
    chosen = np.random.default_rng(seed + 1).integers(seeds, size=(max(1, seeds - 1), replicates, folds))
    points = mean_over_seeds(ours.iou()) - mean_over_seeds(base.iou())
    draws = _figures(ours, drawn, chosen, widening(seeds, folds)) - _figures(base, drawn, chosen, widening(seeds, folds))
    return Moved(float(mean_of(points)), mean_of(draws)), [Moved(float(value), draws[:, place]) for place, value in enumerate(points)]


def mean_over_seeds(values: np.ndarray) -> np.ndarray:
    """``(..., N)``: means of ``(S, ..., N)`` over the seeds in which a class is defined."""
    return mean_of(np.moveaxis(values, 0, -1))


def widening(seeds: int, folds: int) -> float:
    """By how much wider Student's interval of ``folds * (seeds - 1)`` degrees of freedom is than the normal distribution's; 1 with one seed."""
    middle = (1 + LEVEL) / 2
    return float(stdtrit(folds * (seeds - 1), middle) / ndtri(middle)) if seeds > 1 else 1.0


def _figures(probed: Probed, drawn: np.ndarray, chosen: np.ndarray, wider: float) -> np.ndarray:
    """``(R, N)`` IoU of each class, percent, of drawn images and trainings.

    Args:
        drawn: ``(R, I)`` how often each image is drawn. chosen: ``(C, R, F)`` the seeds drawn for each fold, C times.
        wider: factor of what the drawn trainings differ from all of them.
    """
    rows = probed.sums.reshape(*probed.sums.shape[:2], -1).astype(float)
    shape = (len(drawn), *probed.sums.shape[2:])
    every = mean_over_seeds(np.stack([iou_of((drawn @ own).reshape(shape)) for own in rows]))
    some = [sum((drawn * (which[:, probed.folds] == place)) @ own for place, own in enumerate(rows)) for which in chosen]
    return every + wider * (mean_over_seeds(np.stack([iou_of(sums.reshape(shape)) for sums in some])) - every)
