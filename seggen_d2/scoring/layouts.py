"""Layouts: is a sample's mask a real image's once more, how different are the samples' masks, and how often is each class in them?

Masks are compared at 32 x 32 pixels by mean IoU over the classes that either holds; what is unlabelled is one class more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.spatial.distance import jensenshannon
from tqdm import tqdm

from seggen_d2.bank.inspect.pictures import flattened, sample_mask
from seggen_d2.segmentation import histogram, resize_labels
from seggen_d2.segmentation.masks import Mask
from seggen_d2.sources.masks import read_mask

from .nearest import evenly
from .photos import lists, matrix
from .samples import Part, Real
from .sidecar import Sidecar

SIDE = 32  # pixels
COPY = 0.9  # mean IoU from which a layout counts as a copy
MOST = 2000  # layouts of a set whose neighbours within the set are looked for
ROWS, COLUMNS = 256, 4096  # layouts that are compared at once


class RealMasks:
    """The real dataset's masks, read once: layouts and how many pixels each category has."""

    def __init__(self, sidecar: Sidecar, real: Real):
        self.sidecar, self.real, self.categories = sidecar, real, sidecar.bank.info.categories

    @cached_property
    def table(self) -> pa.Table:
        """``layout`` and ``histogram``, a row an image."""
        return self.sidecar.real("masks", self.real.print, self._read)

    def _read(self) -> dict[str, Any]:
        records = tqdm(self.real.records, desc=f"masks of {self.real.source.name}", unit="image", disable=None)
        rows = [(small(mask, len(self.categories)), histogram(flattened(mask).labels(), self.categories))
                for mask in (read_mask(record, self.real.source) for record in records)]
        layouts, histograms = (np.stack(column) for column in zip(*rows, strict=True))
        return {"image_id": self.real.ids, "layout": lists(layouts), "histogram": lists(histograms)}


class Layouts:
    """Scores of the kind ``layouts``: ``layout_image``, the real image with the nearest layout, and ``layout_iou``, percent.

    The image that a sample was made from is left out: the mask of an ImgSyn sample is its mask.
    """

    kind = "layouts"

    def __init__(self, sidecar: Sidecar, masks: RealMasks):
        self.sidecar, self.bank, self.masks, self.real = sidecar, sidecar.bank, masks, masks.real
        self.classes = len(self.bank.info.categories)

    def columns(self, part: Part, tick: Callable[[], Any]) -> dict[str, Any]:
        """The nearest real layout of each sample, and its own."""
        own = np.stack(list(self._small(part, tick)))
        known = self.real.places_by_name
        sources = np.array([known.get(source, -1) for source in part.column("source_id").tolist()])
        places, iou = nearest_layouts(own, matrix(self.masks.table["layout"]), self.classes, sources)
        images = [self.real.ids[place] if place >= 0 else None for place in places]
        return {"layout_image": pa.array(images, pa.string()), "layout_iou": pa.array(100 * iou, from_pandas=True), "layout": lists(own)}

    def _small(self, part: Part, tick: Callable[[], Any]) -> Iterable[np.ndarray]:
        for record in part.records():
            yield small(sample_mask(self.bank, record), self.classes)
            tick()

    def summary(self, parts: Sequence[Part]) -> dict[str, Any]:
        """Copies of real layouts, and how near layouts are to others of their own set."""
        table = self.sidecar.table(self.kind, parts)
        near = table["layout_iou"].drop_null().to_numpy()
        pairs = table.select(["key", "layout_image", "layout_iou"]).filter(table["layout_iou"].is_valid())
        own, real = matrix(table["layout"]), matrix(self.masks.table["layout"])
        return {"samples": len(table), "real": len(real), "mean_iou": _mean(near), "copies": int((near >= 100 * COPY).sum()), "copy_from": 100 * COPY,
                "within_bank": self._within(own), "within_real": self._within(real), "distinct": len(np.unique(own, axis=0)),
                "nearest": pairs.sort_by([("layout_iou", "descending")]).slice(0, 12).to_pylist()}

    def _within(self, layouts: np.ndarray) -> float | None:
        """Percent: mean IoU with the nearest other layout of the same set, over some of them."""
        some = layouts[evenly(len(layouts), MOST)]
        return _mean(100 * nearest_layouts(some, some, self.classes, np.arange(len(some)))[1]) if len(some) > 1 else None


