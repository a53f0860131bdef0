"""``metrics_final.json`` of a run with Detectron2: the figures as the transformers engine has them, and all that evaluators give."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from detectron2.data import DatasetCatalog

from seggen_d2.engine.inference import figures_of
from seggen_d2.evaluation.scores import Scores
from seggen_d2.evaluation.tasks import TASKS

from ..data.label_space import task_of
from .task_evaluator import NAMES


def run_metrics(cfg: Any, results: Mapping[str, Any], several: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of the first test set, those of the ``others``, and ``results``, all that the evaluators give; the same of ``multi_scale``.

    Args:
        results: as ``Trainer.test`` gives them: of several test sets by name, of one the results themselves.
        several: likewise, at several scales; empty where that was not asked for.
    """
    found = _metrics(cfg, results)
    return {**found, "multi_scale": _metrics(cfg, several)} if several else found


def _metrics(cfg: Any, results: Mapping[str, Any]) -> dict[str, Any]:
    names = list(cfg.DATASETS.TEST)
    by_name = results if len(names) > 1 else {name: results for name in names}
    first, *others = [dataset_metrics(name, by_name.get(name) or {}) for name in names] or [_UNTESTED]
    return {**first, "others": others, "results": plain(results)}


def dataset_metrics(name: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """``dataset``, ``task``, ``images`` and the figures of one test set, as :func:`seggen_d2.engine.inference.evaluate` has them."""
    return {"dataset": name, "task": task_of(name) or "", "images": len(DatasetCatalog.get(name)), **main_figures(results)}


def main_figures(results: Mapping[str, Any]) -> dict[str, Any]:
    """``metric``, ``value`` and ``per_class`` of what a model is judged by (PQ, else mIoU, else mask AP), and all ``figures``.

    Detectron2 tells PQ of no category.
    """
    found = {kind: _scores(results[name]) for kind, name in NAMES.items() if results.get(name)}
    return figures_of(found, {kind: TASKS[kind][0] for kind in found}) if found else dict(_UNJUDGED)


_UNJUDGED = {"metric": "", "value": None, "per_class": {}, "figures": {}}
_UNTESTED = {"dataset": "", "task": "", "images": 0, **_UNJUDGED}


def _scores(found: Mapping[str, float]) -> Scores:
    """From Detectron2's form, ``{"mIoU": ..., "IoU-road": ...}``; Cityscapes' own evaluator calls its mean ``IoU``."""
    per_class: dict[str, dict[str, float]] = defaultdict(dict)
    for key, value in found.items():
        column, dash, name = key.partition("-")
        if dash:
            per_class[column][name] = value
    figures = {key: value for key, value in found.items() if "-" not in key}
    return Scores({"mIoU": figures["IoU"], **figures} if "IoU" in figures else figures, per_class)


def plain(value: Any) -> Any:
    """As JSON holds it: floats, None for NaN, mappings of them."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    number = float(value)
    return None if math.isnan(number) else number
