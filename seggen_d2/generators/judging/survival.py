"""What of a dataset's masks survives colours and a base's VAE: no generator made from that base can do better.

Each mask goes, at the size that generators work at, through its codec's colours, the VAE and back. Classes that come
back badly will be lost in training, too; two that are taken for each other are better merged before it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.errors import check_range
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.confusion import ConfusionMatrix
from seggen_d2.segmentation.mask_codec import EDGE_WIDTH, MaskCodec, mask_codec
from seggen_d2.segmentation.masks import InstanceMask, Mask, SegmentMask
from seggen_d2.segmentation.panoptic_quality import PanopticQuality
from seggen_d2.segmentation.segment_codec import connected_regions
from seggen_d2.sources import Source, load_dataset
from seggen_d2.sources.borders import dataset_palette
from seggen_d2.sources.masks import read_mask

from ..geometry import Geometry
from .survival_report import ClassSurvival, Survival
from .vae_trip import open_vae

LEAST = 4  # pixels of a semantic mask's region; smaller ones are slips of the pen


def dataset_survival(dataset: str | os.PathLike, vae: str, *, limit: int = 100, side: int = 0, max_shrink: float = 0.0,
                     edge_width: int | None = None, edges: str = "all", device: str = "auto") -> Survival:
    """:func:`measure_survival` of a dataset's YAML file and a VAE's name, with the palette that its generators will have.

    Args:
        dataset: the YAML file.
        vae: see :func:`open_vae`.
        limit: see :func:`measure_survival`.
        side, max_shrink: see :meth:`VaeTrip.geometry`.
        edge_width: pixels of segments' outlines; None for the codec's default.
        edges: see :func:`mask_codec`.
        device: see :func:`open_vae`.

    Raises:
        SegGenError: dataset or VAE cannot be opened, or an option is out of range.
    """
    check_range("limit", limit, 0, 10**9)
    check_range("side", side, 8 if side else 0, 8192)
    source = load_dataset(dataset)
    outlines = {"edge_width": edge_width or EDGE_WIDTH, "edges": edges}
    codec = mask_codec(source.task, dataset_palette(source, **outlines), source.categories, **outlines)
    trip = open_vae(vae, device)
    return measure_survival(source, codec, trip.geometry(side, max_shrink), trip, limit=limit)


def measure_survival(source: Source, codec: MaskCodec, geometry: Geometry, trip: Callable[[np.ndarray], np.ndarray], *, limit: int = 0) -> Survival:
    """Send a dataset's masks.

    Args:
        source: the dataset.
        codec: of its task and categories.
        geometry: the sizes to work at.
        trip: colour maps ``(1, H, W, 3)`` uint8 through the VAE and back.
        limit: send the masks of so many images, evenly spread; 0 for all.

    Raises:
        SegGenError: a mask cannot be read or does not fit its record.
    """
    after, before = _Tally(source.categories, source.task), _Tally(source.categories, source.task)
    records = source.records()
    chosen = np.unique(np.linspace(0, len(records) - 1, min(limit or len(records), len(records))).round().astype(int))
    for place in tqdm(chosen, desc="masks through the VAE", unit="image"):
        whole = read_mask(records[place], source)
        after.see(whole)
        for view in geometry.views(*whole.shape):
            mask = view.mask(whole)
            rgb = codec.encode(mask)
            before.add(codec.decode(rgb).mask, mask)
            after.add(codec.decode(trip(rgb[None])[0]).mask, mask)
    return after.report(before)


class _Tally:
    """Counts what comes back."""

    def __init__(self, categories: Categories, task: str):
        self.categories, self.task, self.masks = categories, task, 0
        self.pixels = ConfusionMatrix(categories)
        self.quality = PanopticQuality(categories)
        self.objects: list[tuple[int, float, bool]] = []  # category, side, came back
        self.images = np.zeros(len(categories), np.int64)

    def see(self, whole: Mask) -> None:
        """Note what an image holds at its own size."""
        held = np.unique(_without_crowds(whole))
        self.images[held[held < len(self.categories)]] += 1

    def add(self, ours: Mask, truth: Mask) -> None:
        labels = _without_crowds(truth)
        self.pixels.update(ours.labels(), labels)
        self.masks += 1
        if self.task == "semantic":
            self.objects += _regions(ours.labels(), labels, truth.ignore_id)
        else:
            matched = {theirs for _, theirs in self.quality.update(ours, truth)}
            self.objects += _segments(truth, matched)

    def scores(self) -> list[float]:
        return list((self.pixels if self.task == "semantic" else self.quality).per_class().values())

    def report(self, before: _Tally) -> Survival:
        mean = [tally.pixels.miou() if self.task == "semantic" else tally.quality.pq() for tally in (self, before)]
        scores = zip(self.scores(), before.scores(), strict=True)
        classes = tuple(self._class(i, *map(_plain, pair)) for i, pair in enumerate(scores))
        return Survival(self.task, self.masks, *mean, classes, tuple(_by_size(self.objects)))

    def _class(self, i: int, score: float | None, without: float | None) -> ClassSurvival:
        sides = [side for category, side, _ in self.objects if category == i]
        back = [side for category, side, came in self.objects if category == i and came]
        row = self.pixels.counts[i].astype(float)
        others = np.delete(row, [i, len(self.categories)])
        most = int(others.argmax()) if len(others) else 0
        share = float(others[most] / row.sum()) if others.sum() else 0.0
        names = np.delete(self.categories.names, i)
        return ClassSurvival(self.categories.names[i], score, without, len(sides), len(back), _side(back, np.min), _side(sides, np.median),
                             str(names[most]) if share else "", round(share, 4), int(self.images[i]))


def _without_crowds(mask: Mask) -> np.ndarray:
    """Labels, with crowds as unlabelled, which is what codecs paint of them."""
    if not isinstance(mask, SegmentMask):
        return mask.labels()
    values = [mask.ignore_id if s.iscrowd else s.category_id for s in mask.segments]
    return mask.looked_up(values, mask.ignore_id, np.int32)


def _regions(ours: np.ndarray, labels: np.ndarray, ignore_id: int) -> Iterator[tuple[int, float, bool]]:
    """Connected regions of a label map; one comes back where more than half of its pixels do."""
    regions = connected_regions(labels, ignore_id).ravel()
    areas = np.bincount(regions)
    right = np.bincount(regions, (ours == labels).ravel())
    category = np.zeros(len(areas), np.int64)
    category[regions] = labels.ravel()
    counted = np.flatnonzero(areas[1:] >= LEAST) + 1
    yield from ((int(category[n]), float(areas[n] ** 0.5), bool(2 * right[n] > areas[n])) for n in counted)


def _segments(truth: SegmentMask | InstanceMask, matched: set[int]) -> Iterator[tuple[int, float, bool]]:
    """Segments, or what shows of objects, but for crowds."""
    shown = truth.flattened() if isinstance(truth, InstanceMask) else truth
    areas = np.bincount(shown.places().ravel(), minlength=len(shown.segments) + 1)[1:]
    yield from ((s.category_id, float(areas[n] ** 0.5), n in matched) for n, s in enumerate(shown.segments) if not s.iscrowd)


def _by_size(objects: Iterable[tuple[int, float, bool]]) -> Iterator[tuple[int, int, int, int]]:
    octaves = [(int(np.log2(max(side, 1))), came) for _, side, came in objects]
    for octave in sorted({octave for octave, _ in octaves}):
        came = [back for n, back in octaves if n == octave]
        yield 2**octave, 2 ** (octave + 1), len(came), sum(came)


def _side(sides: list[float], of: Callable) -> float | None:
    return round(float(of(sides)), 1) if sides else None


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 2)
