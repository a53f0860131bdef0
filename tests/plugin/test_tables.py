"""The paper's tables with Detectron2: every training that they plan is a config that Detectron2 takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from seggen_d2.plugin.config import load_config
from seggen_d2.recipes.reproduction import Request, plan_table

ROOT = Path(__file__).parents[2]
TABLES = [("ablation", "toy"), ("ade20k", "toy"), ("coco", "toy"), ("unseen", "toy"), ("synthetic-only", "toy"), ("ade20k", "ade20k"), ("coco", "coco")]


@pytest.mark.parametrize(("table", "dataset"), TABLES)
def test_planned_trainings_are_configs_of_detectron2(table, dataset, monkeypatch):
    monkeypatch.chdir(ROOT)
    trainings = [stage.command for stage in plan_table(Request(table, dataset, engine="detectron2")).stages if "--config-file" in stage.command
                 and "SEGGEN.ENGINE" in stage.command and "detectron2" in stage.command]
    assert trainings
    for command in trainings:
        file = command[command.index("--config-file") + 1]
        if "maskdino" in file:
            continue  # its package and Mask2Former's register datasets of the same names: one of them to a process
        overrides = command[command.index("OUTPUT_DIR") :]
        cfg, ignored = load_config(file, overrides)
        assert cfg.SEGGEN.ENGINE == "detectron2" and not ignored
