"""Target generators: what of a record is read as labels, and what the segmenter is to learn from them.

The mapper reads ``generator.read(record)``, lets the augmentations move it about with the image, and hands it back.
Panoptic and instance targets are further classes with the same two methods.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from seggen_d2.bank.paths import open_member
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import Categories, check_labels, read_label_map


class TargetGenerator(Protocol):
    """Reads labels and turns them, augmented, into targets."""

    def read(self, record: dict[str, Any]) -> np.ndarray:
        """(H, W) integers that nearest-neighbour resizing, cropping and flipping may move about."""

    def __call__(self, labels: np.ndarray, record: dict[str, Any]) -> dict[str, torch.Tensor]:
        """``mask_labels`` (N, H, W) bool, ``class_labels`` (N,) int64, and what else the task has."""


class SemanticTargets:
    """One segment a category that occurs; ignored pixels belong to none."""

    def __init__(self, categories: Categories):
        self.categories = categories

    def read(self, record: dict[str, Any]) -> np.ndarray:
        """The (H, W) label map that ``sem_seg_file_name`` holds.

        Raises:
            SegGenError: the record names none, it cannot be read, or it holds an unknown id.
        """
        where = record.get("sem_seg_file_name")
        if not where:
            raise SegGenError(
                f"the record of {record.get('file_name')} has no mask",
                expected="sem_seg_file_name",
                found=", ".join(record),
            )
        labels = read_label_map(open_member(where), where)
        if ((labels >= len(self.categories)) & (labels != self.categories.ignore_id)).any():
            check_labels(labels, self.categories, where)
        return labels

    def __call__(self, labels: np.ndarray, record: dict[str, Any]) -> dict[str, torch.Tensor]:
        """``mask_labels`` (N, H, W) bool, ``class_labels`` (N,) int64, ``sem_seg`` (H, W) int64."""
        found = np.flatnonzero(np.bincount(labels.ravel(), minlength=len(self.categories))[: len(self.categories)])
        sem_seg = torch.from_numpy(labels.astype(np.int64))
        classes = torch.from_numpy(found.astype(np.int64))
        return {"mask_labels": sem_seg[None] == classes[:, None, None], "class_labels": classes, "sem_seg": sem_seg}
