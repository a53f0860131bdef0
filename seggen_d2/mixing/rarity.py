"""p_aug by class rarity: images that hold rare classes give way to their variants more often than others.

The frequency of a class is the share of the training images that hold it, and an image counts by its rarest class:
``r``, its repeat factor (:mod:`seggen_d2.segmentation.rarity`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from seggen_d2.bank.paths import open_member
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.segmentation import read_label_map
from seggen_d2.segmentation.rarity import repeat_factors

PARTS = {"panoptic": "segments_info", "instance": "annotations"}  # a record's key of what names categories


class Rarity:
    """``rarity(record, p_aug)`` is that record's own p_aug: ``min(1, s * r)``, with s such that the mean over all is ``p_aug``.

    So the expected share of synthetic samples stays what was asked for, and only its place changes. With every class in
    every image, and at p_aug 0 and 1, each record's p_aug is ``p_aug`` itself. ``factors`` holds r of each image, as a
    multiple of the smallest.

    Args:
        classes: the category ids that each training image holds, by its ``file_name``. An image without any counts as one
            of classes that all images hold.

    Raises:
        SegGenError: there is no image.
    """

    def __init__(self, classes: Mapping[str, Collection[int]]):
        if not classes:
            raise SegGenError("p_aug by rarity has no training images to count", expected="1 or more", found="0")
        rarest = repeat_factors(classes)
        least = min(rarest.values())
        self.factors = {name: factor / least for name, factor in rarest.items()}
        values = np.array([*self.factors.values()])
        # mean(min(1, s r)) is linear in s between the points where one more kind of image reaches 1
        self._scales = np.array([0.0, *sorted(1 / np.unique(values))])
        self._means = np.array([np.minimum(1, scale * values).mean() for scale in self._scales])

    def __call__(self, record: Mapping[str, Any], p_aug: float) -> float:
        """Raises:
        SegGenError: the record's image was not counted.
        """
        factor = self.factors.get(str(record.get("file_name")))
        if factor is None:
            raise SegGenError(
                "p_aug by rarity does not know a training image",
                expected=f"one of the {len(self.factors)} images that DATASETS.TRAIN had when training began",
                found=str(record.get("file_name")),
                remedy="train on the dataset that DATASETS.TRAIN names, or leave SEGGEN.P_AUG_BY out",
            )
        return float(min(1.0, np.interp(p_aug, self._means, self._scales) * factor))


def rarity_of(records: Sequence[Mapping[str, Any]], task: str, ignore_id: int) -> Rarity:
    """The rarity of real records; of semantic ones each mask is read, once, with a progress bar.

    Args:
        records: dataset dicts. task: ``semantic``, ``panoptic`` or ``instance``. ignore_id: label of no category.

    Raises:
        SegGenError: a mask cannot be read.
    """
    places = tqdm(range(len(records)), "classes of the training images", unit="image", mininterval=0.5, disable=task in PARTS)
    found = (records[place] for place in places)
    return Rarity({str(record["file_name"]): classes_of(record, task, ignore_id) for record in found})


def classes_of(record: Mapping[str, Any], task: str, ignore_id: int) -> set[int]:
    """The category ids that a record holds; see :func:`rarity_of`."""
    if task in PARTS:
        return {int(part["category_id"]) for part in record.get(PARTS[task], ())}
    where = record["sem_seg_file_name"]
    return {*np.unique(read_label_map(open_member(where), where)).tolist()} - {ignore_id}