class Histogram:
    """Figures of the kind ``histogram``: the share of labelled pixels that each class has, in the bank and in the real masks."""

    kind, columns = "histogram", None

    def __init__(self, sidecar: Sidecar, masks: RealMasks):
        self.sidecar, self.masks = sidecar, masks

    def summary(self, parts: Sequence[Part]) -> dict[str, Any]:
        """Total variation and Jensen-Shannon distance (base 2), both in [0, 1], and each class's shares, percent."""
        made = np.sum([part.column("histogram").sum(0) for part in parts], 0)
        return compared(made, matrix(self.masks.table["histogram"]).sum(0), self.masks.categories.names)


def compared(made: np.ndarray, real: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Two histograms of pixels, ``(N,)`` each."""
    p, q = (counts / max(1, counts.sum()) for counts in (made, real))
    classes = {name: {"bank": 100 * a, "real": 100 * b, "ratio": a / b if b else None} for name, a, b in zip(names, p.tolist(), q.tolist(), strict=True)}
    known = made.any() and real.any()
    return {"total_variation": float(np.abs(p - q).sum() / 2) if known else None, "jensen_shannon": float(jensenshannon(p, q, 2)) if known else None,
            "classes": classes}


def small(mask: Mask, classes: int) -> np.ndarray:
    """``(1024,)`` uint16: a mask at 32 x 32 pixels by nearest neighbour; what is unlabelled is ``classes``."""
    labels = resize_labels(flattened(mask).labels(), SIDE, SIDE)
    return np.where(labels < classes, labels, classes).astype(np.uint16).ravel()


def nearest_layouts(rows: np.ndarray, base: np.ndarray, classes: int, excluded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place in ``base`` of each row's nearest layout, and their mean IoU in [0, 1]; -1 and NaN where there is none.

    Products of matrices, class by class over the layouts that hold it: with 9 of 150 classes in a mask, a sample against
    20,000 images takes some 6 ms on a core.

    Args:
        rows: ``(S, P)``. base: ``(R, P)``. excluded: ``(S,)`` a place in ``base`` that does not count, -1 for none.
    """
    places, best = np.full(len(rows), -1), np.full(len(rows), -1.0)
    for top in range(0, len(rows), ROWS):
        some, out = rows[top : top + ROWS], excluded[top : top + ROWS]
        for left in range(0, len(base), COLUMNS):
            alike = mean_iou(some, base[left : left + COLUMNS], classes + 1)
            here = (out >= left) & (out < left + COLUMNS)
            alike[np.flatnonzero(here), out[here] - left] = -1
            found = alike.argmax(1)
            value = alike[np.arange(len(some)), found]
            better = value > best[top : top + ROWS]
            places[top : top + ROWS][better], best[top : top + ROWS][better] = found[better] + left, value[better]
    return places, np.where(places >= 0, best, np.nan)


def mean_iou(rows: np.ndarray, base: np.ndarray, classes: int) -> np.ndarray:
    """``(S, R)`` float32: of each pair of ``(S, P)`` and ``(R, P)`` layouts, the mean IoU over the classes that either holds."""
    sums = np.zeros((len(rows), len(base)), np.float32)
    both = np.zeros_like(sums)
    held = [np.stack([(some == c).any(1) for c in range(classes)], 1) for some in (rows, base)]
    for c in np.flatnonzero(held[0].any(0) & held[1].any(0)):
        ours, theirs = (np.flatnonzero(of[:, c]) for of in held)
        a, b = ((some[which] == c).astype(np.float32) for some, which in ((rows, ours), (base, theirs)))
        shared = a @ b.T
        where = np.ix_(ours, theirs)
        sums[where] += shared / (a.sum(1)[:, None] + b.sum(1) - shared)
        both[where] += 1
    return sums / (held[0].sum(1)[:, None] + held[1].sum(1) - both)


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None
