"""A trained model over a dataset: its results image by image, and their metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from seggen_d2.evaluation.of_models import prediction, tasks_of
from seggen_d2.evaluation.saving import SAVERS
from seggen_d2.evaluation.scores import Scores, plain
from seggen_d2.evaluation.tasks import OF_PANOPTIC, Task
from seggen_d2.modeling import Mask2Former, Outputs, predict
from seggen_d2.sources.dataset_file import Source

from .multi_scale import MultiScale

COLUMN = {"PQ": "PQ", "mIoU": "IoU", "AP": "AP"}


def evaluate(
    model: Mask2Former | MultiScale,
    source: Source,
    mapper: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    outputs: Outputs | None = None,
    batch_size: int = 1,
    predictions: Path | None = None,
) -> dict[str, Any]:
    """The metrics of the model on a dataset, in percent.

    Args:
        mapper: of test images. batch_size: images at once.
        outputs: the results that the model gives; None asks it.
        predictions: a folder for the predictions, as :mod:`seggen_d2.evaluation.saving` writes and tools/evaluate.py reads them.

    Returns:
        ``dataset``, ``task``, ``images``; ``metric``, the name of the main figure (``mIoU``, ``PQ`` or ``AP``), ``value``
        and ``per_class``, which are its (of an mIoU also ``miou`` and ``pixel_accuracy``); ``figures``, all of them; None where one is not defined.
    """
    tasks, records = tasks_of(outputs or model.outputs, source), source.records()
    counted = {kind: task.none() for kind, task in tasks.items()}
    savers = {kind: SAVERS[kind](predictions, source) for kind in tasks} if predictions else {}
    results = predict(model, records, mapper, batch_size=batch_size)
    for record, output in tqdm(results, desc=f"evaluating {source.name}", unit="image", total=len(records), leave=False, disable=None):
        for kind, task in tasks.items():
            predicted = prediction(kind, output)
            counted[kind] += task.score(record, predicted)
            if kind in savers:
                savers[kind].add(record, predicted)
    for saver in savers.values():
        saver.close()
    found = {kind: task.scores(counted[kind]) for kind, task in tasks.items()}
    return {"dataset": source.name, "task": source.task, "images": len(records), **figures_of(found, tasks)}


def figures_of(found: dict[str, Scores], tasks: dict[str, Task]) -> dict[str, Any]:
    """What :func:`evaluate` tells of the scores of each kind of result; a model is judged by the first kind that it gives."""
    first, names = next(iter(found)), OF_PANOPTIC if "panoptic" in found else {}
    told = {names.get(kind, {}).get(name, name): value for kind, scores in found.items() for name, value in plain(scores.figures).items()}
    main = tasks[first].rank
    semantic = {"miou": told[main], "pixel_accuracy": told.get("pACC")} if main == "mIoU" else {}
    return {"metric": main, "value": told[main], **semantic, "per_class": plain(found[first].per_class[COLUMN[main]]), "figures": told}
