"""What a run with Detectron2 would do, in a few lines: ``--dry-run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model

from seggen_d2.engine.multi_scale import passes
from seggen_d2.foundation.table import labelled

from ..model.checkpoint import check_weights
from ..probability import course_of
from ..swap import swap
from .evaluators import check_tests
from .loader import training_records
from .stages import LAST, position, stage_configs, written


def plan(cfg: Any, *, resume: bool = False) -> str:
    """Model, data, banks, stages, output and where it begins, a line each; all are opened and checked.

    Raises:
        SegGenError: a dataset, a bank, a stage or the model does not fit, or there are no weights where it names some.
    """
    configs = stage_configs(cfg)
    check_origins(cfg, resume=resume)
    check_tests(cfg)
    parameters = sum(parameter.numel() for parameter in build_model(cfg).parameters())
    model = f"{cfg.MODEL.META_ARCHITECTURE} on {cfg.MODEL.BACKBONE.NAME}, {parameters / 1e6:.2f} M parameters"
    banks = swap(_nothing, cfg, p_aug=max(course_of(part.SEGGEN).peak for part in configs)).banks
    rows = [("engine", f"Detectron2 on {cfg.MODEL.DEVICE}"), ("model", model)]
    rows += [("training", f"{len(training_records(cfg))} real samples of {', '.join(cfg.DATASETS.TRAIN)}")]
    rows += [("bank", f"{bank.root}: {len(bank)} synthetic samples") for bank in banks]
    rows += [(f"stage {number + 1}", _stage(part, cfg, bool(banks))) for number, part in enumerate(configs)]
    rows += [("test", f"{name}: {len(DatasetCatalog.get(name))} images") for name in cfg.DATASETS.TEST]
    rows += [("multi-scale", passes(cfg.TEST.AUG.MIN_SIZES, cfg.TEST.AUG.FLIP))] if cfg.TEST.AUG.ENABLED else []
    rows += [("output", cfg.OUTPUT_DIR), ("begins", _beginning(cfg, configs, resume))]
    return labelled(rows)


def check_origins(cfg: Any, *, resume: bool = False) -> None:
    """The weights that the stages start from are there, but for those that an earlier stage is to write.

    Raises:
        SegGenError: see :func:`check_weights`; or a stage does not fit.
    """
    configs, folder = stage_configs(cfg), Path(cfg.OUTPUT_DIR)
    first = position(configs) if resume else 0
    for number, part in enumerate(configs[first:], first):
        resumed = resume and number == first and (Path(part.OUTPUT_DIR) / LAST).exists()
        if not resumed and not (number and folder in Path(part.MODEL.WEIGHTS).parents):
            check_weights(part.MODEL.WEIGHTS)


def _stage(part: Any, cfg: Any, has_bank: bool) -> str:
    own = Path(part.MODEL.WEIGHTS).parent.parent == Path(cfg.OUTPUT_DIR)
    origin = "the stage before" if own else part.MODEL.WEIGHTS
    course = course_of(part.SEGGEN)
    share = str(course) if has_bank or not course.peak else "0 (no bank)"
    return (
        f"{part.SOLVER.MAX_ITER} iterations of {part.SOLVER.IMS_PER_BATCH} images, p_aug {share}, "
        f"learning rate {part.SOLVER.BASE_LR:g}, from {origin or 'random weights'}"
    )


def _beginning(cfg: Any, configs: list[Any], resume: bool) -> str:
    found = written(Path(cfg.OUTPUT_DIR))
    if not resume and found is not None:
        return f"not without --resume or another OUTPUT_DIR: the folder holds {found}"
    mark = Path(configs[position(configs)].OUTPUT_DIR) / LAST
    return f"at {mark.parent / mark.read_text().strip()}" if resume and mark.exists() else "at the beginning"


def _nothing(record: dict[str, Any], number: int | None = None) -> dict[str, Any]:
    return record
