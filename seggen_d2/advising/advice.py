"""Advice as data: what is told, and its JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from seggen_d2.evaluation.comparison.make import plain

from .options import ProbeOptions
from .reasons import Alignment, Reason
from .statistics import BankFacts, Counts
from .verdict import Verdict

FORMAT = 1


@dataclass(frozen=True)
class Advice:
    """What is told.

    Attributes:
        dataset: the real set's name. names: of the classes. verdict: the answer. reasons: what may stand behind it.
        real, bank: what both hold. facts: of each bank. alignment: labels against segmenters that never saw the bank.
        options: of the probes, resolved. folds: that were used. images: tested on. probes: trainings. replicates: bootstrap draws.
    """

    dataset: str
    names: tuple[str, ...]
    verdict: Verdict
    reasons: list[Reason]
    real: Counts
    bank: Counts
    facts: list[BankFacts]
    alignment: Alignment
    options: ProbeOptions
    folds: int
    images: int
    probes: int
    replicates: int


def to_json(found: Advice) -> dict[str, Any]:
    """All that is told, unrounded; None for NaN."""
    verdict = found.verdict
    real, bank = found.alignment.both()
    return plain({
        "format": FORMAT, "dataset": found.dataset, "banks": [asdict(one) for one in found.facts], "verdict": verdict.word,
        "recommended": asdict(verdict.recommended), "as_good": [asdict(arm) for arm in verdict.as_good], "level": verdict.level,
        "real_miou_by_seed": list(verdict.base), "shown": asdict(verdict.shown.arm),
        "ways": [{**asdict(one.arm), **{key: value for key, value in asdict(one).items() if key != "arm"}} for one in verdict.arms],
        "reasons": [asdict(one) for one in found.reasons], "classes": _classes_json(found),
        "alignment": {"real": real, "bank": bank},
        "probe": {**asdict(found.options), "trainings": found.probes, "used_folds": found.folds, "images_tested": found.images,
                  "replicates": found.replicates},
    })


def _classes_json(found: Advice) -> dict[str, Any]:
    seen = {side: found.alignment.iou(table) for side, table in (("real", found.alignment.real), ("bank", found.alignment.bank))}
    sides = (("real", found.real), ("bank", found.bank))
    return {name: {side: {"pixels_percent": float(counts.shares[place]), "images_percent": float(counts.occurrence[place]),
                          "alignment_iou": float(seen[side][place])} for side, counts in sides} for place, name in enumerate(found.names)}
