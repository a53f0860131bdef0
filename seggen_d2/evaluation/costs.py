"""What the banks behind a table's rows cost, beside what they gain: samples, evaluations and seconds a sample.

Rows are those of ``table.json``; their banks are read from the runs' resolved configs, a bank's size from the bank, and what a sample
cost from the ``estimate.json`` that ``tools/synthesize.py --estimate`` keeps beside it. Nothing is reckoned that was not measured.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seggen_d2.bank import Bank, read_info
from seggen_d2.bank.store import open_store
from seggen_d2.foundation.errors import SegGenError, check_choice
from seggen_d2.foundation.files import parse_json, read_json, write_bytes, write_json
from seggen_d2.foundation.markup import Markup, table, tag
from seggen_d2.foundation.options import load_yaml

from . import charts
from .curves import Curve, Level, Point, curves
from .document import document
from .tables import none, number, text_table

ESTIMATE = "estimate.json"
HEADS = ("samples", "evaluations a sample", "seconds a sample", "CPU seconds")
COSTS = {"samples": "samples in the bank", "evaluations": "evaluations of the UNets a sample", "seconds": "seconds a sample and worker",
         "cpu": "seconds of processor time a sample"}


@dataclass(frozen=True)
class Priced:
    """A row and the cost of its banks.

    Attributes:
        name: of the row. cell: of the table's column, as ``table.json`` has it.
        curve: what its banks have in common with others': strategies, and samplers. "" without banks.
        samples: kept ones, of all its banks; 0 without banks.
        evaluations, seconds, cpu: a sample, mean over samples; None where a bank has no estimate.
    """

    name: str
    cell: Mapping[str, Any]
    curve: str = ""
    samples: int = 0
    evaluations: float | None = None
    seconds: float | None = None
    cpu: float | None = None

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(value for value in self.cell["values"].values() if value is not None)


def priced_rows(folder: str | os.PathLike, column: str = "") -> tuple[list[Priced], str]:
    """The rows of a finished table with what their banks cost, and the column's name; "" is the first column.

    Raises:
        SegGenError: there is no table or no such column, or a bank of a run is not there.
    """
    found = read_json(Path(folder) / "table.json", "table")
    names = [each["name"] for each in found["columns"]]
    column = check_choice("--column", column or names[0], names)
    first = {run["row"]: run for run in reversed(found["runs"])}
    return [_priced(row, column, first.get(row["name"]), Path(folder)) for row in found["rows"]], column


def _priced(row: Mapping[str, Any], column: str, run: Mapping[str, Any] | None, folder: Path) -> Priced:
    cell = row["cells"][column]
    banks = _banks(load_yaml(folder / run["copy"])) if run and run["copy"] else []
    if not banks:
        return Priced(row["name"], cell)
    sizes, prices = [_size(bank) for bank in banks], [_price(bank) for bank in banks]
    told = {name: _mean([price.get(name) for price in prices], sizes) for name in ("evaluations", "seconds", "cpu")}
    return Priced(row["name"], cell, " + ".join(_kind(bank) for bank in banks), sum(sizes), **told)


def _banks(config: Mapping[str, Any]) -> list[str]:
    given = (config.get("SEGGEN") or {}).get("BANKS") or []
    return [given] if isinstance(given, str) else list(given)


def _size(root: str) -> int:
    bank = Bank(root)
    try:
        return len(bank)
    finally:
        bank.close()


def _price(root: str) -> dict[str, float]:
    store = open_store(root)
    if not store.facts(ESTIMATE):
        return {}
    values = parse_json(store.read(ESTIMATE, "estimate"), store.address(ESTIMATE), "estimate")
    return {"evaluations": sum(values["evaluations"].values()), "seconds": values["seconds"], "cpu": values["cpu"]}


def _kind(root: str) -> str:
    """``imgsyn, euler``: a bank's strategy and, where they are told, the sampler that the table's rows may differ in."""
    job = read_info(root).job
    samplers = [job[network]["sampler"] for network in ("masks", "images") if isinstance(job.get(network), dict) and "sampler" in job[network]]
    return ", ".join([str(job.get("strategy", "bank")), *samplers[:1]])


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(v * w for v, w in zip(known, weights, strict=True)) / sum(weights) if len(known) == len(values) and sum(weights) else None


def chart_table(folder: str | os.PathLike, *, by: str, column: str = "") -> str:
    """Write ``chart.svg``, ``chart.html`` and ``chart.json`` beside a table.

    Args:
        folder: of the table.
        by: what the rows are drawn against, one of :data:`COSTS`. column: see :func:`priced_rows`.

    Returns:
        What to tell the user.

    Raises:
        SegGenError: see :func:`priced_rows`; or no row has both a figure and the cost.
    """
    check_choice("--by", by, COSTS)
    rows, column = priced_rows(folder, column)
    drawn, left_out = [row for row in rows if _is_drawn(row, by)], [row.name for row in rows if row.curve and not _is_drawn(row, by)]
    if not drawn:
        remedy = "train rows with banks" if by == "samples" else "make banks by tools/synthesize.py --estimate; it measures those that are whole, too"
        raise SegGenError(f"no row of {folder} can be drawn against its {by}", expected="rows that were run, whose banks tell it",
                          found=", ".join(left_out) or "rows without banks", remedy=remedy)
    levels = [Level(row.name, row.cell["mean"], row.cell["spread"]) for row in rows if not row.curve and row.values]
    svg = curves(list(_curves(drawn, by)), levels, COSTS[by], column)
    output = Path(folder)
    write_bytes(output / "chart.svg", svg.encode())
    write_bytes(output / "chart.html", _page(rows, svg, by, column, left_out).encode())
    write_json(output / "chart.json", {"by": by, "column": column, "rows": [_row_json(row) for row in rows]})
    told = f"\nnot drawn, as their {by} are not known: {', '.join(left_out)}" if left_out else ""
    listed = text_table(["setting", *HEADS, column, "difference"], [[row.name, *_texts(row)] for row in rows])
    return f"{listed}{told}\n{output / 'chart.svg'}, {output / 'chart.html'}"


def _is_drawn(row: Priced, by: str) -> bool:
    return bool(row.curve and row.values and getattr(row, by))


def _curves(rows: Sequence[Priced], by: str) -> Iterator[Curve]:
    for name in dict.fromkeys(row.curve for row in rows):
        points = (Point(row.name, float(getattr(row, by)), row.cell["mean"], row.values, _interval(row)) for row in rows if row.curve == name)
        yield Curve(name, tuple(points))


def _interval(row: Priced) -> tuple[float, ...]:
    found = row.cell.get("interval") or {}
    ends = (found.get("low"), found.get("high"))
    return () if None in ends or any(math.isnan(end) for end in ends) else ends


def _row_json(row: Priced) -> dict[str, Any]:
    return {"name": row.name, "curve": row.curve, "samples": row.samples, "evaluations": row.evaluations, "seconds": row.seconds, "cpu": row.cpu,
            "mean": row.cell["mean"], "spread": row.cell["spread"], "values": row.values, "difference": row.cell["difference"]}


def _page(rows: Sequence[Priced], svg: Markup, by: str, column: str, left_out: Sequence[str]) -> str:
    header = ["setting", *map(charts.right, (*HEADS, column, "difference")), ""]
    notes = ["Bars are the table's intervals of the means, small dots the seeds; the dashed line is what needs no bank."]
    notes += ["Evaluations are counted, and guidance takes two. Seconds are of one worker on the machine that made the banks, timed over some batches; "
              "what else ran there is in them, and hardly in the seconds of processor time, which leave a GPU's work out."]
    notes += [f"Not drawn, as their {by} are not known: {', '.join(left_out)}."] if left_out else []
    return document("chart", title=f"{column} against {COSTS[by]}", chart=svg, rows=table(header, [_row(row) for row in rows], "settings"),
                    notes=charts.bullets(notes))


def _row(row: Priced) -> list[Markup]:
    found = row.cell["difference"]
    return [tag("th", tag("b", row.name), tag("small", row.curve), scope="row"), *(charts.cell(text, "figure") for text in _texts(row)),
            charts.cell(charts.pill(found["verdict"]) if found else "")]


def _texts(row: Priced) -> list[str]:
    """A row's cost, its figure, and the difference with its interval."""
    found = row.cell["difference"]
    known = found and None not in (found["interval"]["low"], found["interval"]["high"])
    told = f"{found['mean']:+.2f} [{found['interval']['low']:+.2f}, {found['interval']['high']:+.2f}]".replace("-", "−") if known else "–"
    mean = number(none(row.cell["mean"])) + (f" ± {row.cell['spread']:.1f}" if row.cell["spread"] is not None else "")
    return [f"{row.samples:,}" if row.samples else "–", number(row.evaluations), number(row.seconds, 3), number(row.cpu, 3), mean, told]
