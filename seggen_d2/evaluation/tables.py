"""Tables over seeds. A difference is called better or worse only where its interval over images and seeds excludes zero."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import BETTER, Interval, interval, moved
from .scores import Scores

BASELINE = "real"
PRETRAINED = "pretrained-"  # settings that start from a pre-trained backbone begin so; their baseline does, too
ORACLES = {"real+imgsyn": "real+oracle-imgsyn"}  # what a setting's gain is told as a share of; of all others that of ORACLE
ORACLE = "real+oracle"
PAIRS = (("real+seggen", "real+imgsyn"), ("real+seggen", "real+masksyn"), ("real+seggen", "real+annotator"), ("synthetic", "synthetic-annotator"))
ALONE = 1000  # replicates of runs whose images are not known one by one
Runs = Sequence[Mapping[str, Any]]
Replicates = Mapping[tuple[str, int], np.ndarray]


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
        interval: of the difference; over seeds alone where images are not known one by one; None where it cannot be told.
        verdict: ``"baseline"``, ``"better"``, ``"worse"``, ``"not told apart"``, ``"one seed"`` or ``""``.
        share: percent of the oracle's difference that this one reaches; None where none was run, or its own is not told from zero.
        per_class: of each category, mean over seeds, percent; None where no seed has one.
    """

    setting: str
    metric: str
    values: tuple[float, ...]
    mean: float
    spread: float | None
    difference: float | None
    interval: Interval | None
    verdict: str
    share: float | None
    per_class: dict[str, float | None]


def summarise(runs: Iterable[Mapping[str, Any]], replicates: Replicates | None = None) -> list[Summary]:
    """A summary a setting, in the order in which settings first occur.

    Args:
        runs: as :func:`.read_runs` gives them.
        replicates: by setting and seed, the figure in each draw of the test images, ``(R,)``, where it is known.
    """
    groups = grouped(runs)
    return [_summary(setting, groups, replicates or {}) for setting in groups]


def grouped(runs: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Runs by setting."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["setting"], []).append(run)
    return groups


def baseline_of(setting: str) -> str:
    """The setting that one is compared with."""
    return PRETRAINED + BASELINE if setting.startswith(PRETRAINED) else BASELINE


def compare_runs(ours: Runs, theirs: Runs, replicates: Replicates) -> tuple[float, Interval | None, str]:
    """The difference of two settings' means, its interval, and the verdict; no interval where it would be over nothing."""
    difference = statistics.mean(run["value"] for run in ours) - statistics.mean(run["value"] for run in theirs)
    keys = [(run["setting"], run["seed"]) for run in (*ours, *theirs)]
    known, one_seed = all(key in replicates for key in keys), min(len(ours), len(theirs)) == 1
    if one_seed and not known:
        return difference, None, "one seed"
    alone = {key: np.full(ALONE, float(run["value"])) for key, run in zip(keys, (*ours, *theirs), strict=True)}
    sides = [{run["seed"]: (replicates if known else alone)[run["setting"], run["seed"]] for run in side} for side in (ours, theirs)]
    found = interval(moved(*sides))
    return difference, found, "one seed" if one_seed else found.verdict


def _summary(setting: str, groups: Mapping[str, Runs], replicates: Replicates) -> Summary:
    runs, baseline = groups[setting], groups.get(baseline_of(setting), [])
    values = tuple(run["value"] for run in runs)
    compared = setting != baseline_of(setting) and len(baseline) > 0
    difference, found, verdict = compare_runs(runs, baseline, replicates) if compared else (None, None, "" if baseline is not runs else "baseline")
    oracle = groups.get(ORACLES.get(setting, ORACLE), []) if difference is not None and not setting.startswith(PRETRAINED) else []
    share = _share(difference, oracle, baseline, replicates) if oracle and "oracle" not in setting else None
    return Summary(setting, runs[0]["metric"], values, statistics.mean(values), seed_spread(values), difference, found, verdict, share, _mean_per_class(runs))


def _share(difference: float, oracle: Runs, baseline: Runs, replicates: Replicates) -> float | None:
    most, found, _ = compare_runs(oracle, baseline, replicates)
    return 100 * difference / most if found and found.verdict == BETTER else None


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
