"""What a recipe is expected to take: GPU hours by counted operations, core minutes, disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seggen_d2.foundation.options import build, load_yaml

from .filling import command_line
from .recipe import ROOM, Cost, Stage


@dataclass(frozen=True)
class Kind:
    """How fast a GPU does a kind of work: ``tflops``, 10^12 operations a second, and where that is from."""

    tflops: float
    words: str


@dataclass(frozen=True)
class CostsFile:
    """``costs.yaml``: the GPU that is reckoned with, and its speed by kinds of work."""

    gpu: str
    kinds: dict[str, Kind]


def estimate_text(stages: Sequence[Stage]) -> str:
    """Each stage with its cost and its command, the sums, and what they are reckoned from."""
    file = build(CostsFile, load_yaml(ROOM / "costs.yaml"), "costs.yaml")
    kinds = file.kinds
    hours = {stage.name: _hours(stage, kinds) for stage in stages}
    lines = [line for stage in stages for line in (f"{stage.name}{_words(hours[stage.name], stage)}", f"  {command_line(stage.command)}")]
    total, minutes, disk = sum(hours.values()), sum(stage.cost.core_minutes for stage in stages), sum(stage.cost.disk_gb for stage in stages)
    told = {f"{total:,.0f} GPU hours ({file.gpu})": total, f"{minutes:.0f} core minutes": minutes, f"{disk:,.0f} GB of disk": disk}
    parts = [words for words, known in told.items() if known]
    used = {stage.cost.kind for stage in stages} & kinds.keys()
    facts = [f"  {name}: {kinds[name].tflops:g} TFLOP/s: {kinds[name].words.strip()}" for name in kinds if name in used]
    unknown = sum(stage.cost == Cost() for stage in stages)
    rest = [f"not counted: {unknown} of {len(stages)} stages"] if unknown else []
    return "\n".join([*lines, "in all: " + ", ".join([*parts, *rest]), *facts])


def _hours(stage: Stage, kinds: dict[str, Kind]) -> float:
    """Of one GPU."""
    return stage.cost.pflop * 1e3 / kinds[stage.cost.kind].tflops / 3600 if stage.cost.pflop else 0.0


def _words(hours: float, stage: Stage) -> str:
    cost = stage.cost
    told = {f"{hours:,.0f} GPU hours": hours, f"{cost.core_minutes:g} core minutes": cost.core_minutes, f"{cost.disk_gb:,.0f} GB": cost.disk_gb >= 0.5}
    parts = [words for words, known in told.items() if known]
    return f"   [{', '.join(parts)}]" if parts else ""
