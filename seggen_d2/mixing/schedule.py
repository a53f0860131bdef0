"""p_aug over a stage: constant, or falling (or rising) from one value to another, as a function of the sample's number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from seggen_d2.foundation.errors import SegGenError, check_choice, check_range

# How much of the way is still to go, in [0, 1], at the share of a stage that is over. Both have the mean 1/2.
SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda over: 1.0 - over,
    "cosine": lambda over: (1.0 + math.cos(math.pi * over)) / 2.0,
}
CONSTANT = "constant"
SCHEDULES = (CONSTANT, *SHAPES)


@dataclass(frozen=True)
class Schedule:
    """``schedule(number)`` is p_aug of the global sample ``number``; of the number alone, so that a resumed run goes on with it.

    Each number stands for the middle of its share of the stage. The mean over a stage is then that of the curve,
    ``(start + end) / 2``, whatever the number of samples. Before the stage it is ``start``, after it ``end``.

    Args:
        shape: ``linear``, or ``cosine`` (half a period: flat at either end).
        start, end: p_aug where the stage begins and ends, in [0, 1].
        first: global number of the stage's first sample.
        samples: of the stage, 1 or more.

    Raises:
        SegGenError: the shape is unknown or a value out of range.
    """

    shape: str
    start: float
    end: float
    first: int
    samples: int

    def __post_init__(self) -> None:
        check_choice("P_AUG_SCHEDULE", self.shape, SHAPES)
        check_range("P_AUG", self.start, 0, 1)
        check_range("P_AUG_END", self.end, 0, 1)
        check_range("the samples of a schedule", self.samples, 1, 2**62)

    def __call__(self, number: int) -> float:
        over = (number - self.first + 0.5) / self.samples
        left = SHAPES[self.shape](min(max(over, 0.0), 1.0))
        return self.start * left + self.end * (1.0 - left)


@dataclass(frozen=True)
class Course:
    """What p_aug does in a stage, as a config says it: ``P_AUG``, ``P_AUG_SCHEDULE`` and ``P_AUG_END``.

    Args:
        start: p_aug, in [0, 1]; of a schedule, where the stage begins.
        schedule: ``constant``, ``linear`` or ``cosine``.
        end: p_aug where a ``linear`` or ``cosine`` stage ends; 0 ends it on real data.

    Raises:
        SegGenError: the schedule is unknown, a value is out of range, or a constant is given another end.
    """

    start: float
    schedule: str = CONSTANT
    end: float = 0.0

    def __post_init__(self) -> None:
        check_range("P_AUG", self.start, 0, 1)
        check_range("P_AUG_END", self.end, 0, 1)
        check_choice("P_AUG_SCHEDULE", self.schedule, SCHEDULES)
        if self.schedule == CONSTANT and self.end not in (0.0, self.start):
            raise SegGenError(
                "P_AUG_END is given, and a constant p_aug never gets there",
                expected="P_AUG_SCHEDULE linear or cosine, or no P_AUG_END",
                found=f"P_AUG_SCHEDULE constant, P_AUG_END {self.end:g}",
                remedy="name the schedule, or leave P_AUG_END out",
            )

    @property
    def changes(self) -> bool:
        """Whether p_aug depends on the sample's number."""
        return self.schedule != CONSTANT and self.start != self.end

    @property
    def peak(self) -> float:
        """The largest p_aug of the stage; at 0 no bank is needed."""
        return max(self.start, self.end) if self.changes else self.start

    @property
    def mean(self) -> float:
        """The expected share of synthetic draws over the stage: the curve's integral."""
        return (self.start + self.end) / 2 if self.changes else self.start

    def at(self, first: int, samples: int) -> float | Schedule:
        """What :class:`SwapMapper` takes: a number, or a function of the sample's number.

        Args:
            first: global number of the stage's first sample. samples: of the stage.
        """
        return Schedule(self.schedule, self.start, self.end, first, samples) if self.changes else self.start

    def __str__(self) -> str:
        moving = f"{self.start:g} to {self.end:g} ({self.schedule}, {self.mean:g} on average)"
        return moving if self.changes else f"{self.start:g}"
