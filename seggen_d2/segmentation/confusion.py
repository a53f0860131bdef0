"""Pixels of each category under each predicted one, and the figures that follow from their counts.

Convention, as in Detectron2's ``SemSegEvaluator``: unlabelled pixels count nowhere, IoU is taken over all images at
once, and the mean goes over the categories that the ground truth holds. A category that it does not hold is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError

from .categories import Categories
from .label_maps import check_labels


class ConfusionMatrix:
    """Counts pixels; figures are in percent.

    Args:
        categories: N categories and the ignore label.

    Attributes:
        counts: ``(N, N + 1)`` int64, ground truth by prediction; the last column holds pixels predicted as nothing
            (the ignore label), which are misses.
    """

    def __init__(self, categories: Categories):
        self.categories = categories
        self.counts = np.zeros((len(categories), len(categories) + 1), dtype=np.int64)

    def update(self, predicted: np.ndarray, labels: np.ndarray, where: str = "the prediction") -> None:
        """Add one image.

        Args:
            predicted: ``(H, W)`` category ids.
            labels: ``(H, W)`` ground truth.
            where: the name that errors give to the prediction.

        Raises:
            SegGenError: the sizes differ, or an id is neither a category nor the ignore label.
        """
        predicted, labels = np.asarray(predicted), np.asarray(labels)
        if predicted.shape != labels.shape:
            raise SegGenError(
                f"{where} and its ground truth differ in size",
                expected=_size(labels),
                found=_size(predicted),
                remedy="predict at the size of the image",
            )
        n = len(self.categories)
        if not (_fits(predicted, n) and _fits(labels, n)):
            predicted, labels = self._checked(predicted, where), self._checked(labels, f"ground truth of {where}")
        known = labels < n
        pairs = labels[known].astype(np.int64) * (n + 1) + predicted[known]
        self.counts += np.bincount(pairs, minlength=n * (n + 1)).reshape(n, n + 1)

    def _checked(self, ids: np.ndarray, where: str) -> np.ndarray:
        """``ids`` with the ignore label as N; all else must be a category."""
        n, ignore = len(self.categories), self.categories.ignore_id
        if ids.size and ids.min() < 0:
            raise SegGenError(
                f"{where} holds negative ids", expected=f"0..{n - 1}, or {ignore} for ignore", found=str(ids.min())
            )
        check_labels(ids, self.categories, where)
        return np.where(ids == ignore, n, ids)

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """The counts of both: those of the images of both."""
        total = ConfusionMatrix(self.categories)
        total.counts = self.counts + other.counts
        return total

    def sums(self) -> np.ndarray:
        """``(N, 3)`` pixels of each category: predicted right, in the ground truth, predicted; figures are functions of their sums over images."""
        return np.stack([np.diag(self.counts), self.counts.sum(1), self.counts[:, :-1].sum(0)], 1)

    def per_class(self) -> dict[str, float]:
        """IoU of each category by name, percent; NaN where the ground truth holds none of it."""
        return dict(zip(self.categories.names, iou_of(self.sums()).tolist(), strict=True))

    def miou(self) -> float:
        """Mean IoU over the categories of the ground truth, percent; NaN without any labelled pixel."""
        present = [iou for iou in self.per_class().values() if not np.isnan(iou)]
        return float(np.mean(present)) if present else float("nan")

    def accuracy(self) -> float:
        """Share of labelled pixels that are predicted right, percent; NaN without any."""
        return float(shares(np.diag(self.counts).sum(), self.counts.sum()))

    def metrics(self) -> dict[str, Any]:
        """``{"miou", "per_class", "pixel_accuracy"}`` as JSON holds them: percent, None for NaN."""
        return {
            "miou": _plain(self.miou()),
            "pixel_accuracy": _plain(self.accuracy()),
            "per_class": {name: _plain(iou) for name, iou in self.per_class().items()},
        }


def shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Percent, in arrays of any shape; NaN where the whole is nothing."""
    whole = np.asarray(whole)
    return np.divide(100.0 * part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def iou_of(sums: np.ndarray) -> np.ndarray:
    """``(..., N)`` IoU of each category, percent, of ``(..., N, 3)`` :meth:`ConfusionMatrix.sums`; NaN where the ground truth holds none of it."""
    hits, truth, predicted = np.moveaxis(sums, -1, 0)
    return shares(hits, np.where(truth > 0, truth + predicted - hits, 0))


def _fits(ids: np.ndarray, n: int) -> bool:
    return not ids.size or (ids.min() >= 0 and ids.max() < n)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _size(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape)) + " (H x W)"
