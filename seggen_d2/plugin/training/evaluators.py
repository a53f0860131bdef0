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

from seggen_d2.engine.dialects import ARCHITECTURE
from seggen_d2.engine.tasks import measured
from seggen_d2.evaluation.of_models import READERS
from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.sources import Source, load_dataset

from ..data.datasets import read_records, task_from_config
from ..data.label_space import task_of
from ..hosts import PACKAGES, import_package
from .task_evaluator import prediction_writer, task_evaluator

logger = logging.getLogger(__name__)
Maker = Callable[[str, str, Any], DatasetEvaluator | None]


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


def build_evaluator(cfg: Any, name: str, folder: str = "", *, name_ends: str = "") -> DatasetEvaluators:
    """What scores dataset ``name``, and saves what is predicted for it (``TEST.SAVE_PREDICTIONS``).

    A dataset that a file of ``SEGGEN.DATASETS`` describes is scored as the transformers engine does it, and one that
    Detectron2 knows by Detectron2's evaluators, whose files go to ``folder``, by default ``OUTPUT_DIR/inference/NAME``.
    ``name_ends`` is put after a name where it stands for a folder.

    Raises:
        SegGenError: its metadata names no known ``evaluator_type``, or the config turns all its metrics off.
    """
    predictions = Path(cfg.OUTPUT_DIR, "predictions", name + name_ends) if cfg.TEST.SAVE_PREDICTIONS else None
    source = sources_of(cfg).get(name)
    if source is not None:
        return DatasetEvaluators([task_evaluator(_kinds(cfg, source.task), source, predictions)])
    found = _of_detectron2(cfg, name, folder or os.path.join(cfg.OUTPUT_DIR, "inference", name + name_ends))
    if predictions:
        found.append(prediction_writer(_kinds(cfg, task_of(name)), name, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, predictions))
    return DatasetEvaluators(found)


def sources_of(cfg: Any) -> dict[str, Source]:
    """The datasets that the files of ``SEGGEN.DATASETS`` describe, by name."""
    return {source.name: source for source in map(load_dataset, cfg.SEGGEN.DATASETS)}


def _kinds(cfg: Any, task: str | None) -> list[str]:
    """The kinds of results that are scored on data of ``task``: of a panoptic model those that are turned on."""
    if task != "panoptic":
        return [task or "semantic"]
    return [kind for kind, on in measured(task, wanted(cfg)).items() if on]


def limit_results(cfg: Any) -> None:
    """Turn off the results that data of the config's task has no truth for, in place; the log says which.

    Raises:
        SegGenError: none is left.
    """
    task = task_from_config(cfg)[0]
    if task is None or cfg.MODEL.META_ARCHITECTURE not in (ARCHITECTURE, *PACKAGES):
        return
    asked, frozen = wanted(cfg), cfg.is_frozen()
    given = measured(task, asked)
    cfg.defrost()
    for kind in (kind for kind, on in asked.items() if on and not given[kind]):
        _test_node(cfg)[_switch(kind)] = False
        logger.info("%s is of no effect: %s data has no truth for it", _switch(kind), task)
    if frozen:
        cfg.freeze()


def _of_detectron2(cfg: Any, name: str, folder: str) -> list[DatasetEvaluator]:
    makers = [maker for switch, maker in _rows(name) if not switch or test_switches(cfg)[switch]]
    found = [evaluator for maker in makers if (evaluator := maker(name, folder, cfg)) is not None]
    if not found:
        raise SegGenError(
            f"dataset {name} would get no metrics",
            expected="one at least of " + ", ".join(switch or "the rest" for switch, _ in _rows(name)),
            found=", ".join(f"{switch}: {on}" for switch, on in test_switches(cfg).items()),
            remedy="turn one on under MODEL.MASK_FORMER.TEST",
        )
    return found


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
    return {_switch(kind): bool(_test_node(cfg).get(_switch(kind), False)) for kind in ("panoptic", "instance", "semantic")}


def wanted(cfg: Any) -> dict[str, bool]:
    """Likewise, by the kind of result; the first that is on is what the model is judged by."""
    switches = test_switches(cfg)
    return {kind: switches[_switch(kind)] for kind in READERS}


def _switch(kind: str) -> str:
    return f"{kind.upper()}_ON"


def _test_node(cfg: Any) -> Any:
    return (cfg.MODEL.MaskDINO if cfg.MODEL.META_ARCHITECTURE == "MaskDINO" else cfg.MODEL.MASK_FORMER).TEST
