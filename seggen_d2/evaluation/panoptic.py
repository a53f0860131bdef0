"""Panoptic segmentation: PQ, SQ and RQ of all categories, things and stuff, as cocodataset/panopticapi counts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.panoptic_quality import PanopticQuality, qualities_of

from .scores import Measured, Scores, mean_of, starred

COLUMNS = ("PQ", "SQ", "RQ")


def panoptic_measured(categories: Categories, sums: np.ndarray, classes: Sequence[str] = ()) -> Measured:
    """``PQ``, ``SQ``, ``RQ``, each also over things (``_th``) and stuff (``_st``), of ``(..., N, 5)`` sums over images.

    Means go over the categories that either side holds (truth, or a prediction that counts), as panopticapi's do.

    Args:
        sums: of :meth:`PanopticQuality.sums`.
        classes: names; ``PQ*`` is the mean over those of them.
    """
    columns = dict(zip(COLUMNS, np.moveaxis(qualities_of(sums), -1, 0), strict=True))
    things = np.array([item.isthing for item in categories.items])
    kinds = {"": np.full(len(things), True), "_th": things, "_st": ~things}
    figures = {name + ending: mean_of(np.compress(kind, columns[name], -1)) for ending, kind in kinds.items() for name in COLUMNS}
    return Measured({**figures, **starred("PQ", columns["PQ"], classes, categories)}, columns)


def panoptic_scores(quality: PanopticQuality, classes: Sequence[str] = ()) -> Scores:
    """The figures of what was counted; ``classes`` as in :func:`panoptic_measured`."""
    return panoptic_measured(quality.categories, quality.sums(), classes).scores(quality.categories)
