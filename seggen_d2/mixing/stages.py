"""A schedule is a list of stages. Baseline: one at p_aug 0; swap: one at 0.6; synthetic only: one at 1;
pretrain-then-finetune: 1, then 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.options import build

MOST = 10**12


@dataclass(frozen=True)
class Stage:
    """A stretch of training.

    Args:
        p_aug: probability in [0, 1] that a real sample is swapped for a synthetic one.
        iterations: optimiser steps, 1 or more.
        base_lr: the learning rate that the stage's schedule starts from, above 0.
        start_weights: a checkpoint; ``""`` carries on from the stage before (the first one: from MODEL.WEIGHTS).

    Raises:
        SegGenError: a value is out of range.
    """

    p_aug: float
    iterations: int
    base_lr: float
    start_weights: str = ""

    def __post_init__(self) -> None:
        check_range("P_AUG", self.p_aug, 0, 1)
        check_range("ITERATIONS", self.iterations, 1, MOST)
        if not 0 < self.base_lr < float("inf"):
            raise SegGenError("BASE_LR is out of range", expected="a number above 0", found=repr(self.base_lr))


def stages_from(
    values: Sequence[Mapping[str, Any]], *, p_aug: float, iterations: int, base_lr: float, where: str = "SEGGEN.STAGES"
) -> tuple[Stage, ...]:
    """The stages of a config.

    Args:
        values: mappings with the keys ``P_AUG``, ``ITERATIONS`` and, where they differ from the defaults,
            ``BASE_LR`` and ``START_WEIGHTS``. No mapping: one stage of the other arguments.
        p_aug: SEGGEN.P_AUG.
        iterations: SOLVER.MAX_ITER.
        base_lr: SOLVER.BASE_LR; also of stages that name none.
        where: the key that errors name.

    Raises:
        SegGenError: an unknown or missing key, or a value out of range.
    """
    if not values:
        return (Stage(p_aug, iterations, base_lr),)
    return tuple(_stage(value, base_lr, f"{where}[{place}]") for place, value in enumerate(values))


def _stage(value: Any, base_lr: float, where: str) -> Stage:
    if not isinstance(value, Mapping):
        raise SegGenError(f"{where} is no stage", expected="{P_AUG: 0.6, ITERATIONS: 1000}", found=repr(value))
    return build(Stage, {"base_lr": base_lr, **{str(key).lower(): item for key, item in value.items()}}, where)


def locate(stages: Sequence[Stage], iteration: int) -> tuple[int, int]:
    """Where the ``iteration``-th step (from 0) of the whole schedule lies: ``(stage, step within it)``.

    At the end of the schedule and past it: ``(len(stages), 0)``.
    """
    for place, stage in enumerate(stages):
        if iteration < stage.iterations:
            return place, iteration
        iteration -= stage.iterations
    return len(stages), 0
