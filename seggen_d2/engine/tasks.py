"""The tasks, by the names of Mask2Former's mappers: what is read of a record, how images are cut, what is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from seggen_d2.evaluation.tasks import TASKS
from seggen_d2.foundation.errors import SegGenError
from seggen_d2.mapping import InstanceTargets, PanopticTargets, SemanticTargets, TargetGenerator
from seggen_d2.segmentation import Categories


@dataclass(frozen=True)
class TaskOfMapper:
    """What a value of ``INPUT.DATASET_MAPPER_NAME`` stands for.

    Attributes:
        task: ``semantic``, ``panoptic`` or ``instance``; datasets and banks are of it.
        targets: makes what is learned from the labels.
        large_scale: large-scale jitter, not the shortest edge and crops.
    """

    task: str
    targets: Callable[[Categories], TargetGenerator]
    large_scale: bool = False


MAPPERS = {
    "mask_former_semantic": TaskOfMapper("semantic", SemanticTargets),
    "mask_former_panoptic": TaskOfMapper("panoptic", lambda categories: PanopticTargets()),
    "mask_former_instance": TaskOfMapper("instance", lambda categories: InstanceTargets()),
    "coco_panoptic_lsj": TaskOfMapper("panoptic", lambda categories: PanopticTargets(), large_scale=True),
    "coco_instance_lsj": TaskOfMapper("instance", lambda categories: InstanceTargets(drop_empty=True), large_scale=True),
}


def measured(task: str, wanted: dict[str, bool]) -> dict[str, bool]:
    """Which results are asked for and can be measured on data of ``task``: ``{"semantic": bool, "panoptic": ..., "instance": ...}``.

    Raises:
        SegGenError: none can.
    """
    possible = sorted((kind for kind, (_, _, tasks) in TASKS.items() if task in tasks), key=lambda kind: kind != task)
    found = {kind: on and kind in possible for kind, on in wanted.items()}
    if not any(found.values()):
        keys = [f"{kind.upper()}_ON" for kind in possible]
        raise SegGenError(f"a model of {task} segmentation would get no metrics", expected=f"one at least of MODEL.MASK_FORMER.TEST's {', '.join(keys)}",
                          found=", ".join(f"{kind.upper()}_ON: {on}" for kind, on in wanted.items()), remedy=f"set {keys[0]} to True")
    return found


def with_objects(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The instance records that hold an object that is no crowd.

    Raises:
        SegGenError: none does.
    """
    kept = [record for record in records if any(not one.get("iscrowd", 0) for one in record["annotations"])]
    if records and not kept:
        raise SegGenError("no training image holds an object", expected="annotations that are no crowds", found=f"none in {len(records)} images",
                          remedy="check the annotation file, or set DATALOADER.FILTER_EMPTY_ANNOTATIONS to False")
    return kept
