"""This package's mapper with the output of Mask2Former's five: same keys, types and shapes, in less time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import BitMasks, Boxes, Instances

from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.mapping import (
    Augmentation,
    ColorJitter,
    DatasetMapper,
    FixedSizePad,
    HorizontalFlip,
    InstanceTargets,
    PanopticTargets,
    RandomCrop,
    ResizeShortestEdge,
    SemanticTargets,
    corners,
    large_scale_jitter,
)
from seggen_d2.segmentation import Categories

from ..randomness import seed_of

_READ = ("sem_seg_file_name", "pan_seg_file_name", "annotations")  # Mask2Former's mappers take these out of the record


class SegGenDatasetMapper:
    """A :class:`DatasetMapper` whose segments come as Detectron2 ``Instances``.

    Args:
        mapper: makes ``mask_labels``, ``class_labels`` and, where the stock mapper has them, ``boxes``.
        mask_type: of ``gt_masks``; Mask2Former's COCO instance mapper gives uint8, the others bool.
        boxes: give ``gt_boxes`` in any case, around the masks, as all mappers of Mask DINO do.
    """

    def __init__(self, mapper: DatasetMapper, mask_type: torch.dtype = torch.bool, boxes: bool = False):
        self.mapper, self.mask_type, self.boxes = mapper, mask_type, boxes

    def __call__(self, record: dict[str, Any], number: int | None = None) -> dict[str, Any]:
        """Map one record.

        Args:
            record: Detectron2's dataset dict.
            number: the sample's global number, which fixes the augmentation together with ``SEED``. Without it draws
                come from numpy's global generator, which Detectron2's loaders seed in each worker.

        Returns:
            The record without its labels' sources; ``image`` (3, H, W) uint8; ``instances`` with ``gt_classes`` (N,),
            ``gt_masks`` (N, H, W) and, from the COCO mappers or with ``boxes``, ``gt_boxes``; ``sem_seg`` (H, W) int64 and
            ``padding_mask`` (H, W) bool where the stock mapper gives them.

        Raises:
            SegGenError: a file cannot be read, sizes differ, or the record is of another task.
        """
        sample = self.mapper(record, number)
        instances = Instances(tuple(sample["image"].shape[1:]))
        instances.gt_classes = sample.pop("class_labels")
        instances.gt_masks = sample.pop("mask_labels").view(self.mask_type)
        if "boxes" in sample:
            instances.gt_boxes = Boxes(sample.pop("boxes"))
        elif self.boxes:
            instances.gt_boxes = BitMasks(instances.gt_masks.bool()).get_bounding_boxes()
        return {**{key: value for key, value in sample.items() if key not in _READ}, "instances": instances}


def build_mapper(cfg: Any, is_train: bool = True) -> SegGenDatasetMapper:
    """The training mapper that ``INPUT.DATASET_MAPPER_NAME`` names.

    Args:
        cfg: a config with Detectron2's and Mask2Former's keys.
        is_train: these mappers serve training alone, as stock's do.

    Raises:
        SegGenError: the name is not known, a value is out of range, or it is for testing.
    """
    if not is_train:
        raise SegGenError(
            "this mapper serves training alone",
            expected="is_train True",
            found="is_train False",
            remedy="use detectron2.data.DatasetMapper(cfg, is_train=False) for tests",
        )
    name = check_choice("INPUT.DATASET_MAPPER_NAME", cfg.INPUT.DATASET_MAPPER_NAME, _BUILDERS)
    mapper = _BUILDERS[name](cfg)
    mapper.boxes = cfg.MODEL.META_ARCHITECTURE == "MaskDINO"  # which learns them of every task
    return mapper


def _semantic(cfg: Any) -> SegGenDatasetMapper:
    return SegGenDatasetMapper(_mapper(cfg, _limited_crops(cfg), _semantic_targets(cfg)))


def _panoptic(cfg: Any) -> SegGenDatasetMapper:
    return SegGenDatasetMapper(_mapper(cfg, _limited_crops(cfg), PanopticTargets(_semantic_targets(cfg))))


def _instance(cfg: Any) -> SegGenDatasetMapper:
    return SegGenDatasetMapper(_mapper(cfg, _shortest_edge(cfg), InstanceTargets()))


def _panoptic_lsj(cfg: Any) -> SegGenDatasetMapper:
    return SegGenDatasetMapper(_mapper(cfg, _large_scale(cfg), PanopticTargets(boxes=True)))


def _instance_lsj(cfg: Any) -> SegGenDatasetMapper:
    mapper = _mapper(cfg, _large_scale(cfg), InstanceTargets(boxes=True, drop_empty=True), padding_mask=True)
    return SegGenDatasetMapper(mapper, mask_type=torch.uint8)


_BUILDERS = {
    "mask_former_semantic": _semantic,
    "mask_former_panoptic": _panoptic,
    "mask_former_instance": _instance,
    "coco_panoptic_lsj": _panoptic_lsj,
    "coco_instance_lsj": _instance_lsj,
}


def _mapper(cfg: Any, augmentations: Sequence[Augmentation], targets: Any, **options: Any) -> DatasetMapper:
    return DatasetMapper(augmentations, targets, seed_of(cfg), channels=cfg.INPUT.FORMAT, **options)


def _shortest_edge(cfg: Any, max_category_area: float = 1.0) -> list[Augmentation]:
    """Resize, crop, colour, flip, pad: what the mappers that are not for COCO do, left-right flips always."""
    given = cfg.INPUT
    between = given.MIN_SIZE_TRAIN_SAMPLING == "range"
    steps: list[Augmentation] = [ResizeShortestEdge(tuple(given.MIN_SIZE_TRAIN), given.MAX_SIZE_TRAIN, between)]
    if given.CROP.ENABLED:
        steps.append(RandomCrop(*given.CROP.SIZE, max_category_area, given.CROP.TYPE))
    steps += [ColorJitter()] if given.COLOR_AUG_SSD else []
    steps += [HorizontalFlip()]
    side = given.SIZE_DIVISIBILITY
    return steps + ([FixedSizePad(side, side)] if side > 0 else [])


def _limited_crops(cfg: Any) -> list[Augmentation]:
    return _shortest_edge(cfg, cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA)


def _large_scale(cfg: Any) -> list[Augmentation]:
    given = cfg.INPUT
    return large_scale_jitter(given.IMAGE_SIZE, given.MIN_SCALE, given.MAX_SCALE, given.RANDOM_FLIP)


def _semantic_targets(cfg: Any) -> SemanticTargets:
    """As many categories as ``DATASETS.TRAIN[0]`` names, and its ignore label; the names do not matter here."""
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    count = len(metadata.get("stuff_classes") or ()) or cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    ignore = metadata.get("ignore_label", cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE)
    return SemanticTargets(Categories.from_names(map(str, range(count)), ignore), sampling=corners)
