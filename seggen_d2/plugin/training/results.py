"""``metrics_final.json`` of a run with Detectron2, with the main figure as the transformers engine has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seggen_d2.foundation.files import write_json
from seggen_d2.foundation.measure import peak_rss_mb

METRICS = "metrics_final.json"


def write_results(cfg: Any, results: Mapping[str, Any], *, iterations: int, seconds: float) -> None:
    """Write ``OUTPUT_DIR/metrics_final.json``.

    ``metric``, ``value`` and ``per_class`` (percent) are those of the first test set; ``results`` is all that Detectron2's
    evaluators give.
    """
    metrics = {
        "dataset": next(iter(cfg.DATASETS.TEST), ""),
        "iterations": iterations,
        "seconds": round(seconds, 1),
        "peak_rss_mb": peak_rss_mb(),
        **main_figures(_of_first(results, cfg.DATASETS.TEST)),
        "results": plain(results),
    }
    write_json(Path(cfg.OUTPUT_DIR) / METRICS, metrics)


def _of_first(results: Mapping[str, Any], tests: Any) -> Mapping[str, Any]:
    """Of several test sets Detectron2 gives results by name, of one the results themselves."""
    return results.get(tests[0], {}) if len(tests) > 1 else results


def main_figures(results: Mapping[str, Any]) -> dict[str, Any]:
    """``metric``, ``value`` and ``per_class`` of what a model is judged by: PQ, else mIoU, else mask AP; empty without any.

    An mIoU also has ``miou`` and ``pixel_accuracy``. Detectron2 tells PQ of no category.
    """
    if found := results.get("panoptic_seg"):
        return {"metric": "PQ", "value": plain(found["PQ"]), "per_class": {}}
    if found := results.get("sem_seg"):
        value = plain(found["mIoU"])
        return {"metric": "mIoU", "value": value, "miou": value, "pixel_accuracy": plain(found["pACC"]), "per_class": _per_class(found, "IoU-")}
    if found := results.get("segm"):
        return {"metric": "AP", "value": plain(found["AP"]), "per_class": _per_class(found, "AP-")}
    return {}


def _per_class(found: Mapping[str, Any], prefix: str) -> dict[str, float | None]:
    return {key.removeprefix(prefix): plain(value) for key, value in found.items() if key.startswith(prefix)}


def plain(value: Any) -> Any:
    """As JSON holds it: floats, None for NaN, mappings of them."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    number = float(value)
    return None if math.isnan(number) else number
