"""What runs score in draws of the test images, from the predictions that they saved."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seggen_d2.foundation.errors import SegGenError

from .comparison.plan import Column
from .comparison.scoring import Judge, Scored

KINDS = {"mIoU": "semantic", "PQ": "panoptic", "AP": "instance"}
REPLICATES = 1000
TOLERANCE = 0.05  # points


@dataclass(frozen=True)
class Judged:
    """``images`` of the test set, 0 where no run is judged by them; ``replicates`` by setting and seed, ``(R,)`` percent, of runs that saved predictions."""

    images: int
    replicates: Mapping[tuple[str, int], np.ndarray]


def judge_runs(runs: Sequence[Mapping[str, Any]], test: str | os.PathLike) -> Judged:
    """Score each run's predictions in the same draws of the test images.

    Args:
        runs: as :func:`.read_runs` gives them; predictions lie in ``FOLDER/predictions/NAME``, NAME the test set's.

    Raises:
        SegGenError: the test set cannot be opened, or predictions are broken, of another dataset, or not what a run's figure is of.
    """
    metric = runs[0]["metric"]
    column = Column(metric, metric, KINDS[metric], str(test))
    judge = Judge(column.kind, column.dataset, [column], replicates=REPLICATES)
    places = {(run["setting"], run["seed"]): Path(run["folder"]) / "predictions" / judge.source.name for run in runs}
    whole = {key: str(place) for key, place in places.items() if place.exists() and not judge.lacking(str(place))}
    scored = {key: judge.scored(place, column, "{}-seed{}".format(*key)) for key, place in whole.items()}
    for run in runs:
        _check(run, scored.get((run["setting"], run["seed"])), test)
    return Judged(len(judge.records) if scored else 0, {key: one.replicates for key, one in scored.items()})


def _check(run: Mapping[str, Any], found: Scored | None, test: str | os.PathLike) -> None:
    if found and abs(found.value - run["value"]) > TOLERANCE:
        raise SegGenError(f"predictions of {run['setting']}-seed{run['seed']} are not those that its figure is of", expected=f"{run['value']:.2f}",
                          found=f"{found.value:.2f} against {test}", remedy="give --test the test set of the runs' own figures")
