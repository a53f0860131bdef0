"""Where a segmenter is weak, as weights of the images that a bank is made from: the weaker, the more samples.

A segmenter looks good on the images that it was trained on. So an image's weakness is told by others: by the segmenter's
figures of each class on validation images, through the classes that the image holds; or by predictions of the image by
segmenters that were trained without it (cross-validation).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from seggen_d2.foundation.errors import SegGenError, check_range, nearest
from seggen_d2.foundation.files import read_json
from seggen_d2.foundation.options import load_yaml
from seggen_d2.segmentation import Categories, histogram
from seggen_d2.sources import Source
from seggen_d2.sources.masks import read_mask
from seggen_d2.sources.weights import write_weights

from .predictions import distinct_records, open_dataset, score_saved
from .tables import text_table
from .tasks import open_task

HELD = 0.003  # a class counts as held from this share of an image's pixels on


@dataclass(frozen=True)
class Weighing:
    """How errors become weights.

    Attributes:
        power: of an image's error; 0 weighs all alike, 1 goes by the error itself. Errors of images differ little, so 2.
        least: no weight is less than this share of the mean one: what a segmenter does well must not be forgotten.
    """

    power: float = 2.0
    least: float = 0.25

    def __post_init__(self) -> None:
        check_range("power", self.power, 0, 20)
        check_range("least", self.least, 0, 1)

    def weights(self, errors: np.ndarray) -> np.ndarray:
        """``(S,)`` weights, mean 1 before the least is applied, of ``(S,)`` errors from 0 to 1; those that are NaN weigh as the mean."""
        raised = np.maximum(errors, 0.0) ** self.power
        mean = float(np.nanmean(raised)) if (~np.isnan(raised)).any() else 0.0
        if not mean:
            return np.ones(len(errors))
        return np.maximum(np.where(np.isnan(raised), 1.0, raised / mean), self.least)


def class_errors(file: str | os.PathLike, source: Source) -> tuple[np.ndarray, str]:
    """``(N,)`` errors of the dataset's categories, 0 to 1, and the name of the dataset that they were measured on.

    A category without figure gets the mean of the others.

    Args:
        file: a run's ``metrics_final.json``, or what ``tools/evaluate.py --json`` writes: percent by category.
        source: the training data; its name must not be the file's.

    Raises:
        SegGenError: the file tells no figures of these categories, or was measured on the training images.
    """
    values = read_json(file, "figures by category")
    found = values.get("per_class") if isinstance(values, dict) else None
    if isinstance(found, dict) and found and all(isinstance(column, dict) for column in found.values()):
        found = next(iter(found.values()))  # IoU, PQ or AP come first
    if not isinstance(found, dict) or not found:
        raise SegGenError(f"{file} tells no figures by category", expected='{"dataset": NAME, "per_class": {CATEGORY: PERCENT, ...}}',
                          found=repr(values)[:80], remedy="give the metrics_final.json of a run, or of its evaluation")
    on = str(values.get("dataset", ""))
    if on == source.name:
        raise SegGenError(f"{file} was measured on the training images of {source.name} themselves, where a segmenter looks good", found=f"dataset: {on}",
                          expected="figures on validation images", remedy="evaluate the run on those: tools/train_net.py --eval-only ... DATASETS.TEST NAMES")
    return _errors(found, source.categories, file), on


def _errors(found: Mapping[str, float | None], categories: Categories, file: str | os.PathLike) -> np.ndarray:
    strange = [name for name in found if name not in categories.names]
    if strange:
        raise SegGenError(f"{file} tells of categories that the dataset does not have", expected=f"names among its {len(categories)} categories",
                          found=", ".join(strange[:10]), remedy=nearest(strange[0], categories.names))
    percent = np.array([math.nan if found.get(name) is None else float(found[name]) for name in categories.names])
    if np.isnan(percent).all():
        raise SegGenError(f"{file} has no figure of any category", expected="percent of one category at least", found="none")
    errors = 1 - percent / 100
    return np.where(np.isnan(errors), np.nanmean(errors), errors)


def errors_by_classes(source: Source, of_classes: np.ndarray) -> np.ndarray:
    """``(S,)``: of each image the mean error of the classes that it holds; NaN where it holds none."""
    bar = tqdm(source.records(), desc="classes of the images", unit="mask", disable=None, leave=False)
    counts = (histogram(read_mask(record, source).labels(), source.categories) for record in bar)
    held = [count >= max(1.0, HELD * count.sum()) for count in counts]
    return np.array([of_classes[each].mean() if each.any() else math.nan for each in held])


def errors_by_predictions(source: Source, predictions: Sequence[str | os.PathLike]) -> np.ndarray:
    """``(S,)``: of each image 1 minus its own mIoU, PQ or AP, the mean where several predict it; NaN where it has no figure.

    Args:
        predictions: one place, or one a fold; each holds predictions of some of the images. In COCO's results format an
            image that is nowhere is one without objects, and its error is 1.

    Raises:
        SegGenError: an image is predicted nowhere.
    """
    records, absent = distinct_records(source), "error"
    found: dict[Any, list[float]] = {record["image_id"]: [] for record in records}
    for place in predictions:
        task = open_task(source.task, place, source, **({"ratio": 0} if source.task == "semantic" else {}))
        there, absent = [record for record in records if task.saved.has(record)], task.absent
        for record, one in zip(there, score_saved(task, there, f"scoring {Path(place).name}"), strict=True):
            found[record["image_id"]].append(1 - task.scores(one).figures[task.rank] / 100)
    lacking = [str(image_id) for image_id, errors in found.items() if not errors]
    if lacking and absent == "error":
        raise SegGenError(f"{len(lacking)} of {len(records)} images are predicted nowhere", expected="predictions of each image of the dataset",
                          found="none of " + ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else ""),
                          remedy="predict each fold by the segmenter that was trained on the others, and name all their folders")
    return np.array([np.mean(errors) if errors else 1.0 for errors in found.values()])


def was_trained_on(predictions: str | os.PathLike, source: Source) -> bool:
    """Whether predictions lie in the folder of a run whose config names the dataset among its training data."""
    config = Path(predictions).parent.parent / "config.yaml"
    trained = (load_yaml(config).get("DATASETS") or {}).get("TRAIN") if config.is_file() else None
    return source.name in ([trained] if isinstance(trained, str) else trained or [])


def weigh_sources(dataset: str | os.PathLike, output: str | os.PathLike, *, metrics: str = "", predictions: Sequence[str] = (),
                  weighing: Weighing | None = None) -> str:
    """Write weights of a dataset's images for ``tools/synthesize.py``.

    Args:
        dataset: the training data's YAML file.
        output: the file of weights.
        metrics: figures by class on validation images; see :func:`class_errors`.
        predictions: of the images themselves, by segmenters that did not see them; in place of ``metrics``.
        weighing: how errors become weights.

    Returns:
        What to tell the user.

    Raises:
        SegGenError: neither or both are given, or one is of no use.
    """
    source, weighing = open_dataset(dataset), weighing or Weighing()
    if bool(metrics) == bool(predictions):
        raise SegGenError("weights come from figures by class or from predictions", expected="--metrics FILE, or --predictions PATH ...",
                          found="both" if metrics else "neither")
    errors, told, lines = _by_metrics(source, metrics) if metrics else _by_predictions(source, predictions)
    weights = weighing.weights(errors)
    names = [str(record["source_id"]) for record in source.records()]
    told |= {"power": weighing.power, "least": weighing.least}
    write_weights(output, source.name, {name: round(float(weight), 6) for name, weight in zip(names, weights, strict=True)}, told)
    return "\n".join([*lines, *_spread(names, weights), f"written: {output}"])


def _by_metrics(source: Source, metrics: str) -> tuple[np.ndarray, dict[str, Any], list[str]]:
    of_classes, on = class_errors(metrics, source)
    rows = [(name, f"{error:.2f}") for name, error in zip(source.categories.names, of_classes, strict=True)]
    head = f"errors of the classes on {on or 'images that are not named'}, which must not be the test images: what is generated is a choice"
    return errors_by_classes(source, of_classes), {"by": "classes", "measured_on": on}, [head, text_table(("class", "error"), rows)]


def _by_predictions(source: Source, predictions: Sequence[str]) -> tuple[np.ndarray, dict[str, Any], list[str]]:
    seen = ", ".join(str(place) for place in predictions if was_trained_on(place, source))
    warning = (f"warning: {seen} are of segmenters that were trained on these very images, where they look good: predict each fold by one that was trained "
               "on the others, or give --metrics of validation images")
    return errors_by_predictions(source, predictions), {"by": "predictions"}, [warning] if seen else []


def _spread(names: Sequence[str], weights: np.ndarray) -> list[str]:
    ranked = np.argsort(-weights, kind="stable")
    tenth = ranked[: max(1, len(ranked) // 10)]
    heaviest = ", ".join(f"{names[i]} ({weights[i] / weights.mean():.2f})" for i in ranked[:3])
    return [f"{len(names)} images; weights from {weights.min() / weights.mean():.2f} to {weights.max() / weights.mean():.2f} times the mean; the weightiest "
            f"tenth of the images gets {weights[tenth].sum() / weights.sum():.0%} of a budget", f"weightiest: {heaviest}"]
