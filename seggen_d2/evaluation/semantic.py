"""Semantic segmentation: mIoU, fwIoU, mACC and pACC as Detectron2's ``SemSegEvaluator`` counts them, and Boundary IoU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.confusion import ConfusionMatrix, iou_of, shares

from .scores import Measured, Scores, mean_of, starred

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

    def sums(self) -> np.ndarray:
        """``(N, 3)`` sums of the matrix; with Boundary IoU ``(N, 6)``, the outlines' after them."""
        return np.concatenate([self.matrix.sums(), self.edges], 1) if self.ratio else self.matrix.sums()

    def measured(self, sums: np.ndarray, classes: Sequence[str] = ()) -> Measured:
        """The figures, and IoU, ACC and Boundary IoU of each category, of ``(..., N, 3 | 6)`` sums over images.

        Args:
            classes: names; ``mIoU*`` is the mean IoU over those of them that the truth holds.
        """
        hits, truth, _, *edges = np.moveaxis(sums, -1, 0)
        iou, accuracy = iou_of(sums[..., :3]), shares(hits, truth)
        pixels = truth.sum(-1)
        figures = {"mIoU": mean_of(iou), "fwIoU": shares((np.where(truth > 0, iou, 0) * truth).sum(-1) / 100, pixels),
                   "mACC": mean_of(accuracy), "pACC": shares(hits.sum(-1), pixels), **starred("mIoU", iou, classes, self.categories)}
        columns = {"IoU": iou, "ACC": accuracy}
        if edges:
            theirs, ours, both = edges
            columns["Boundary IoU"] = around = shares(both, np.where(truth > 0, theirs + ours - both, 0))
            figures |= {"Boundary IoU": mean_of(around), **starred("Boundary IoU", around, classes, self.categories)}
        return Measured(figures, columns)

    def scores(self, classes: Sequence[str] = ()) -> Scores:
        """The figures of all images added; ``classes`` as in :meth:`measured`."""
        return self.measured(self.sums(), classes).scores(self.categories)


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
