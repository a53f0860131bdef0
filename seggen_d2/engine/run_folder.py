"""What either engine leaves in ``OUTPUT_DIR`` for other tools, ``metrics_final.json``, and the lines that tell it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seggen_d2.foundation.files import read_json, write_json
from seggen_d2.foundation.measure import peak_rss_mb
from seggen_d2.modeling.finished import FINALS

METRICS = "metrics_final.json"
CHECKPOINTS = ("stage-*/checkpoint-*", "stage-*/model_*.pth", "model_*.pth", *FINALS.values())  # what a training leaves
SHOWN = ("PQ_th", "PQ_st", "AP_pan^Th", "mIoU_pan", "AP50")  # beside the main figure, where a model has them


def holds_training(folder: str | os.PathLike) -> bool:
    """Whether a training wrote, or writes, to ``folder``: its metrics and its config are that training's."""
    metrics = Path(folder) / METRICS
    return any(any(Path(folder).glob(pattern)) for pattern in CHECKPOINTS) or (metrics.exists() and "iterations" in read_json(metrics))


def write_training(folder: str | os.PathLike, metrics: Mapping[str, Any], *, iterations: int, seconds: float, trained: bool = True) -> dict[str, Any]:
    """Write ``FOLDER/metrics_final.json`` of a finished training.

    Args:
        metrics: as for :func:`write_evaluation`.
        iterations: of all stages. seconds: of training in this process.
        trained: False where nothing was left to train: what the file tells of the training stays.

    Returns:
        What was written: ``metrics`` with ``iterations``, ``seconds`` and ``peak_rss_mb``.
    """
    file, facts = Path(folder) / METRICS, {"iterations": iterations, "seconds": round(seconds, 1), "peak_rss_mb": peak_rss_mb()}
    before = read_json(file) if file.exists() and not trained else {}
    whole = {**metrics, **{key: before.get(key, value) for key, value in facts.items()}}
    write_json(file, whole)
    return whole


def write_evaluation(folder: str | os.PathLike, metrics: Mapping[str, Any]) -> bool:
    """Tell what ``--eval-only`` found, and write it to ``FOLDER/metrics_final.json``, where no training has its own.

    Args:
        metrics: the figures of the first test set, ``others`` and ``multi_scale``.

    Returns:
        Whether they were written.
    """
    written = not holds_training(folder)
    if written:
        write_json(Path(folder) / METRICS, metrics)
    else:
        print(f"{Path(folder) / METRICS} is the training's and stays as it is; give an OUTPUT_DIR of its own to have an evaluation written")
    tell(metrics)
    return written


def tell(metrics: Mapping[str, Any]) -> None:
    """Print a line for each test set, and one for each at several scales."""
    several = metrics.get("multi_scale")
    for one in (metrics, *metrics.get("others", ())):
        print(line_of(one, one["dataset"]))
    for one in (several, *several.get("others", ())) if several else ():
        print(line_of(one, f"{one['dataset']}, multi-scale"))


def line_of(metrics: Mapping[str, Any], name: str) -> str:
    """The main figure, other figures that are usually told, and the main figure of each category."""
    shown = {name: "-" if value is None else f"{value:.1f}" for name, value in metrics["per_class"].items()}
    rows = ", ".join(f"{name} {text}" for name, text in shown.items())
    others = "".join(f", {name} {value:.2f}" for name, value in metrics["figures"].items() if name in SHOWN and value is not None)
    value = "-" if metrics["value"] is None else f"{metrics['value']:.2f}"
    return f"{name}: {metrics['metric']} {value}{others} ({rows})"
