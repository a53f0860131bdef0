"""Instance segmentation: mask AP, matched by COCO's own tools (pycocotools), without boxes, image by image.

Boxes are left out, so that objects are small, medium or large by their masks, as Detectron2 evaluates masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.rle import decode_mask, rle_size
from seggen_d2.sources.coco_instance import is_polygon

from .precision import average_precision, ranked
from .scores import Measured, Scores, mean_of, starred

MOST = 100  # detections of a category in an image that count, as in COCO
FIGURES = {"AP": (slice(None), 0), "AP50": (slice(0, 1), 0), "AP75": (slice(5, 6), 0),  # name: (IoU thresholds, area range)
           "APs": (slice(None), 1), "APm": (slice(None), 2), "APl": (slice(None), 3)}


@dataclass(frozen=True)
class Detection:
    """A predicted object: its category, its score, and its mask as COCO's run-length code of the image's size."""

    category_id: int
    score: float
    rle: dict[str, Any]


@dataclass(frozen=True)
class TruthObject:
    """An object of the truth. ``area``, pixels, is what the annotations tell (of polygons not quite what they cover), else the mask's."""

    category_id: int
    rle: dict[str, Any]
    area: float | None = None
    iscrowd: bool = False


class MaskAP:
    """Matches detections image by image and keeps only who matched; of other processes, accumulators are added by ``+``.

    Args:
        categories: N categories.
        most: detections of a category in an image that count, best first.

    Raises:
        SegGenError: pycocotools is not installed.
    """

    def __init__(self, categories: Categories, *, most: int = MOST):
        self.categories, self.most = categories, most
        self._images: dict[Any, dict[int, list[dict[str, Any] | None]]] = {}
        _tools()

    def update(self, image_id: Any, predicted: Sequence[Detection], truth: Sequence[TruthObject]) -> None:
        """Add an image; all masks are of its size.

        Raises:
            SegGenError: the image was added before, masks differ in size, a category is none, or a score is no number.
        """
        self._check(image_id, predicted, truth)
        judge = self._judge()
        for number, thing in enumerate(truth, start=1):  # from 1: an id of 0 reads as no match
            area, crowd = int(_tools().area(thing.rle)) if thing.area is None else thing.area, int(thing.iscrowd)
            facts = {"id": number, "segmentation": thing.rle, "area": area, "iscrowd": crowd, "ignore": crowd}
            judge._gts[image_id, thing.category_id].append(facts)
        for number, thing in enumerate(predicted, start=1):
            facts = {"id": number, "segmentation": thing.rle, "area": int(_tools().area(thing.rle)), "score": thing.score}
            judge._dts[image_id, thing.category_id].append(facts)
        found = sorted({thing.category_id for thing in (*predicted, *truth)})
        judge.ious = {(image_id, category): judge.computeIoU(image_id, category) for category in found}
        self._images[image_id] = {category: [_kept(judge.evaluateImg(image_id, category, area, self.most)) for area in judge.params.areaRng]
                                  for category in found}

    def _check(self, image_id: Any, predicted: Sequence[Detection], truth: Sequence[TruthObject]) -> None:
        if image_id in self._images:
            raise SegGenError(f"image {image_id!r} is scored twice", remedy="give each image once")
        sizes = {tuple(thing.rle["size"]) for thing in (*predicted, *truth)}
        if len(sizes) > 1:
            raise SegGenError(f"masks of image {image_id!r} differ in size", expected="that of the image", found=", ".join(map(str, sorted(sizes))))
        strange = sorted({thing.category_id for thing in (*predicted, *truth)} - {*range(len(self.categories))})
        if strange:
            raise SegGenError(f"an object of image {image_id!r} is of no category", expected=f"0..{len(self.categories) - 1}", found=str(strange[0]))
        scores = [thing.score for thing in predicted if not math.isfinite(thing.score)]
        if scores:
            raise SegGenError(f"a score of image {image_id!r} is no number", expected="a finite number", found=str(scores[0]))

    def __iadd__(self, other: MaskAP) -> MaskAP:
        """Add the images of another.

        Raises:
            SegGenError: an image is in both.
        """
        twice = other._images.keys() & self._images.keys()
        if twice:
            raise SegGenError(f"{len(twice)} images are scored twice", found=str(next(iter(twice))), remedy="give each image once")
        self._images.update(other._images)
        return self

    def __add__(self, other: MaskAP) -> MaskAP:
        """The images of both; errors are those of ``+=``."""
        total = MaskAP(self.categories, most=self.most)
        total += self
        total += other
        return total

    def scores(self, classes: Sequence[str] = ()) -> Scores:
        """``AP``, ``AP50``, ``AP75``, ``APs``, ``APm``, ``APl``, and AP of each category; NaN where the truth has no such object.

        Args:
            classes: names; ``AP*`` is the mean over those of them.
        """
        columns = {name: values[0] for name, values in self._columns(FIGURES, np.ones((1, len(self._images)), np.int64)).items()}
        figures = {name: mean_of(values) for name, values in columns.items()}
        return Measured(figures | starred("AP", columns["AP"], classes, self.categories), {"AP": columns["AP"]}).scores(self.categories)

    def figure(self, name: str, draws: np.ndarray, classes: Sequence[str] = ()) -> np.ndarray:
        """``(R,)`` one of :meth:`scores`, of ``(R, I)`` draws of the images; see :class:`.Kept`."""
        of = name.rstrip("*")
        values = self._columns([of], draws)[of]
        return mean_of(values) if name == of else starred(of, values, classes, self.categories)[name]

    def _columns(self, names: Iterable[str], draws: np.ndarray) -> dict[str, np.ndarray]:
        """``(R, N)`` each, a figure of each category, of draws of the images in the order in which they were added."""
        images = sorted(self._images)  # of equal scores, whatever the order in which images were added
        places = {image: place for place, image in enumerate(self._images)}
        draws = draws[:, [places[image] for image in images]]
        columns = {name: np.full((len(draws), len(self.categories)), np.nan) for name in names}
        found = sorted({category for matches in self._images.values() for category in matches})
        for category in tqdm(found, desc=f"{', '.join(columns)} of {len(draws):,} draws", unit="category", disable=None, leave=False, delay=2):
            matched = [self._images[image].get(category) for image in images]
            for area in sorted({FIGURES[name][1] for name in columns}):
                listed = ranked([one and one[area] for one in matched])
                for name in columns if listed else ():
                    if FIGURES[name][1] == area:
                        columns[name][:, category] = average_precision(listed, draws, FIGURES[name][0])
        return columns

    def _judge(self) -> Any:
        from pycocotools.cocoeval import COCOeval

        judge = COCOeval(iouType="segm")
        judge.params.maxDets = [1, 10, self.most]
        return judge


