"""``metrics_final.json`` of a run with Detectron2; semantic results are as the transformers engine has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seggen_d2.foundation.files import write_json
from seggen_d2.foundation.measure import peak_rss_mb

METRICS = "metrics_final.json"
_IOU = "IoU-"


def write_results(cfg: Any, results: Mapping[str, Any], *, iterations: int, seconds: float) -> None:
    """Write ``OUTPUT_DIR/metrics_final.json``.

    ``miou``, ``pixel_accuracy`` and ``per_class`` (percent) are those of the first test set where it has semantic
    results; ``results`` is all that Detectron2's evaluators give.
    """
    metrics = {
        "dataset": next(iter(cfg.DATASETS.TEST), ""),
        "iterations": iterations,
        "seconds": round(seconds, 1),
        "peak_rss_mb": peak_rss_mb(),
        **semantic(_of_first(results, cfg.DATASETS.TEST)),
        "results": plain(results),
    }
    write_json(Path(cfg.OUTPUT_DIR) / METRICS, metrics)


def _of_first(results: Mapping[str, Any], tests: Any) -> Mapping[str, Any]:
    """Of several test sets Detectron2 gives results by name, of one the results themselves."""
    return results.get(tests[0], {}) if len(tests) > 1 else results


def semantic(results: Mapping[str, Any]) -> dict[str, Any]:
    """``miou``, ``pixel_accuracy`` and ``per_class`` of an evaluator's ``sem_seg``; empty where there is none."""
    found = results.get("sem_seg")
    if not found:
        return {}
    per_class = {key.removeprefix(_IOU): plain(value) for key, value in found.items() if key.startswith(_IOU)}
    return {"miou": plain(found["mIoU"]), "pixel_accuracy": plain(found["pACC"]), "per_class": per_class}


def plain(value: Any) -> Any:
    """As JSON holds it: floats, None for NaN, mappings of them."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    number = float(value)
    return None if math.isnan(number) else number
