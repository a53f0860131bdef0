"""Multi-scale testing (``TEST.AUG``) of a Detectron2 model, of this package or not, beside the plain evaluation."""

from __future__ import annotations

from typing import Any

from detectron2.data import MetadataCatalog
from torch import nn

from seggen_d2.engine.multi_scale import NAME_ENDS, MultiScale, check_semantic

from .evaluators import build_evaluator, test_switches

_SEMANTIC = ("sem_seg", "cityscapes_sem_seg")  # of evaluator_type


def multi_scale(cfg: Any, model: nn.Module) -> tuple[MultiScale, list[Any]]:
    """The model that gives scores averaged over ``TEST.AUG``, and what scores it on each of ``DATASETS.TEST``.

    Raises:
        SegGenError: see :func:`check_multi_scale`.
    """
    aug = cfg.TEST.AUG
    evaluators = [build_evaluator(cfg, name, name_ends=NAME_ENDS) for name in cfg.DATASETS.TEST]
    return MultiScale(model, aug.MIN_SIZES, aug.MAX_SIZE, aug.FLIP), evaluators


def check_multi_scale(cfg: Any) -> None:
    """``TEST.AUG`` is off, or the test sets and the model's results are semantic; the datasets must be registered.

    Raises:
        SegGenError: they are not.
    """
    if cfg.TEST.AUG.ENABLED:
        kinds = {name: str(MetadataCatalog.get(name).get("evaluator_type")) for name in cfg.DATASETS.TEST}
        tasks = {name: "semantic" if kind in _SEMANTIC else f"for {kind}" for name, kind in kinds.items()}
        check_semantic(tasks, test_switches(cfg)["SEMANTIC_ON"])