def _kept(matched: dict[str, Any] | None) -> dict[str, Any] | None:
    """What :meth:`MaskAP.scores` needs of an image's matches, small."""
    if matched is None:
        return None
    return {"dtScores": np.asarray(matched["dtScores"], float), "dtMatches": matched["dtMatches"].astype(bool),
            "dtIgnore": matched["dtIgnore"].astype(bool), "gtIgnore": np.asarray(matched["gtIgnore"], bool)}


def encode_object(mask: np.ndarray) -> dict[str, Any]:
    """``(H, W)`` bool to COCO's run-length code."""
    return _tools().encode(np.asfortranarray(mask, np.uint8))


def read_object(segmentation: Any, height: int, width: int, where: str) -> dict[str, Any]:
    """Polygons, or a run-length mask of either kind, as COCO's short run-length code.

    Raises:
        SegGenError: it is neither, is broken, or is of another size; ``where`` names it.
    """
    if isinstance(segmentation, list):
        polygons = [polygon for polygon in segmentation if is_polygon(polygon, where)]
        return _tools().merge(_tools().frPyObjects(polygons, height, width)) if polygons else encode_object(np.zeros((height, width), bool))
    if rle_size(segmentation, where) != (height, width):
        raise SegGenError(f"the mask of {where} has another size than its image", expected=f"{height} x {width} (H x W)",
                          found=" x ".join(map(str, segmentation["size"])), remedy="predict at the size of the image")
    mask = decode_mask(segmentation, where)  # pycocotools never returns from runs that do not fill their size
    return encode_object(mask) if isinstance(segmentation["counts"], list) else segmentation


def _tools() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise SegGenError("mask AP is COCO's own, and pycocotools is not installed", found=str(error), remedy="pip install pycocotools") from error
    return mask
