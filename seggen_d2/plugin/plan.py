"""What a run with Detectron2 would do, in a few lines: ``--dry-run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model

from seggen_d2.foundation.table import labelled

from .evaluators import check_tests
from .loader import training_records
from .stages import position, stage_configs
from .swap import swap


def plan(cfg: Any, *, resume: bool = False) -> str:
    """Model, data, banks, stages, output and where it begins, a line each; all are opened and checked.

    Raises:
        SegGenError: a dataset, a bank, a stage or the model does not fit.
    """
    configs = stage_configs(cfg)
    check_tests(cfg)
    parameters = sum(parameter.numel() for parameter in build_model(cfg).parameters())
    model = f"{cfg.MODEL.META_ARCHITECTURE} on {cfg.MODEL.BACKBONE.NAME}, {parameters / 1e6:.2f} M parameters"
    banks = swap(_nothing, cfg, p_aug=max(part.SEGGEN.P_AUG for part in configs)).banks
    rows = [("engine", f"Detectron2 on {cfg.MODEL.DEVICE}"), ("model", model)]
    rows += [("training", f"{len(training_records(cfg))} real samples of {', '.join(cfg.DATASETS.TRAIN)}")]
    rows += [("bank", f"{bank.root}: {len(bank)} synthetic samples") for bank in banks]
    rows += [(f"stage {number + 1}", _stage(part, cfg)) for number, part in enumerate(configs)]
    rows += [("test", f"{name}: {len(DatasetCatalog.get(name))} images") for name in cfg.DATASETS.TEST]
    rows += [("output", cfg.OUTPUT_DIR), ("begins", _beginning(configs, resume))]
    return labelled(rows)


def _stage(part: Any, cfg: Any) -> str:
    own = Path(part.MODEL.WEIGHTS).parent.parent == Path(cfg.OUTPUT_DIR)
    origin = "the stage before" if own else part.MODEL.WEIGHTS
    return (
        f"{part.SOLVER.MAX_ITER} iterations of {part.SOLVER.IMS_PER_BATCH} images, p_aug {part.SEGGEN.P_AUG:g}, "
        f"learning rate {part.SOLVER.BASE_LR:g}, from {origin or 'random weights'}"
    )


def _beginning(configs: list[Any], resume: bool) -> str:
    number = position(configs)
    mark = Path(configs[number].OUTPUT_DIR) / "last_checkpoint"
    if not mark.exists():
        return "at the beginning"
    where = f"{mark.parent / mark.read_text().strip()}"
    return f"at {where}" if resume else f"at the beginning (--resume goes on from {where})"


def _nothing(record: dict[str, Any], number: int | None = None) -> dict[str, Any]:
    return record
