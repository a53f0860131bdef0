"""A training is a list of stages. Baseline: one at p_aug 0; swap: one at 0.6; synthetic only: one at 1;
pretrain-then-finetune: 1, then 0. Within a stage p_aug is constant or follows a schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seggen_d2.foundation.errors import SegGenError, check_range
from seggen_d2.foundation.options import build

from .schedule import CONSTANT, Course

MOST = 10**12


@dataclass(frozen=True)
class Stage:
    """A stretch of training.

    Args:
        p_aug: probability in [0, 1] that a real sample is swapped for a synthetic one.
        iterations: optimiser steps, 1 or more.
        base_lr: the learning rate that the stage's schedule starts from, above 0.
        start_weights: a checkpoint; ``""`` carries on from the stage before (the first one: from MODEL.WEIGHTS).
        p_aug_schedule: ``constant``, or ``linear`` or ``cosine`` from ``p_aug`` to ``p_aug_end``.
        p_aug_end: p_aug where a schedule ends, in [0, 1].

    Raises:
        SegGenError: a value is out of range.
    """

    p_aug: float
    iterations: int
    base_lr: float
    start_weights: str = ""
    p_aug_schedule: str = CONSTANT
    p_aug_end: float = 0.0

    def __post_init__(self) -> None:
        self.course  # noqa: B018 (checks its three values)
        check_range("ITERATIONS", self.iterations, 1, MOST)
        if not 0 < self.base_lr < float("inf"):
            raise SegGenError("BASE_LR is out of range", expected="a number above 0", found=repr(self.base_lr))

    @property
    def course(self) -> Course:
        """What p_aug does in it."""
        return Course(self.p_aug, self.p_aug_schedule, self.p_aug_end)


def stages_from(
    values: Sequence[Mapping[str, Any]],
    *,
    p_aug: float,
    iterations: int,
    base_lr: float,
    p_aug_schedule: str = CONSTANT,
    p_aug_end: float = 0.0,
    where: str = "SEGGEN.STAGES",
) -> tuple[Stage, ...]:
    """The stages of a config.

    Args:
        values: mappings with the keys ``P_AUG``, ``ITERATIONS`` and, where they differ from the defaults,
            ``BASE_LR``, ``START_WEIGHTS``, ``P_AUG_SCHEDULE`` and ``P_AUG_END``. No mapping: one stage of the other arguments.
        p_aug: SEGGEN.P_AUG.
        iterations: SOLVER.MAX_ITER.
        base_lr: SOLVER.BASE_LR; also of stages that name none.
        p_aug_schedule, p_aug_end: SEGGEN.P_AUG_SCHEDULE and SEGGEN.P_AUG_END, of stages that name no schedule.
        where: the key that errors name.

    Raises:
        SegGenError: an unknown or missing key, or a value out of range.
    """
    if not values:
        return (Stage(p_aug, iterations, base_lr, p_aug_schedule=p_aug_schedule, p_aug_end=p_aug_end),)
    defaults = {"base_lr": base_lr}, {"p_aug_schedule": p_aug_schedule, "p_aug_end": p_aug_end}
    return tuple(_stage(value, *defaults, f"{where}[{place}]") for place, value in enumerate(values))


def _stage(value: Any, defaults: dict[str, Any], schedule: dict[str, Any], where: str) -> Stage:
    if not isinstance(value, Mapping):
        raise SegGenError(f"{where} is no stage", expected="{P_AUG: 0.6, ITERATIONS: 1000}", found=repr(value))
    own = {str(key).lower(): item for key, item in value.items()}
    return build(Stage, {**defaults, **({} if "p_aug_schedule" in own else schedule), **own}, where)


def locate(stages: Sequence[Stage], iteration: int) -> tuple[int, int]:
    """Where the ``iteration``-th step (from 0) of the whole schedule lies: ``(stage, step within it)``.

    At the end of the schedule and past it: ``(len(stages), 0)``.
    """
    for place, stage in enumerate(stages):
        if iteration < stage.iterations:
            return place, iteration
        iteration -= stage.iterations
    return len(stages), 0
