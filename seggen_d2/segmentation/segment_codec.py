"""Segments as colour maps: each in its category's colour, outlined in the palette's edge colour; and back.

Crowds and pixels of no segment have the ignore colour and come back as pixels of no segment: a crowd is no one
segment, so a generator that learned to paint it as one would make wrong labels.

Decoding: each pixel takes its nearest colour; 4-connected pixels of one category are a region, since edges separate
segments; regions of a few pixels are dropped (specks), as are unlabelled ones (holes) and the thin bands of mixed
colours that blur makes of borders; the pixels of edges, specks and holes go to the nearest region that is left.
Regions of a stuff category are one segment in panoptic masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .categories import Categories
from .codec import ColorCodec
from .masks import InstanceMask, InstanceObject, Mask, Segment, SegmentMask
from .opencv import opencv
from .palette import Palette

SPECK = 32  # pixels of a map of 768 x 768: regions smaller than this are no segments
BREADTH = 5  # pixels: a blurred region must hold squares of this side,
BROAD_SHARE = 0.05  # centred on more than this share of its pixels
EXACT = 16  # a region's colours are exact within the palette's smallest distance by this, on average
REACH = 4  # edge widths: deeper in edge colour than this, pixels belong to nothing


@dataclass(frozen=True)
class Decoded:
    """What a colour map holds.

    Attributes:
        mask: of the codec's task.
        specks: regions too small to be a segment that were given to their neighbours (semantic: 0).
        holes: unlabelled regions as small that were closed (semantic: 0).
        dropped: share of the pixels in specks and holes (semantic: 0).
        lost: share of the pixels that belong to no segment because they lie deep in edge colour (semantic: 0).
    """

    mask: Mask
    specks: int = 0
    holes: int = 0
    dropped: float = 0.0
    lost: float = 0.0


class SegmentCodec:
    """The codec of panoptic and instance masks; :func:`mask_codec` tells the arguments.

    A segment in several parts comes back as several, and one that edges cover wholly not at all.
    """

    def __init__(self, task: str, palette: Palette, categories: Categories, edge_width: int, edges: str):
        self.task, self.categories, self.edge_width, self.edges = task, categories, edge_width, edges
        self.colors = ColorCodec(palette, categories.ignore_id)

    def unsure(self, rgb: np.ndarray) -> np.ndarray:
        """See :meth:`MaskCodec.unsure`; edges are colours like others."""
        return self.colors.distance_to(rgb, self.colors.nearest(rgb)) > self.colors.palette.min_distance() / 4

    def doubtful(self, rgb: np.ndarray) -> np.ndarray:
        """See :meth:`MaskCodec.doubtful`."""
        return self.colors.doubtful(rgb)

    def to_json(self) -> dict[str, Any]:
        return {"edge_width": self.edge_width, "edges": self.edges}

    def encode(self, mask: SegmentMask | InstanceMask) -> np.ndarray:
        """See :meth:`MaskCodec.encode`; of overlapping objects the smallest shows."""
        shown = mask.flattened() if isinstance(mask, InstanceMask) else mask
        drawn = enumerate(shown.segments, start=1)
        places = shown.looked_up([0 if segment.iscrowd else place for place, segment in drawn], 0, np.int32)
        ids = np.array([mask.ignore_id, *(segment.category_id for segment in shown.segments)], np.int32)
        labels = ids[places]
        rgb = self.colors.encode(labels)
        rgb[edge_pixels(places, self.edge_width, labels if self.edges == "touching" else None)] = self.colors.palette.edge_color
        return rgb

    def decode(self, rgb: np.ndarray) -> Decoded:
        """See :meth:`MaskCodec.decode`.

        Raises:
            SegGenError: opencv is not installed.
        """
        kinds = self.colors.nearest(rgb)
        ignore, edge = len(self.categories), len(self.categories) + 1
        regions = connected_regions(kinds, edge)
        kind_of = np.full(regions.max() + 1, edge, np.int32)
        kind_of[regions] = kinds
        areas = np.bincount(regions.ravel(), minlength=len(kind_of))
        small = (areas < speck_size(kinds.shape)) | self._blurred(rgb, kinds, regions, areas)
        small &= kind_of != edge
        kept = ~small & (kind_of != edge)
        filled, distance = nearest_filled(regions, kept[regions])
        lost = (kinds == edge) & (distance > REACH * self.edge_width)
        filled[lost] = 0
        mask = self._mask(filled, np.where(kept, kind_of, ignore))
        specks, holes = (int(np.count_nonzero(small & those)) for those in (kind_of < ignore, kind_of == ignore))
        return Decoded(mask, specks, holes, float(areas[small].sum() / kinds.size), float(lost.mean()))

    def _blurred(self, rgb: np.ndarray, kinds: np.ndarray, regions: np.ndarray, areas: np.ndarray) -> np.ndarray:
        """Per region, whether it is what blur makes of a border: colours between two others, in a thin band.

        A region that has its colour exactly counts however thin it is; another needs some breadth.
        """
        squares = np.ones((BREADTH, BREADTH), np.uint8)
        broad = opencv().dilate(kinds, squares) == opencv().erode(kinds, squares)
        thin = np.bincount(regions[broad], minlength=len(areas)) <= BROAD_SHARE * areas
        of_thin = thin[regions]
        away = np.bincount(regions[of_thin], self.colors.distance_to(rgb[of_thin], kinds[of_thin]), len(areas))
        return thin & (away > areas * self.colors.palette.min_distance() / EXACT)

    def _mask(self, regions: np.ndarray, category_of: np.ndarray) -> SegmentMask | InstanceMask:
        """Number the segments by their first pixels, row by row."""
        items, merges = self.categories.items, self.task == "panoptic"
        segments: list[Segment] = []
        stuff: dict[int, int] = {}
        number_of = np.zeros(len(category_of), np.int32)
        for region in _by_first_pixel(regions):
            category = int(category_of[region])
            if category >= len(items):
                continue
            shared = merges and not items[category].isthing
            number = stuff.get(category) if shared else None
            if number is None:
                number = len(segments) + 1
                segments.append(Segment(number, category))
            if shared:
                stuff[category] = number
            number_of[region] = number
        ids = number_of[regions]
        if merges:
            return SegmentMask(ids, tuple(segments), self.categories.ignore_id)
        objects = (InstanceObject(ids == segment.id, segment.category_id) for segment in segments)
        return InstanceMask(ids.shape, tuple(objects), self.categories.ignore_id)


def speck_size(shape: tuple[int, int]) -> int:
    """Pixels from which on a region of a map of ``shape`` may be a segment."""
    return max(4, round(SPECK * shape[0] * shape[1] / 768**2))


def edge_pixels(places: np.ndarray, width: int, labels: np.ndarray | None = None) -> np.ndarray:
    """``(H, W)`` bool: lines of ``width`` pixels along the borders between different ``places``.

    Args:
        places: ``(H, W)`` integers.
        width: 1 draws on the upper or left side of a border, 2 on both sides, and so on in turn.
        labels: where given, only borders between pixels of one label are drawn.
    """
    borders = np.zeros(places.shape, bool)  # between a pixel and its right or lower neighbour
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differ = places[here] != places[there]
        borders[here] |= differ if labels is None else differ & (labels[here] == labels[there])
    height, across = places.shape
    before = (width - 1) // 2
    padded = np.pad(borders, ((width - 1 - before, before),) * 2)
    rows = np.logical_or.reduce([padded[start : start + height] for start in range(width)])
    return np.logical_or.reduce([rows[:, start : start + across] for start in range(width)])


def connected_regions(kinds: np.ndarray, without: int) -> np.ndarray:
    """``(H, W)`` int32: 4-connected pixels of one kind have one number from 1; those of kind ``without`` have 0.

    Pixels and the links between equal neighbours make a two-valued picture of twice the size, so that one pass finds
    the regions of all kinds.

    Raises:
        SegGenError: opencv is not installed.
    """
    height, width = kinds.shape
    counts = kinds != without
    links = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    links[::2, ::2] = counts
    links[::2, 1::2] = (kinds[:, 1:] == kinds[:, :-1]) & counts[:, 1:]
    links[1::2, ::2] = (kinds[1:] == kinds[:-1]) & counts[1:]
    _, regions = opencv().connectedComponents(links, connectivity=4)
    return np.ascontiguousarray(regions[::2, ::2])


def nearest_filled(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(H, W)`` values, each unknown one replaced by the nearest known one, and the distance to it, pixels.

    Where nothing is known, values are 0 and distances infinite.

    Raises:
        SegGenError: opencv is not installed.
    """
    if known.all() or not known.any():
        return values * known, np.where(known, 0, np.inf)
    cv2 = opencv()
    distance, nearest = cv2.distanceTransformWithLabels((~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    value_of = np.zeros(nearest.max() + 1, values.dtype)
    value_of[nearest[known]] = values[known]
    return value_of[nearest], distance


def _by_first_pixel(regions: np.ndarray) -> np.ndarray:
    """The numbers in ``regions``, 0 left out, by where each is first met, row by row."""
    flat = regions.ravel()
    first = np.full(flat.max() + 1, flat.size)
    first[flat[::-1]] = np.arange(flat.size)[::-1]
    first[0] = flat.size
    return np.argsort(first, kind="stable")[: np.count_nonzero(first < flat.size)]
