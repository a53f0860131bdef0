"""What runs score in draws of the test images, from the predictions that they saved."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .comparison.plan import Column
from .comparison.scoring import Judge

KINDS = {"mIoU": "semantic", "PQ": "panoptic", "AP": "instance"}
REPLICATES = 1000


@dataclass(frozen=True)
class Judged:
    """``images`` of the test set, 0 where none is named; ``replicates`` by setting and seed, ``(R,)`` percent, of runs that saved predictions."""

    images: int
    replicates: Mapping[tuple[str, int], np.ndarray]


def judge_runs(runs: Sequence[Mapping[str, Any]], test: str | os.PathLike) -> Judged:
    """Score each run's predictions in the same draws of the test images.

    Args:
        runs: as :func:`.read_runs` gives them; predictions lie in ``FOLDER/predictions/NAME``, NAME the test set's.

    Raises:
        SegGenError: the test set cannot be opened, or predictions are broken or of another dataset.
    """
    metric = runs[0]["metric"]
    column = Column(metric, metric, KINDS[metric], str(test))
    judge = Judge(column.kind, column.dataset, [column], replicates=REPLICATES)
    places = {(run["setting"], run["seed"]): Path(run["folder"]) / "predictions" / judge.source.name for run in runs}
    whole = {key: str(place) for key, place in places.items() if place.exists() and not judge.lacking(str(place))}
    return Judged(len(judge.records), {key: judge.scored(place, column, "{}-seed{}".format(*key)).replicates for key, place in whole.items()})
