"""What is scored in each task: how truth is read and compared with predictions, and shown as pixels that went wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from seggen_d2.foundation.data_uris import fitted
from seggen_d2.foundation.errors import check_choice
from seggen_d2.foundation.files import read_json
from seggen_d2.segmentation import resize_labels
from seggen_d2.segmentation.masks import InstanceMask, InstanceObject, SegmentMask
from seggen_d2.segmentation.panoptic_quality import PanopticQuality
from seggen_d2.segmentation.rle import decode_mask
from seggen_d2.sources import Source
from seggen_d2.sources.masks import read_mask

from .instances import Detection, MaskAP, TruthObject, encode_object, read_object
from .kept import ImageSums, Kept
from .panoptic import panoptic_measured, panoptic_scores
from .pictures import MOST
from .saved import Saved, SavedLabels, SavedObjects, SavedSegments
from .scores import Scores
from .semantic import RATIO, SemanticScorer

ID_ZERO = "an annotation has the id 0: pycocotools, run on this JSON, never takes it for found; here it counts as any other"
OF_PANOPTIC = {"semantic": {"mIoU": "mIoU_pan"}, "instance": {"AP": "AP_pan^Th"}}  # the paper's names of a panoptic model's other figures
SHOWN = 0.5  # the score from which a detection is drawn


@dataclass(frozen=True)
class View:
    """An image's truth and prediction as ``(H, W)`` labels, segments with lines between them, and the pixels that went wrong."""

    truth: np.ndarray
    predicted: np.ndarray
    wrong: np.ndarray


class Task(Protocol):
    """One way of scoring. What :meth:`score` returns can be added up by ``+``.

    Attributes:
        rank: the figure that the worst images are chosen by.
        absent: what an image without prediction means, unless the caller says: ``error`` or ``empty``.
        notes: what a reader of the figures must know.
        source: the dataset.
        saved: where predictions are read from; None where a model makes them.
    """

    rank: str
    absent: str
    notes: tuple[str, ...]
    source: Source
    saved: Saved | None

    def none(self) -> Any:
        """The sum over no image."""

    def nothing(self, record: dict[str, Any]) -> Any:
        """The prediction of nothing."""

    def score(self, record: dict[str, Any], predicted: Any) -> Any:
        """What was counted in one image."""

    def scores(self, counted: Any, classes: Sequence[str] = ()) -> Scores:
        """The figures of what was counted."""

    def kept(self) -> Kept:
        """No image yet; what :meth:`score` returns is added by ``+=``, and kept image by image."""

    def view(self, record: dict[str, Any], predicted: Any) -> View:
        """One image, to look at."""


class SemanticTask:
    """Label maps against label maps, or against those of a panoptic truth (crowds are of their category)."""

    rank, absent, notes = "mIoU", "error", ()

    def __init__(self, source: Source, saved: SavedLabels | None = None, *, ratio: float = RATIO):
        self.source, self.saved, self.ratio = source, saved, ratio

    def none(self) -> SemanticScorer:
        return SemanticScorer(self.source.categories, ratio=self.ratio)

    def nothing(self, record: dict[str, Any]) -> np.ndarray:
        return np.full(read_mask(record, self.source).shape, self.source.categories.ignore_id, np.uint16)

    def score(self, record: dict[str, Any], predicted: np.ndarray) -> SemanticScorer:
        counted = self.none()
        counted.update(predicted, read_mask(record, self.source).labels(), _name(self, record))
        return counted

    def scores(self, counted: SemanticScorer, classes: Sequence[str] = ()) -> Scores:
        return counted.scores(classes)

    def kept(self) -> ImageSums:
        return ImageSums(self.source.categories, self.none().measured)

    def view(self, record: dict[str, Any], predicted: np.ndarray) -> View:
        truth = read_mask(record, self.source).labels()
        return View(truth, predicted, (truth != self.source.categories.ignore_id) & (truth != predicted))


class PanopticTask:
    """Segments against segments."""

    rank, absent, notes = "PQ", "error", ()

    def __init__(self, source: Source, saved: SavedSegments | None = None):
        self.source, self.saved = source, saved

    def none(self) -> PanopticQuality:
        return PanopticQuality(self.source.categories)

    def nothing(self, record: dict[str, Any]) -> SegmentMask:
        return SegmentMask(np.zeros(read_mask(record, self.source).shape, np.int32), (), self.source.categories.ignore_id)

    def score(self, record: dict[str, Any], predicted: SegmentMask) -> PanopticQuality:
        counted, truth = self.none(), read_mask(record, self.source)
        counted.update(predicted, truth, _name(self, record))
        there = {segment.id for segment in truth.segments}
        counted.miss(info["category_id"] for info in record["segments_info"] if info["id"] not in there and not info["iscrowd"])
        return counted

    def scores(self, counted: PanopticQuality, classes: Sequence[str] = ()) -> Scores:
        return panoptic_scores(counted, classes)

    def kept(self) -> ImageSums:
        return ImageSums(self.source.categories, partial(panoptic_measured, self.source.categories))

    def view(self, record: dict[str, Any], predicted: SegmentMask) -> View:
        truth = read_mask(record, self.source)
        return _segment_view(truth, predicted, truth.ids != 0, self.none())


