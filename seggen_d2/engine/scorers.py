"""A model's results of an image, handed to the metrics of each kind."""

from __future__ import annotations

from typing import Any, Protocol

from seggen_d2.evaluation.instances import Detection, MaskAP, TruthObject, encode_object, read_object
from seggen_d2.evaluation.panoptic import panoptic_scores
from seggen_d2.evaluation.scores import Scores
from seggen_d2.evaluation.semantic import SemanticScorer
from seggen_d2.modeling import Outputs
from seggen_d2.segmentation import Categories
from seggen_d2.segmentation.masks import Mask, Segment, SegmentMask
from seggen_d2.segmentation.panoptic_quality import PanopticQuality
from seggen_d2.segmentation.rle import decode_mask

Output = dict[str, Any]


class Scorer(Protocol):
    """Adds up images, and tells figures."""

    def update(self, record: dict[str, Any], output: Output, truth: Mask) -> None:
        """Add an image."""

    def scores(self) -> Scores:
        """The figures of the images so far."""


class SemanticResults:
    """mIoU and its kin of ``sem_seg``; crowds of a panoptic truth are of their category, as in COCO's semantic labels."""

    def __init__(self, categories: Categories):
        self.scorer = SemanticScorer(categories)

    def update(self, record: dict[str, Any], output: Output, truth: Mask) -> None:
        self.scorer.update(output["sem_seg"].argmax(0).cpu().numpy(), truth.labels(), record["file_name"])

    def scores(self) -> Scores:
        return self.scorer.scores()


class PanopticResults:
    """PQ of ``panoptic_seg``."""

    def __init__(self, categories: Categories):
        self.quality = PanopticQuality(categories)

    def update(self, record: dict[str, Any], output: Output, truth: Mask) -> None:
        self.quality.update(segments_of(output, truth.ignore_id), truth, record["file_name"])

    def scores(self) -> Scores:
        return panoptic_scores(self.quality)


class InstanceResults:
    """Mask AP of ``instances``; of a panoptic truth the things are the objects."""

    def __init__(self, categories: Categories):
        self.categories, self.scorer = categories, MaskAP(categories)

    def update(self, record: dict[str, Any], output: Output, truth: Mask) -> None:
        truths = truth_objects(record, truth, self.categories)
        self.scorer.update(record["image_id"], detections(output), truths)

    def scores(self) -> Scores:
        return self.scorer.scores()


def scorers_of(outputs: Outputs, categories: Categories) -> dict[str, Scorer]:
    """A scorer for each kind of result that a model gives; the first is the main one's."""
    kinds = {"panoptic": PanopticResults, "semantic": SemanticResults, "instance": InstanceResults}
    return {kind: make(categories) for kind, make in kinds.items() if getattr(outputs, kind)}


def segments_of(output: Output, ignore_id: int) -> SegmentMask:
    """``panoptic_seg`` as a mask."""
    ids, segments = output["panoptic_seg"]
    return SegmentMask(ids.cpu().numpy(), tuple(Segment(one["id"], one["category_id"]) for one in segments), ignore_id)


def detections(output: Output) -> list[Detection]:
    """``instances`` with run-length masks."""
    found = output["instances"]
    rows = zip(found["categories"].tolist(), found["scores"].tolist(), found["masks"].cpu().numpy(), strict=True)
    return [Detection(category, score, encode_object(mask)) for category, score, mask in rows]


def truth_objects(record: dict[str, Any], truth: Mask, categories: Categories) -> list[TruthObject]:
    """What can be found of a record: its annotations, or the things among its segments; areas as its JSON tells them."""
    size, where = truth.shape, f"an annotation of {record['file_name']}"
    if truth.task == "instance":
        return [_object(one, read_object(one["segmentation"], *size, where)) for one in record["annotations"]]
    things = [one for one in record["segments_info"] if categories.items[one["category_id"]].isthing]
    return [_object(one, encode_object(truth.ids == one["id"])) for one in things]


def _object(told: dict[str, Any], rle: dict[str, Any]) -> TruthObject:
    return TruthObject(told["category_id"], rle, float(told["area"] if "area" in told else decode_mask(rle, "an object").sum()), bool(told.get("iscrowd", 0)))
