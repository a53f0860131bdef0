"""The benchmarks run, small, and give the rows that they promise."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "benchmark.py"
KEYS = {"name", "value", "unit", "ratio", "reference"}


def test_every_name_leads_to_a_function_of_a_room():
    spec = importlib.util.spec_from_file_location("benchmark", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert {"decode", "bank", "index", "swap", "mapper", "sample"} <= set(tool.BENCHMARKS)
    for place, what in tool.BENCHMARKS.values():
        room, function = place.split(":")
        file = TOOL.parents[1] / (room.replace(".", "/") + ".py")
        assert what and f"def {function}(" in file.read_text()


def test_decode_writes_its_rows(tmp_path):
    out = tmp_path / "rows.json"
    done = subprocess.run([sys.executable, TOOL, "decode", "--json", out], capture_output=True, text=True)
    assert done.returncode == 0 and "768x768" in done.stdout, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 3 and all(set(row) == KEYS and row["value"] > 0 for row in rows)


def test_swap_rows_at_a_small_size():
    pytest.importorskip("torch")
    from seggen_d2.mixing.bench import swap_rows

    rows = swap_rows(side=32, samples=4, turns=2)
    assert len(rows) == 4 and all(set(row) == KEYS and row["ratio"] > 0 for row in rows)


def test_sample_rows_at_a_small_size():
    pytest.importorskip("diffusers")
    from seggen_d2.generators.bench import BenchSize, sample_rows

    rows = sample_rows(BenchSize(batch=2, steps=2, side=32, turns=1), {"guidance: 1": {"guidance": 1.0}, "half": {"steps": 0.5}})
    assert all(set(row) == KEYS and row["value"] > 0 for row in rows[:5]) and 0 < rows[-1]["ratio"] < 1
    assert sum("images differ by" in row["reference"] for row in rows) == 2


def test_an_unknown_name_lists_the_known_ones():
    done = subprocess.run([sys.executable, TOOL, "decoed"], capture_output=True, text=True)
    assert done.returncode == 2 and "decode" in done.stderr
