"""Charts of a table's rows against what their banks cost: figures as measured, and what cannot be drawn."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from bank_samples import write_bank

from seggen_d2.evaluation.costs import chart_table, priced_rows
from seggen_d2.evaluation.curves import Curve, Level, Point, curves, step_of
from seggen_d2.foundation.errors import SegGenError

ROOM = "{http://www.w3.org/2000/svg}"


def cell(mean: float, *values: float, difference: float | None = None) -> dict:
    told = None if difference is None else {"mean": difference, "interval": {"low": difference - 1, "high": difference + 1}, "verdict": "better"}
    return {"values": {str(seed): value for seed, value in enumerate(values)}, "mean": mean, "spread": 0.5 if len(values) > 1 else None,
            "interval": {"low": mean - 2, "high": mean + 2, "replicates": 100}, "difference": told}


@pytest.fixture
def table(tmp_path) -> Path:
    """Real data alone, a bank of 3 with an estimate, a bank of 6 without one, and both."""
    folder, banks = tmp_path / "table", [tmp_path / "three", tmp_path / "six"]
    write_bank(banks[0], shards=1)
    write_bank(banks[1])
    (banks[0] / "estimate.json").write_text(json.dumps({"seconds": 0.25, "cpu": 0.125, "evaluations": {"masks": 8.0, "images": 24.0}}))
    rows = {"real": [], "small": banks[:1], "large": banks[1:], "both": banks}
    figures = {"real": cell(40.0, 39.5, 40.5), "small": cell(42.0, 42.0, difference=2.0), "large": cell(45.0, 45.0, difference=5.0), "both": cell(46.0, 46.0)}
    (folder / "configs").mkdir(parents=True)
    for name, used in rows.items():
        (folder / f"configs/{name}.yaml").write_text(yaml.safe_dump({"SEGGEN": {"BANKS": list(map(str, used))}}))
    runs = [{"row": name, "seed": 0, "folder": "", "copy": f"configs/{name}.yaml"} for name in rows]
    value = {"columns": [{"name": "mIoU val"}], "rows": [{"name": name, "cells": {"mIoU val": figures[name]}} for name in rows], "runs": runs}
    (folder / "table.json").write_text(json.dumps(value))
    return folder


def test_costs_are_those_of_the_banks(table):
    rows, column = priced_rows(table)
    found = {row.name: (row.curve, row.samples, row.evaluations, row.seconds, row.cpu) for row in rows}
    assert column == "mIoU val" and found == {
        "real": ("", 0, None, None, None), "small": ("imgsyn", 3, 32.0, 0.25, 0.125), "large": ("imgsyn", 6, None, None, None),
        "both": ("imgsyn + imgsyn", 9, None, None, None)}


def test_the_chart_holds_every_row_that_can_be_drawn(table):
    assert "chart.svg" in chart_table(table, by="samples")
    titles = [title.text for title in ElementTree.parse(table / "chart.svg").iter(f"{ROOM}title")]
    assert titles == ["mIoU val against samples in the bank", "small: 42.0", "large: 45.0", "both: 46.0"]
    page = (table / "chart.html").read_text()
    assert "real: 40.0" in page and "+5.00 [+4.00, +6.00]" in page and "<svg" in page
    assert json.loads((table / "chart.json").read_text())["rows"][1]["evaluations"] == 32.0


def test_rows_whose_banks_do_not_tell_the_cost_are_named(table):
    assert "not drawn, as their evaluations are not known: large, both" in chart_table(table, by="evaluations")
    (table.parent / "three/estimate.json").unlink()
    with pytest.raises(SegGenError, match="can be drawn against its seconds(.|\n)*--estimate"):
        chart_table(table, by="seconds")
    with pytest.raises(SegGenError, match="--column"):
        chart_table(table, by="samples", column="PQ")


def test_places_are_monotonic_and_within_the_picture():
    points = tuple(Point(f"x{n}", float(n), 40 + n**0.5, (40 + n**0.5,)) for n in (1, 2, 4, 8, 50))
    svg = curves([Curve("a", points)], [Level("real", 39.0, 1.0)], "samples", "mIoU")
    line = ElementTree.fromstring(svg).find(f"{ROOM}polyline").get("points")
    places = [tuple(map(float, pair.split(","))) for pair in line.split()]
    assert places == sorted(places) and [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    assert places[1][0] - places[0][0] == pytest.approx(places[2][0] - places[1][0], abs=0.2)  # equal factors, equal distances
    numbers = [float(value) for value in re.findall(r'\b[cxy][xy12]?="([\d.]+)"', svg)]
    assert min(numbers) >= 0 and max(numbers) <= 820


@pytest.mark.parametrize(("span", "step"), [(0.3, 0.1), (4, 0.5), (8, 1), (30, 5), (99, 10)])
def test_ticks_stand_at_round_steps(span, step):
    assert step_of(span) == pytest.approx(step)
