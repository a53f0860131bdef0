"""What the probes say: whether a bank helps, which classes gain or lose, which p_aug to take, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seggen_d2.evaluation.bootstrap import BETTER, LEVEL, NEITHER, WORSE, Interval
from seggen_d2.evaluation.scores import mean_of

from .intervals import Moved, Probed, differences, mean_over_seeds
from .runs import Arm

HELPS, HARMS, UNSEEN = "helps", "harms", "no difference seen"
GAINS, LOSES = "gains", "loses"
OVERALL = {BETTER: HELPS, WORSE: HARMS, NEITHER: UNSEEN}
OF_CLASS = {BETTER: GAINS, WORSE: LOSES, NEITHER: UNSEEN}


@dataclass(frozen=True)
class Change:
    """A figure with the bank minus that without.

    Attributes:
        base: percent, without. value: points. interval: of the value. chance: share of the draws, in [0, 1], in which it is above 0.
        verdict: a value of ``OVERALL`` or ``OF_CLASS``.
    """

    base: float
    value: float
    interval: Interval
    chance: float
    verdict: str


@dataclass(frozen=True)
class ArmResult:
    """One way of training against real data alone: mIoU, and IoU of each class by name."""

    arm: Arm
    overall: Change
    classes: dict[str, Change]


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        word: ``helps``, ``harms`` or ``no difference seen``.
        recommended: the way to train; p_aug 0 is without the banks.
        shown: the way whose classes are told: the recommended one, else the one that the word is about.
        arms: all, in the order probed. as_good: those that help too and are not told apart from the recommended one.
        base: percent, mIoU of real data alone, of each seed. level: of the intervals of the overall figures, in (0, 1).
    """

    word: str
    recommended: Arm
    shown: ArmResult
    arms: tuple[ArmResult, ...]
    as_good: tuple[Arm, ...]
    base: tuple[float, ...]
    level: float


def judge(base: Probed, probed: Mapping[Arm, Probed], names: Sequence[str], replicates: int) -> Verdict:
    """The verdict.

    With several ways of training the best of them is chosen; their overall intervals are widened so that all of them together hold at
    ``LEVEL`` (Bonferroni), and a bank helps or harms where one of these excludes zero.

    Args:
        base: probes of real data alone. probed: of each other way. names: of the classes. replicates: bootstrap draws.
    """
    level = 1 - (1 - LEVEL) / len(probed)
    arms = tuple(_result(arm, one, base, names, replicates, level) for arm, one in probed.items())
    ranked = sorted(arms, key=lambda one: one.overall.value, reverse=True)
    good, bad = ([one for one in ranked if one.overall.verdict == word] for word in (HELPS, HARMS))
    best = _plainest(good, probed, replicates, level) if good else None
    shown = best or (bad[-1] if bad else ranked[0])
    alike = [one.arm for one in good if one is not best and _alike(probed[one.arm], probed[best.arm], replicates, level)]
    own = tuple(mean_of(base.iou()).tolist())
    return Verdict(HELPS if good else HARMS if bad else UNSEEN, best.arm if best else Arm(), shown, arms, tuple(alike), own, level)


def _plainest(good: Sequence[ArmResult], probed: Mapping[Arm, Probed], replicates: int, level: float) -> ArmResult:
    """The best, or in place of one with a filter that without, where that helps too and the two are not told apart."""
    best = good[0]
    bare = next((one for one in good if one.arm == Arm(best.arm.p_aug)), None)
    return bare if bare is not None and _alike(probed[best.arm], probed[bare.arm], replicates, level) else best


def _alike(one: Probed, other: Probed, replicates: int, level: float) -> bool:
    return differences(one, other, replicates)[0].interval(level).verdict == NEITHER


def _result(arm: Arm, probed: Probed, base: Probed, names: Sequence[str], replicates: int, level: float) -> ArmResult:
    overall, classes = differences(probed, base, replicates)
    own = mean_over_seeds(base.iou())
    return ArmResult(arm, _change(float(mean_of(mean_of(base.iou()))), overall, level, OVERALL),
                     {name: _change(float(own[place]), moved, LEVEL, OF_CLASS) for place, (name, moved) in enumerate(zip(names, classes, strict=True))})


def _change(base: float, moved: Moved, level: float, words: Mapping[str, str]) -> Change:
    found = moved.interval(level)
    return Change(base, moved.value, found, moved.chance, words[found.verdict])
