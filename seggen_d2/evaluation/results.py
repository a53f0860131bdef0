"""``results.json``: the runs, the stages, and what else the report is made from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seggen_d2.foundation.errors import SegGenError
from seggen_d2.foundation.files import read_json

SETTINGS = ("real", "real+seggen", "real+imgsyn", "real+masksyn", "real+annotator", "pretrain-finetune", "synthetic", "synthetic-annotator",
            "pretrained-real", "pretrained-real+seggen", "real+oracle-imgsyn", "real+oracle")
METRICS = "metrics_final.json"
_RUN = re.compile(r"(?P<setting>.+)-seed(?P<seed>\d+)")


def read_runs(folders: Iterable[str | os.PathLike]) -> list[dict[str, Any]]:
    """The finished runs of ``SETTING-seedN`` folders, ordered by setting and seed.

    Args:
        folders: run folders, or folders that hold them.

    Returns:
        ``{"setting", "seed", "folder", "metric", "value", "per_class", "seconds", "peak_rss_mb", "iterations"}`` each; the last three
        where the run tells them. ``metric`` is the same for all: mIoU, PQ or AP.

    Raises:
        SegGenError: no run is finished, a folder is named otherwise, a run is there twice, its metrics lack a key, or runs
            are judged by different figures.
    """
    files = [file for folder in folders for file in _metrics_files(Path(folder))]
    runs = [_run(file) for file in files]
    keys = [(run["setting"], run["seed"]) for run in runs]
    twice = sorted({f"{setting}-seed{seed}" for setting, seed in keys if keys.count((setting, seed)) > 1})
    if twice:
        raise SegGenError(
            "runs are there twice",
            expected="one run for a setting and seed",
            found=", ".join(twice),
            remedy="name each folder of runs once",
        )
    metrics = sorted({run["metric"] for run in runs})
    if len(metrics) > 1:
        raise SegGenError("runs are of different tasks", expected="one figure to compare them by", found=", ".join(metrics),
                          remedy="give a report of each task its own runs")
    return sorted(runs, key=lambda run: (setting_order(run["setting"]), run["setting"], run["seed"]))


def setting_order(setting: str) -> int:
    """The place of a setting in tables: the known ones first, in their order."""
    return SETTINGS.index(setting) if setting in SETTINGS else len(SETTINGS)


def read_stages(path: str | os.PathLike) -> dict[str, Any]:
    """``{"stages": [{"name", "seconds", "peak_rss_mb"}], "wall_seconds", "peak_rss_mb"}``, as the runner writes it.

    Raises:
        SegGenError: the file cannot be read, or a stage lacks a key.
    """
    value = read_json(path, "list of stages")
    value = {"stages": value} if isinstance(value, list) else value
    _require(value, ("stages",), str(path))
    for place, stage in enumerate(value["stages"]):
        _require(stage, ("name", "seconds", "peak_rss_mb"), f"{path}: stage {place}")
    return value


def _metrics_files(folder: Path) -> Sequence[Path]:
    if (folder / METRICS).is_file():
        return [folder / METRICS]
    found = sorted(folder.glob(f"*/{METRICS}"))
    if not found:
        raise SegGenError(
            f"{folder} holds no finished run",
            expected=f"{METRICS} in it, or in its SETTING-seedN folders",
            found="none" if folder.is_dir() else "no such folder",
            remedy="let train_net.py finish first",
        )
    return found


def _run(file: Path) -> dict[str, Any]:
    name = _RUN.fullmatch(file.parent.resolve().name)
    if not name:
        raise SegGenError(
            f"run folder {file.parent} does not tell its setting and seed",
            expected="SETTING-seedN, such as real-seed0",
            found=file.parent.name,
            remedy="rename the folder",
        )
    metrics = read_json(file, "metrics")
    _require(metrics, ("metric", "value", "per_class"), str(file))
    if not isinstance(metrics["value"], (int, float)) or isinstance(metrics["value"], bool):
        raise SegGenError(f"the {metrics['metric']} of {file} is no number", expected="percent", found=repr(metrics["value"]))
    told = {key: metrics[key] for key in ("seconds", "peak_rss_mb", "iterations") if key in metrics}
    return {
        "setting": name["setting"],
        "seed": int(name["seed"]),
        "folder": file.parent.as_posix(),
        "metric": metrics["metric"],
        "value": metrics["value"],
        "per_class": metrics["per_class"],
        **told,
    }


def _require(value: Any, keys: Sequence[str], where: str) -> None:
    missing = [key for key in keys if not isinstance(value, dict) or key not in value]
    if missing:
        raise SegGenError(
            f"{where} lacks {', '.join(missing)}",
            expected=", ".join(keys),
            found=", ".join(value) if isinstance(value, dict) else repr(value)[:80],
        )
