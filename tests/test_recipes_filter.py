"""The table of filters: every row is planned, on banks that were scored before, by words that the tools take."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from seggen_d2.bank.filter_files import parse_filter
from seggen_d2.recipes.reproduction import Request, plan_table

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_rows_read_filters_that_their_banks_stages_made(task, tmp_path):
    made = plan_table(Request("filtering", "toy", engine="transformers", task=task, output=str(tmp_path)))
    assert not any(row["not_run"] for row in made.plan["rows"])
    parser, scored = runpy.run_path(str(ROOT / "tools/score_bank.py"))["parser"](), {}
    for stage in (stage for stage in made.stages if "tools/score_bank.py" in stage.command):
        given = parser.parse_args(stage.command[2:])
        assert given.scores == ["filter"] and not any(word.startswith("{") for word in stage.command)
        scored.setdefault(given.bank, set()).add(f"scores/{given.name}")
    assert {Path(bank).name for bank in scored} == {"imgsyn-doubted", "masksyn-doubted"}
    trainings = [stage.command for stage in made.stages if "SEGGEN.FILTER" in stage.command and "--eval-only" not in stage.command]
    assert len(trainings) == 8
    for words in trainings:
        folder, _ = parse_filter(words[words.index("SEGGEN.FILTER") + 1])
        assert all(folder in names for names in scored.values()) and "doubted" in words[words.index("SEGGEN.BANKS") + 1]
