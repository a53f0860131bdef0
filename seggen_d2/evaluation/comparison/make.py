"""Writes a table: ``table.md``, ``table.json``, ``table.html``, and the resolved configs of its runs."""

from __future__ import annotations

import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seggen_d2.evaluation.bootstrap import LEVEL
from seggen_d2.foundation.errors import check_range
from seggen_d2.foundation.files import write_bytes, write_json

from . import words
from .cells import Cell, Comparison, Difference, compare
from .page import page
from .plan import FORMAT, read_plan
from .provenance import Origin, origin_of
from .text import markdown


def make_table(plan: str | os.PathLike, output: str | os.PathLike, *, replicates: int = 1000, partial: bool = False) -> Path:
    """Write the table of a plan into ``output``.

    Args:
        plan: ``plan.json``; see :func:`.read_plan`.
        replicates: draws of test images and seeds behind each interval.
        partial: runs that are missing leave cells that say so, instead of being an error.

    Returns:
        The path of ``table.md``.

    Raises:
        SegGenError: the plan is wrong, runs are missing (all are listed), or predictions cannot be scored.
    """
    check_range("replicates", replicates, 1, 1_000_000)
    table, output = compare(read_plan(plan), replicates=replicates, partial=partial), Path(output)
    origin = origin_of(table.plan, output)
    write_json(output / "table.json", table_json(table, origin))
    write_bytes(output / "table.html", page(table, origin).encode())
    write_bytes(output / "table.md", markdown(table, origin).encode())
    return output / "table.md"


def table_json(table: Comparison, origin: Origin) -> dict[str, Any]:
    """Everything that the table tells and more, unrounded; None for NaN."""
    plan = table.plan
    columns = [{**asdict(column), "images": table.images[column.name]} for column in plan.columns]
    rows = [{"name": row.name, "model": row.model, "against": row.against, "oracle": row.oracle, "config": row.config, "not_run": row.not_run,
             "cells": {name: _cell_json(cell) for name, cell in table.cells[row.name].items()}} for row in plan.rows]
    facts = {key: getattr(plan, key) for key in ("name", "title", "source", "dataset", "scale", "engine", "commit", "command", "replications")}
    pairs = [{**asdict(pair), "columns": {name: _difference_json(found) for name, found in differences.items()}} for pair, differences in table.pairs]
    return plain({"format": FORMAT, **facts, "level": LEVEL, "replicates": table.replicates, "columns": columns, "rows": rows, "pairs": pairs,
                  "runs": origin.runs_json(), "missing": [asdict(one) for one in table.missing], "notes": words.notes(table), "versions": origin.versions})


def _cell_json(cell: Cell) -> dict[str, Any]:
    found = asdict(cell) | {"values": {str(seed): value for seed, value in cell.values.items()}, "seeds": len(cell.values)}
    if cell.difference:
        found["difference"] = _difference_json(cell.difference)
    return found


def _difference_json(found: Difference) -> dict[str, Any]:
    values = {str(seed): value for seed, value in found.values.items()}
    return asdict(found) | {"values": values, "verdict": found.interval.verdict}


def plain(value: Any) -> Any:
    """The same with None in place of every NaN."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
