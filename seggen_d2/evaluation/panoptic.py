"""Panoptic segmentation: PQ, SQ and RQ of all categories, things and stuff, as cocodataset/panopticapi counts them."""

from __future__ import annotations

from collections.abc import Sequence

from seggen_d2.segmentation.panoptic_quality import PanopticQuality

from .scores import Scores, mean_of, starred

COLUMNS = ("PQ", "SQ", "RQ")


def panoptic_scores(quality: PanopticQuality, classes: Sequence[str] = ()) -> Scores:
    """The figures of what was counted: ``PQ``, ``SQ``, ``RQ``, each also over things (``_th``) and stuff (``_st``).

    Means go over the categories that either side holds (truth, or a prediction that counts), as panopticapi's do.

    Args:
        classes: names; ``PQ*`` is the mean over those of them.
    """
    items = quality.categories.items
    columns = {name: dict(zip(quality.categories.names, values.tolist(), strict=True))
               for name, values in zip(COLUMNS, quality.qualities().T, strict=True)}
    kinds = {"": items, "_th": [i for i in items if i.isthing], "_st": [i for i in items if not i.isthing]}
    figures = {name + ending: mean_of(columns[name], [item.name for item in kind]) if kind else float("nan")
               for ending, kind in kinds.items() for name in COLUMNS}
    return Scores({**figures, **starred("PQ", columns["PQ"], classes)}, columns)
