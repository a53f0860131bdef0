"""Figures by the names that the field gives them, and what they share: means over categories, lists of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.segmentation import Categories


@dataclass(frozen=True)
class Scores:
    """What predictions are worth; all in percent, NaN where a figure is not defined.

    Attributes:
        figures: over all categories, by name: ``mIoU``, ``PQ_th``, ``AP50``; a ``*`` marks a mean over chosen classes.
        per_class: by name of the column, the figure of each category.
    """

    figures: dict[str, float]
    per_class: dict[str, dict[str, float]]

    def __or__(self, other: Scores) -> Scores:
        """The figures and columns of both."""
        return Scores({**self.figures, **other.figures}, {**self.per_class, **other.per_class})

    def renamed(self, names: Mapping[str, str]) -> Scores:
        """Only the figures that ``names`` holds, by their new names; the columns stay."""
        return Scores({new: self.figures[old] for old, new in names.items() if old in self.figures}, self.per_class)

    def to_json(self) -> dict[str, Any]:
        """``{"figures", "per_class"}`` as JSON holds them: None for NaN."""
        columns = {column: plain(values) for column, values in self.per_class.items()}
        return {"figures": plain(self.figures), "per_class": columns}


def plain(values: Mapping[str, float]) -> dict[str, float | None]:
    """None in place of NaN."""
    return {name: None if math.isnan(value) else float(value) for name, value in values.items()}


@dataclass(frozen=True)
class Measured:
    """The same of one set of images, or of many sets at once: ``...`` are axes over sets, none for one.

    Attributes:
        figures: ``(...)`` percent by name.
        columns: ``(..., N)`` percent of each category, by name.
    """

    figures: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]

    def scores(self, categories: Categories) -> Scores:
        """Those of one set."""
        columns = {name: dict(zip(categories.names, values.tolist(), strict=True)) for name, values in self.columns.items()}
        return Scores({name: float(value) for name, value in self.figures.items()}, columns)


def mean_of(values: np.ndarray | Sequence[float]) -> np.ndarray:
    """``(...)`` means of ``(..., N)`` over those that are defined; NaN without any."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    return np.divide(np.where(known, values, 0).sum(-1), count, out=np.full(count.shape, np.nan), where=count > 0)


def starred(name: str, values: np.ndarray, classes: Sequence[str], categories: Categories) -> dict[str, np.ndarray]:
    """``{NAME*: mean over classes}``, the paper's mIoU* for one; nothing without classes.

    Each category's own figure is that of the whole label space: what is confused with classes left out counts.

    Args:
        values: ``(..., N)``, a figure of each category.
    """
    return {f"{name}*": mean_of(np.take(values, [categories.names.index(one) for one in classes], -1))} if classes else {}


def check_classes(classes: Sequence[str], categories: Categories) -> tuple[str, ...]:
    """``classes`` as they are, each a category's name and there once.

    Raises:
        SegGenError: one is none, or stands twice.
    """
    strange = [name for name in classes if name not in categories.names]
    if strange:
        raise SegGenError(f"{len(strange)} of {len(classes)} classes to compare are no categories of the dataset",
                          expected=f"names among its {len(categories)} categories", found=", ".join(strange[:10]),
                          remedy=nearest(strange[0], categories.names))
    if len({*classes}) < len(classes):
        raise SegGenError("a class to compare stands twice", found=", ".join(sorted({n for n in classes if classes.count(n) > 1})))
    return tuple(classes)