class InstanceTask:
    """Objects against objects, or against the things of a panoptic truth. No result at all is what COCO's tools take it for: no object."""

    rank, absent = "AP", "empty"

    def __init__(self, source: Source, saved: SavedObjects | None = None):
        self.source, self.saved = source, saved
        first = saved and source.task == "instance" and any(item.get("id") == 0 for item in read_json(source.json, "COCO annotations")["annotations"])
        self.notes = (ID_ZERO,) if first else ()

    def none(self) -> MaskAP:
        return MaskAP(self.source.categories)

    def nothing(self, record: dict[str, Any]) -> list[Detection]:
        return []

    def score(self, record: dict[str, Any], predicted: Sequence[Detection]) -> MaskAP:
        counted = self.none()
        counted.update(record["image_id"], predicted, self._truth(record))
        return counted

    def scores(self, counted: MaskAP, classes: Sequence[str] = ()) -> Scores:
        return counted.scores(classes)

    def kept(self) -> MaskAP:
        return self.none()

    def view(self, record: dict[str, Any], predicted: Sequence[Detection]) -> View:
        size, ignore = (record["height"], record["width"]), self.source.categories.ignore_id
        sides = self._truth(record), [each for each in predicted if each.score >= SHOWN]
        drawn = ([InstanceObject(decode_mask(o.rle, "an object"), o.category_id, getattr(o, "iscrowd", False)) for o in side] for side in sides)
        shown, ours = (InstanceMask(size, tuple(objects), ignore).flattened() for objects in drawn)
        crowds = shown.looked_up([segment.iscrowd for segment in shown.segments], False, bool)
        return _segment_view(shown, ours, ~crowds, PanopticQuality(self.source.categories))

    def _truth(self, record: dict[str, Any]) -> list[TruthObject]:
        if self.source.task == "instance":
            where = f"an annotation of {record['file_name']}"
            parts = [(part, read_object(part["segmentation"], record["height"], record["width"], where)) for part in record["annotations"]]
        else:
            infos, ids = {info["id"]: info for info in record["segments_info"] if info["isthing"]}, read_mask(record, self.source).ids
            parts = [(infos[i], encode_object(ids == i)) for i in infos]
        return [TruthObject(part["category_id"], rle, part.get("area"), bool(part["iscrowd"])) for part, rle in parts]


def _name(task: Task, record: dict[str, Any]) -> str:
    """What errors call a record's prediction."""
    return task.saved.name(record) if task.saved else f"the prediction for {record['file_name']}"


def _saved_objects(predictions: str | os.PathLike, source: Source) -> SavedObjects:
    things = {number: place for number, place in source.numbers.items() if source.categories.items[place].isthing}
    return SavedObjects(predictions, source, things)


TASKS: dict[str, tuple[type, Callable[..., Saved], tuple[str, ...]]] = {  # how each is scored, how predictions lie on disk,
    "semantic": (SemanticTask, lambda predictions, source: SavedLabels(predictions), ("semantic", "panoptic")),  # and the tasks
    "panoptic": (PanopticTask, SavedSegments, ("panoptic",)),  # of datasets that have its truth
    "instance": (InstanceTask, _saved_objects, ("instance", "panoptic")),
}


def kinds_of(source: Source) -> list[str]:
    """The tasks that a dataset has the truth of."""
    return [name for name, (_, _, tasks) in TASKS.items() if source.task in tasks]


def open_task(task: str, predictions: str | os.PathLike, source: Source, **options: Any) -> Task:
    """The predictions at ``predictions``, to be scored in ``task`` against ``source``; ``options`` are of the task's class.

    Raises:
        SegGenError: the dataset has no truth of that task, or the predictions are not of its format or not of the dataset.
    """
    check_choice(f"the task for dataset {source.name} ({source.task})", task, kinds_of(source))
    make, open_saved, _ = TASKS[task]
    return make(source, open_saved(predictions, source), **options)


def _segment_view(truth: SegmentMask, predicted: SegmentMask, known: np.ndarray, quality: PanopticQuality) -> View:
    """Wrong is what is known and does not lie in a matched pair of segments."""
    partner = np.zeros(len(predicted.segments) + 1, np.int32)
    for ours, theirs in quality.update(predicted, truth):
        partner[ours + 1] = theirs + 1
    partner[1:][partner[1:] == 0] = -1
    size = fitted(truth.shape, MOST)  # lines are drawn at the size that is shown
    wrong = known & (partner[predicted.places()] != truth.places())
    return View(_lined(truth.resized(*size)), _lined(predicted.resized(*size)), resize_labels(wrong, *size))


def _lined(mask: SegmentMask) -> np.ndarray:
    """Labels with a line of the ignore label between segments."""
    labels, places = mask.labels().copy(), mask.places()
    labels[1:][places[1:] != places[:-1]] = mask.ignore_id
    labels[:, 1:][places[:, 1:] != places[:, :-1]] = mask.ignore_id
    return labels
