"""Tables over seeds. A difference is called better or worse only where it exceeds the spread between seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .scores import Scores

BASELINE = "real"


@dataclass(frozen=True)
class Summary:
    """One setting over its seeds.

    Attributes:
        setting: its name.
        metric: what is compared: mIoU, PQ or AP.
        values: of each seed, percent.
        mean: percent.
        spread: sample standard deviation over seeds, points; None with one seed.
        difference: mean minus the baseline's, points; None for the baseline itself, or where there is none.
        verdict: ``"baseline"``, ``"better"``, ``"worse"``, ``"within seed spread"``, ``"one seed"`` or ``""``.
        per_class: of each category, mean over seeds, percent; None where no seed has one.
    """

    setting: str
    metric: str
    values: tuple[float, ...]
    mean: float
    spread: float | None
    difference: float | None
    verdict: str
    per_class: dict[str, float | None]


def summarise(runs: Iterable[Mapping[str, Any]]) -> list[Summary]:
    """A summary a setting, in the order in which settings first occur."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["setting"], []).append(run)
    baseline = [run["value"] for run in groups.get(BASELINE, [])]
    return [_summary(setting, group, baseline) for setting, group in groups.items()]


def _summary(setting: str, runs: Sequence[Mapping[str, Any]], baseline: Sequence[float]) -> Summary:
    values = tuple(run["value"] for run in runs)
    mean, spread = statistics.mean(values), seed_spread(values)
    compared = setting != BASELINE and len(baseline) > 0
    difference = mean - statistics.mean(baseline) if compared else None
    verdict = (
        _verdict(difference, spread, seed_spread(baseline)) if compared else ("baseline" if setting == BASELINE else "")
    )
    return Summary(setting, runs[0]["metric"], values, mean, spread, difference, verdict, _mean_per_class(runs))


def _verdict(difference: float, spread: float | None, baseline_spread: float | None) -> str:
    """Compared with the larger of both spreads; with one seed on either side nothing is said."""
    if spread is None or baseline_spread is None:
        return "one seed"
    if abs(difference) <= max(spread, baseline_spread):
        return "within seed spread"
    return "better" if difference > 0 else "worse"


def seed_spread(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _mean_per_class(runs: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    names = dict.fromkeys(name for run in runs for name in run["per_class"])
    found = {name: [run["per_class"].get(name) for run in runs] for name in names}
    known = {name: [value for value in values if value is not None] for name, values in found.items()}
    return {name: statistics.mean(values) if values else None for name, values in known.items()}


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; all but the first to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def scores_table(scores: Scores) -> str:
    """A row a category that has a figure, then the figures over all, in percent, as text."""
    names = {name: None for column in scores.per_class.values() for name, value in column.items() if not math.isnan(value)}
    rows = [(name, *(number(none(column.get(name)), 2) for column in scores.per_class.values())) for name in names]
    all_names = {name for column in scores.per_class.values() for name in column}
    left = len(all_names) - len(names)
    parts = [text_table(("category", *scores.per_class), rows)]
    parts += [f"{left} of {len(all_names)} categories have no figure: neither truth nor a prediction that counts holds them"] if left else []
    return "\n".join([*parts, "", text_table(("figure", "%"), [(name, number(none(value), 2)) for name, value in scores.figures.items()])])


def none(value: float | None) -> float | None:
    """None in place of NaN."""
    return None if value is None or math.isnan(value) else value


def number(value: float | None, digits: int = 1) -> str:
    """Fixed digits; a dash where there is no value."""
    return "–" if value is None else f"{value:.{digits}f}"
