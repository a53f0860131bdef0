"""Which metrics a dataset gets, by the ``evaluator_type`` of its metadata."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    COCOEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    LVISEvaluator,
    SemSegEvaluator,
)

from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.foundation.files import write_bytes
from seggen_d2.segmentation import label_map_png
from seggen_d2.sources.records import stem

from ..data.datasets import read_records
from ..hosts import PACKAGES, import_package

logger = logging.getLogger(__name__)
Maker = Callable[[str, str, Any], DatasetEvaluator | None]


class PredictionWriter(DatasetEvaluator):
    """Writes predicted label maps, ``FOLDER/IMAGE_ID.png``, for tools/evaluate.py (``TEST.SAVE_PREDICTIONS``)."""

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        for sample, output in zip(inputs, outputs, strict=True):
            labels = output["sem_seg"].argmax(0).cpu().numpy()
            write_bytes(self.folder / f"{stem(sample)}.png", label_map_png(labels))


def _semantic(name: str, folder: str, cfg: Any) -> DatasetEvaluator | None:
    if not all("sem_seg_file_name" in record for record in DatasetCatalog.get(name)):
        return _left_out(name, "semantic", "its records name no sem_seg_file_name")
    return SemSegEvaluator(name, distributed=True, output_dir=folder)


def _panoptic(name: str, folder: str, cfg: Any) -> DatasetEvaluator:
    return COCOPanopticEvaluator(name, folder)


def _instances(name: str, folder: str, cfg: Any) -> DatasetEvaluator | None:
    if not MetadataCatalog.get(name).get("json_file"):
        return _left_out(name, "instance", "its metadata names no json_file")
    return COCOEvaluator(name, output_dir=folder)


def _things_among_all(name: str, folder: str, cfg: Any) -> DatasetEvaluator:
    """For label spaces whose things are not numbered from 0, which Detectron2's evaluator refuses."""
    host = import_package(PACKAGES.get(cfg.MODEL.META_ARCHITECTURE, "mask2former"), f"the instance metrics of {name}")
    return host.InstanceSegEvaluator(name, output_dir=folder)


def _lvis(name: str, folder: str, cfg: Any) -> DatasetEvaluator:
    return LVISEvaluator(name, output_dir=folder)


def _city_semantic(name: str, folder: str, cfg: Any) -> DatasetEvaluator:
    return CityscapesSemSegEvaluator(name)


def _city_instances(name: str, folder: str, cfg: Any) -> DatasetEvaluator:
    return CityscapesInstanceEvaluator(name)


def _left_out(name: str, kind: str, reason: str) -> None:
    logger.warning("no %s metrics of %s: %s", kind, name, reason)


# evaluator_type: its metrics, each with the switch of MODEL.<...>.TEST that turns it on ("" is always)
EVALUATORS: dict[str, tuple[tuple[str, Maker], ...]] = {
    "sem_seg": (("", _semantic),),
    "coco": (("", _instances),),
    "lvis": (("", _lvis),),
    "coco_panoptic_seg": (("PANOPTIC_ON", _panoptic), ("INSTANCE_ON", _instances), ("SEMANTIC_ON", _semantic)),
    "ade20k_panoptic_seg": (("", _semantic), ("PANOPTIC_ON", _panoptic), ("INSTANCE_ON", _things_among_all)),
    "mapillary_vistas_panoptic_seg": (
        ("PANOPTIC_ON", _panoptic),
        ("INSTANCE_ON", _things_among_all),
        ("SEMANTIC_ON", _semantic),
    ),
    "cityscapes_sem_seg": (("", _city_semantic),),
    "cityscapes_instance": (("", _city_instances),),
    "cityscapes_panoptic_seg": (
        ("PANOPTIC_ON", _panoptic),
        ("SEMANTIC_ON", _city_semantic),
        ("INSTANCE_ON", _city_instances),
    ),
}


def build_evaluator(cfg: Any, name: str, folder: str = "") -> DatasetEvaluators:
    """The evaluators of dataset ``name``; their files go to ``folder``, by default ``OUTPUT_DIR/inference/NAME``.

    Raises:
        SegGenError: its metadata names no known ``evaluator_type``, or the config turns all its metrics off.
    """
    makers = [maker for switch, maker in _rows(name) if not switch or test_switches(cfg)[switch]]
    folder = folder or os.path.join(cfg.OUTPUT_DIR, "inference", name)
    found = [evaluator for maker in makers if (evaluator := maker(name, folder, cfg)) is not None]
    if cfg.TEST.SAVE_PREDICTIONS and any(isinstance(evaluator, SemSegEvaluator) for evaluator in found):
        found.append(PredictionWriter(os.path.join(cfg.OUTPUT_DIR, "predictions", name)))
    if not found:
        raise SegGenError(
            f"dataset {name} would get no metrics",
            expected="one at least of " + ", ".join(switch or "the rest" for switch, _ in _rows(name)),
            found=", ".join(f"{switch}: {on}" for switch, on in test_switches(cfg).items()),
            remedy="turn one on under MODEL.MASK_FORMER.TEST",
        )
    return DatasetEvaluators(found)


def check_tests(cfg: Any) -> None:
    """Every test set can be read and has metrics: told before the training, not after it.

    Raises:
        SegGenError: a test set's files are not there, or its metadata names no known ``evaluator_type``.
    """
    for name in cfg.DATASETS.TEST:
        _rows(name)
        read_records(name, "DATASETS.TEST")


def _rows(name: str) -> tuple[tuple[str, Maker], ...]:
    kind = MetadataCatalog.get(name).get("evaluator_type")
    if kind not in EVALUATORS:
        raise SegGenError(
            f"dataset {name} cannot be evaluated",
            expected="evaluator_type in its metadata: " + " | ".join(EVALUATORS),
            found=repr(kind),
            remedy=nearest(str(kind), EVALUATORS),
        )
    return EVALUATORS[kind]


def test_switches(cfg: Any) -> dict[str, bool]:
    """``PANOPTIC_ON``, ``INSTANCE_ON`` and ``SEMANTIC_ON`` of the configured model; a key that is absent is off."""
    node = cfg.MODEL.MaskDINO if cfg.MODEL.META_ARCHITECTURE == "MaskDINO" else cfg.MODEL.MASK_FORMER
    return {switch: bool(node.TEST.get(switch, False)) for switch in ("PANOPTIC_ON", "INSTANCE_ON", "SEMANTIC_ON")}
