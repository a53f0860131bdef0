"""Semantic segmentation: mIoU, fwIoU, mACC and pACC as Detectron2's ``SemSegEvaluator`` counts them, and Boundary IoU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.confusion import ConfusionMatrix

from .scores import Scores, mean_of, starred

RATIO = 0.02  # of the image's diagonal: how far from its outline a pixel still belongs to it (Cheng et al. 2021)


class SemanticScorer:
    """Adds up pixels image by image; scorers of other images, of other processes too, are added by ``+``.

    Pixels that the truth leaves open count nowhere, be it as area or as neighbours of an outline. A category that the
    truth never holds has no figure and no part in means. Pixels predicted as nothing are misses (Detectron2 leaves
    them out; its models predict a category everywhere).

    Args:
        categories: N categories.
        ratio: of Boundary IoU (arXiv 2103.16562), a share of the diagonal; 0 leaves it out.

    Attributes:
        matrix: pixels of each category under each predicted one.
        edges: ``(N, 3)`` int64: outline pixels of the truth, of the prediction, and those of both that agree.
    """

    def __init__(self, categories: Categories, *, ratio: float = RATIO):
        self.categories, self.ratio = categories, ratio
        self.matrix = ConfusionMatrix(categories)
        self.edges = np.zeros((len(categories), 3), np.int64)

    def update(self, predicted: np.ndarray, labels: np.ndarray, where: str = "the prediction") -> None:
        """Add an image; arguments and errors are those of :meth:`ConfusionMatrix.update`."""
        self.matrix.update(predicted, labels, where)
        if self.ratio:
            self._add_edges(np.asarray(predicted), np.asarray(labels))

    def _add_edges(self, predicted: np.ndarray, labels: np.ndarray) -> None:
        n, width = len(self.categories), outline_width(labels.shape, self.ratio)
        kind = np.uint8 if n < 256 else np.uint16
        truth = np.minimum(labels, n).astype(kind)
        ours = np.where(truth == n, n, np.minimum(predicted, n)).astype(kind)
        on_truth, on_ours = outlines(truth, width), outlines(ours, width)
        for column, of in enumerate((truth[on_truth], ours[on_ours], truth[on_truth & on_ours & (truth == ours)])):
            self.edges[:, column] += np.bincount(of, minlength=n + 1)[:n]

    def __add__(self, other: SemanticScorer) -> SemanticScorer:
        total = SemanticScorer(self.categories, ratio=self.ratio)
        total.matrix, total.edges = self.matrix + other.matrix, self.edges + other.edges
        return total

    def scores(self, classes: Sequence[str] = ()) -> Scores:
        """The figures, and IoU, ACC and Boundary IoU of each category.

        Args:
            classes: names; ``mIoU*`` is the mean IoU over those of them that the truth holds.
        """
        counts = self.matrix.counts
        hits, truth = np.diag(counts), counts.sum(1)
        iou = self.matrix.per_class()
        accuracy = self._column(hits, truth)
        weighted = [truth[place] * value for place, value in enumerate(iou.values()) if truth[place]]
        figures = {"mIoU": mean_of(iou), "fwIoU": float(sum(weighted) / truth.sum()) if truth.any() else float("nan"),
                   "mACC": mean_of(accuracy), "pACC": self.matrix.accuracy(), **starred("mIoU", iou, classes)}
        columns = {"IoU": iou, "ACC": accuracy}
        if self.ratio:
            theirs, ours, both = self.edges.T
            columns["Boundary IoU"] = edges = self._column(both, np.where(truth > 0, theirs + ours - both, 0))
            figures |= {"Boundary IoU": mean_of(edges), **starred("Boundary IoU", edges, classes)}
        return Scores(figures, columns)

    def _column(self, part: np.ndarray, whole: np.ndarray) -> dict[str, float]:
        """Percent by category's name; NaN where the whole is nothing."""
        shares = np.full(len(part), np.nan)
        np.divide(100.0 * part, whole, out=shares, where=whole > 0)
        return dict(zip(self.categories.names, shares.tolist(), strict=True))


def outline_width(shape: tuple[int, ...], ratio: float = RATIO) -> int:
    """Pixels: ``ratio`` of the diagonal, rounded, at least one."""
    return max(1, int(round(ratio * float(np.hypot(*shape[:2])))))


def outlines(ids: np.ndarray, width: int) -> np.ndarray:
    """``(H, W)`` bool: pixels with another id, or the outside, ``width`` pixels away or less (diagonals count as one).

    For each id it is what ``width`` erosions of its mask by 3 x 3 pixels take away: the paper's ``G_d`` within ``G``.
    """
    found, size = np.ones(ids.shape, bool), 2 * width + 1
    if min(ids.shape) >= size:
        low, high = (_over_windows(ids, size, choose) for choose in (np.minimum, np.maximum))
        found[width : ids.shape[0] - width, width : ids.shape[1] - width] = low != high
    return found


def _over_windows(ids: np.ndarray, size: int, choose: np.ufunc) -> np.ndarray:
    """Least or greatest of each window of ``size`` x ``size``: ``(H - size + 1, W - size + 1)``."""
    for _ in range(2):  # along the columns, then the rows
        span = 1
        while span < size:
            step = min(span, size - span)
            ids, span = choose(ids[:-step], ids[step:]), span + step
        ids = ids.T
    return ids
