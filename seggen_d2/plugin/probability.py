"""p_aug by a config's keys: what it does over a stage, and what a project's own loader can honour of that."""

from __future__ import annotations

from typing import Any

from detectron2.data import MetadataCatalog

from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.mixing import Course, Rarity, rarity_of
from seggen_d2.mixing.sampling import check_goes_with

from .data.datasets import train_names, train_records


def course_of(keys: Any) -> Course:
    """What p_aug does by the keys of ``SEGGEN``.

    Raises:
        SegGenError: a value is out of range.
    """
    return Course(keys.P_AUG, keys.P_AUG_SCHEDULE, keys.P_AUG_END)


def constant_of(keys: Any) -> float:
    """p_aug where a project's own loader calls the mapper: it never learns the iteration.

    Raises:
        SegGenError: p_aug depends on it.
    """
    course = course_of(keys)
    if course.changes:
        raise SegGenError(
            f"SEGGEN.P_AUG_SCHEDULE {course.schedule} is for tools/train_net.py: a project's own loader does not tell the iteration",
            expected="SEGGEN.P_AUG_SCHEDULE constant",
            found=f"P_AUG {course}",
            remedy="train by tools/train_net.py (SEGGEN.MAPPER host keeps your project's mapper), or set P_AUG_SCHEDULE constant "
            f"and P_AUG {course.mean:g}, which draws as many synthetic samples",
        )
    return course.start


def p_aug_by(cfg: Any, task: str | None) -> Rarity | None:
    """What ``SEGGEN.P_AUG_BY`` makes of p_aug for each real record; None leaves it.

    Args:
        cfg: with this package's keys. task: of the records; None counts as semantic.

    Raises:
        SegGenError: the sampling is another than ``paired``, or a mask cannot be read.
    """
    keys = cfg.SEGGEN
    if not check_choice("SEGGEN.P_AUG_BY", keys.P_AUG_BY, ("", "rarity")):
        return None
    check_goes_with(keys.SAMPLING, keys.SAMPLE_WEIGHTS or None, Rarity)
    ignore_id = MetadataCatalog.get(train_names(cfg)[0]).get("ignore_label", 255)
    return rarity_of(train_records(cfg), task or "semantic", ignore_id)
