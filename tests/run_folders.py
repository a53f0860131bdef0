"""What a run's folder holds for other tools, asked in the same way of either engine."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import yaml

TOOLS = Path(__file__).parents[1] / "tools"
TRAINING = {"iterations", "seconds", "peak_rss_mb"}
FIGURES = {"dataset", "task", "images", "metric", "value", "per_class", "figures", "others"}


def call(monkeypatch, tool, *words):
    """A tool's ``main`` in this process."""
    spec = importlib.util.spec_from_file_location(f"tools_{tool}", TOOLS / f"{tool}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [f"{tool}.py", *map(str, words)])
    module.main()


def metrics(folder):
    return json.loads((folder / "metrics_final.json").read_text())


def check_predictions(monkeypatch, capsys, config, folder):
    """tools/evaluate.py prints the figures that the run printed, of everything that the model gives."""
    told, file = metrics(folder), yaml.safe_load(config.read_text())["SEGGEN"]["DATASETS"][1]
    saved = folder / "predictions" / told["dataset"]
    others = ("--semantic", saved, "--instances", saved) if told["task"] == "panoptic" else ()
    capsys.readouterr()
    call(monkeypatch, "evaluate", "--predictions", saved, "--dataset", file, *others, "--json", folder / "figures.json")
    printed, found = capsys.readouterr().out, json.loads((folder / "figures.json").read_text())
    for name in found["figures"].keys() & told["figures"].keys():
        assert found["figures"][name] == pytest.approx(told["figures"][name], abs=1e-9), name
    assert {told["metric"], *({"mIoU_pan", "AP_pan^Th"} if others else ())} <= found["figures"].keys() & told["figures"].keys()
    assert found["images"] == told["images"] == 2 and not found["missing"] and told["metric"] in printed
    assert told["value"] is None or f"{told['value']:.2f}" in printed


def check_run_folder(monkeypatch, capsys, config, folder, *engine):
    """Train with predictions; evaluate in a folder of its own, in the run's, and with the run's folder for its model."""
    words = ("--config-file", config, "SOLVER.MAX_ITER", 2, "TEST.SAVE_PREDICTIONS", True, *engine)
    run, own = folder / "run", folder / "run/again"
    call(monkeypatch, "train_net", *words, "OUTPUT_DIR", run)
    trained = metrics(run)
    assert trained.keys() >= TRAINING | FIGURES and trained["task"] in ("semantic", "panoptic", "instance")
    assert f"{trained['dataset']}: {trained['metric']} {trained['value']:.2f}" in capsys.readouterr().out
    check_predictions(monkeypatch, capsys, config, run)
    call(monkeypatch, "train_net", *words, "OUTPUT_DIR", run, "--resume")  # nothing is left to train
    assert {key: metrics(run)[key] for key in TRAINING} == {key: trained[key] for key in TRAINING}
    kept = [(run / name).read_bytes() for name in ("metrics_final.json", "config.yaml")]
    call(monkeypatch, "train_net", *words, "OUTPUT_DIR", run, "INPUT.MIN_SIZE_TEST", 48, "--eval-only")
    assert "is the training's" in capsys.readouterr().out
    assert [(run / name).read_bytes() for name in ("metrics_final.json", "config.yaml")] == kept
    call(monkeypatch, "train_net", *words, "OUTPUT_DIR", own, "MODEL.WEIGHTS", run, "--eval-only")
    again = metrics(own)
    assert not TRAINING & again.keys() and {key: again[key] for key in FIGURES} == {key: trained[key] for key in FIGURES}
    assert (own / "config.yaml").exists()
    check_predictions(monkeypatch, capsys, config, own)
