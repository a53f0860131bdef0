"""Target generators: what of a record is read as labels, and what the segmenter is to learn from them.

The mapper reads ``generator.read(record)``, draws a plan, and has the generator render the labels by it. Each task is a
class with the same three methods.
"""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
import torch

from seggen_d2.bank.paths import open_member
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, check_labels, read_label_map

from .plan import Plan, Sampling, Size, centres


class TargetGenerator(Protocol):
    """Reads labels and renders them by a plan."""

    def read(self, record: dict[str, Any], size: Size | None = None) -> Any:
        """The record's labels at the file's own size, which is checked against ``size`` (H, W) of the image."""

    def areas(self, labels: Any, plan: Plan) -> np.ndarray:
        """(C,) pixels of each category in the plan's window, ignored ones left out; for crops that limit them."""

    def __call__(self, labels: Any, record: dict[str, Any], plan: Plan) -> dict[str, Any]:
        """``mask_labels`` (N, H, W) bool, ``class_labels`` (N,) int64, and what else the task has."""


class SemanticTargets:
    """One segment a category that occurs; ignored and padded pixels belong to none.

    Args:
        categories: the label space.
        sampling: where a resized label map reads the file's: ``centres`` (labels lie where the image's pixels do) or
            ``corners`` (as Mask2Former's mapper, up to half a pixel aside).
    """

    def __init__(self, categories: Categories, sampling: Sampling = centres):
        self.categories, self.sampling = categories, sampling

    def read(self, record: dict[str, Any], size: Size | None = None) -> np.ndarray:
        """The (H, W) label map that ``sem_seg_file_name`` holds.

        Raises:
            SegGenError: the record names none, it cannot be read, it holds an unknown id or is not of ``size``.
        """
        where = needed(record, "sem_seg_file_name", "semantic")
        labels = read_label_map(open_member(where), where)
        count, ignore = len(self.categories), self.categories.ignore_id
        if labels.max() >= count and ((labels >= count) & (labels != ignore)).any():
            check_labels(labels, self.categories, where)
        return same_size(labels, size, record, where)

    def areas(self, labels: np.ndarray, plan: Plan) -> np.ndarray:
        """(C,) pixels of each category in the plan's window."""
        return count_values(plan.take(labels, self.sampling), len(self.categories))

    def __call__(self, labels: np.ndarray, record: dict[str, Any], plan: Plan) -> dict[str, torch.Tensor]:
        """``mask_labels`` (N, H, W) bool, ``class_labels`` (N,) int64, ``sem_seg`` (H, W) int64."""
        window = self.window(labels, plan)
        found = np.flatnonzero(count_values(window, len(self.categories)))
        masks = np.empty((len(found), *window.shape), bool)
        for category, mask in zip(found.tolist(), masks, strict=True):
            np.equal(window, category, out=mask)
        return {
            "mask_labels": torch.from_numpy(masks),
            "class_labels": torch.from_numpy(found.astype(np.int64)),
            "sem_seg": torch.from_numpy(window.astype(np.int64)),
        }

    def window(self, labels: np.ndarray, plan: Plan) -> np.ndarray:
        """The label map rendered by the plan, padding ignored: (H, W) of the plan's canvas, as narrow as ``labels``."""
        window = plan.take(labels, self.sampling)
        if window.shape == plan.canvas:
            return window
        canvas = np.full(plan.canvas, self.categories.ignore_id, labels.dtype)
        canvas[: window.shape[0], : window.shape[1]] = window
        return canvas


def count_values(labels: np.ndarray, values: int) -> np.ndarray:
    """(values,) how often 0, 1, ... occur in (H, W) uint8 or uint16; larger ones count nowhere."""
    if labels.dtype == np.uint8:
        return cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()[:values].astype(np.int64)
    return np.bincount(labels.ravel(), minlength=values)[:values]


def needed(record: dict[str, Any], key: str, task: str) -> Any:
    """``record[key]``.

    Raises:
        SegGenError: the record has none; it says which task the record's labels are of.
    """
    if record.get(key) is not None:
        return record[key]
    kinds = {"sem_seg_file_name": "semantic", "pan_seg_file_name": "panoptic", "annotations": "instance"}
    others = " and ".join(kind for name, kind in kinds.items() if record.get(name) is not None)
    raise SegGenError(
        f"the record of {record.get('file_name')} has no {task} labels",
        expected=key,
        found=f"{others} labels" if others else ", ".join(record),
        remedy=f"use a dataset and banks of the {task} task, or the mapper of the task that they have",
    )


def same_size(labels: np.ndarray, size: Size | None, record: dict[str, Any], where: str) -> np.ndarray:
    """``labels``, if they are (H, W) of ``size``.

    Raises:
        SegGenError: they are of another size.
    """
    if size is not None and labels.shape != tuple(size):
        raise SegGenError(
            f"{record['file_name']} and its mask {where} differ in size",
            expected=f"a mask of {size[1]}x{size[0]} pixels",
            found=f"{labels.shape[1]}x{labels.shape[0]}",
            remedy="resize the mask by nearest neighbour",
        )
    return labels
