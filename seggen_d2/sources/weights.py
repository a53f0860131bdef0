"""Weights of a dataset's images, on disk: how much of a synthesis' budget goes to each."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json, write_json

FORMAT = 1


def write_weights(path: str | os.PathLike, dataset: str, weights: Mapping[str, float], made_from: Mapping[str, Any]) -> None:
    """Write the weights, by ``source_id``, of the dataset of this name; ``made_from`` tells readers what they stand on."""
    write_json(path, {"format": FORMAT, "dataset": dataset, "from": dict(made_from), "weights": dict(weights)})


def read_weights(path: str | os.PathLike, dataset: str, source_ids: Sequence[str]) -> tuple[float, ...]:
    """The weights of a dataset's images, in their order.

    Args:
        path: the file. dataset: the dataset's name. source_ids: of its images.

    Raises:
        SegGenError: the file is none of weights, is of another dataset, or lacks an image.
    """
    values = read_json(path, "weights of images")
    if not isinstance(values, dict) or values.get("format") != FORMAT or not isinstance(values.get("weights"), dict):
        raise SegGenError(f"{path} holds no weights of images", expected=f'{{"format": {FORMAT}, "dataset": NAME, "weights": {{SOURCE_ID: NUMBER, ...}}}}',
                          found=repr(values)[:80], remedy="make it by tools/weigh_sources.py")
    weights = values["weights"]
    if values.get("dataset") != dataset:
        raise SegGenError(f"the weights {path} are of another dataset", expected=dataset, found=str(values.get("dataset")),
                          remedy="make weights of this dataset: python tools/weigh_sources.py --dataset FILE")
    lacking = [source_id for source_id in source_ids if source_id not in weights]
    if lacking:
        raise SegGenError(f"the weights {path} lack {len(lacking)} of {len(source_ids)} images", expected="a weight for each image of the dataset",
                          found="none for " + ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else ""), remedy="make the weights again")
    found = [weights[source_id] for source_id in source_ids]
    wrong = [number for number in found if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number) or number < 0]
    if wrong:
        raise SegGenError(f"a weight of {path} is of no use", expected="numbers of 0 or more", found=repr(wrong[0]), remedy="make the weights again")
    return tuple(map(float, found))
