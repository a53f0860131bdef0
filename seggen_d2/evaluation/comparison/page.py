"""``table.html``: the table with its intervals as pictures, the categories, what it shows and what not. One file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from seggen_d2.evaluation import charts
from seggen_d2.evaluation.bootstrap import BETTER, LEVEL, WORSE
from seggen_d2.evaluation.document import document
from seggen_d2.evaluation.tables import none, number
from seggen_d2.foundation.markup import Markup, join, table, tag

from . import words
from .cells import Cell, Comparison, Difference
from .plan import Column, Row
from .provenance import Origin
from .scoring import column_of

COLORS = {BETTER: "gain", WORSE: "loss"}  # classes of the style


def page(comparison: Comparison, origin: Origin) -> str:
    """The HTML document."""
    plan, main = comparison.plan, comparison.plan.columns[0]
    several = len(plan.columns) > 1
    shown = [part for column in plan.columns for part in (tag("h3", column.name) if several else "", _column(comparison, column))]
    return document(
        "table",
        title=plan.title,
        lead=join(plan.source and f"The paper: {plan.source}. ", "Ours: trained and tested with this package, at the size told below."),
        facts=charts.facts(_facts(comparison)),
        level=join(f"{LEVEL:.0%}"),
        tables=join(shown, _pairs(comparison)),
        main=join(main.name),
        figure=join(column_of(main.figure)),
        per_class=_per_class(comparison, main),
        meaning=charts.bullets(words.meaning(comparison) or ["There is no difference to tell of: no row is compared with another, or the runs are not there."]),
        caveats=charts.bullets(words.caveats(comparison)),
        origin=table(["", ""], [[tag("th", name, scope="row"), value] for name, value in origin.made() if value], "origin"),
        runs=_runs(origin),
    )


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    plan = comparison.plan
    images = sorted({*comparison.images.values()})
    told = [(plan.dataset, "dataset"), (plan.scale, "scale"), (plan.engine, "engine")]
    told += [(" / ".join(f"{count:,}" for count in images), "test images"), (str(sum(len(row.runs) for row in plan.rows)), "trainings"),
             (f"{comparison.replicates:,}", "bootstrap draws")]
    return [(value, name) for value, name in told if value]


def _column(comparison: Comparison, column: Column) -> Markup:
    """A row a setting: ours, seeds, the paper's, the difference and its picture, the verdict."""
    cells = {row.name: comparison.cells[row.name][column.name] for row in comparison.plan.rows}
    scale = _scale([*cells.values()])
    header = ["setting", charts.right(f"{column.figure}, ours"), charts.right("seeds"), charts.right("paper’s"), charts.right("difference")]
    header += [charts.axis(scale, "difference, points"), ""] if scale else []
    told = column is comparison.plan.columns[0]  # once is enough
    return table(header, [_row(row, cells[row.name], scale, row.not_run if told else "") for row in comparison.plan.rows], "settings")


def _row(row: Row, cell: Cell, scale: tuple[float, float] | None, reason: str) -> list[Markup]:
    about = [part for part in (row.model, row.against and f"against {row.against}", reason and f"{words.NOT_RUN}: {reason}") if part]
    name = tag("th", tag("b", row.name), tag("small", " · ".join(about)), scope="row")
    found = cell.difference
    told = join(words.signed(found.mean), tag("small", words.bounds(found)), _share(found)) if found else join(words.DASH)
    paper = join(number(cell.paper), tag("small", words.paper_difference(cell)) if cell.paper_difference is not None else "")
    smalls = [tag("small", text) for text in (words.each(cell), words.lost(cell)) if text]
    ours = join(tag("b", words.mean(cell)), smalls) if cell.values else words.ours(row, cell)
    cells = [charts.cell(ours, "figure stacked"), charts.cell(str(len(cell.values)) if cell.values else words.DASH, "figure"),
             charts.cell(paper, "figure stacked"), charts.cell(told, "figure stacked")]
    pictures = [charts.cell(_picture(row, cell, scale)), charts.cell(charts.pill(words.verdict(found)) if found else "")] if scale else []
    return [name, *cells, *pictures]


def _share(found: Difference) -> Markup | str:
    return tag("small", words.share(found)) if found.share is not None else ""


def _pairs(comparison: Comparison) -> Markup:
    """Further comparisons, a row a pair and column."""
    rows = [[tag("th", tag("b", pair.row), tag("small", f"against {pair.against}"), scope="row"), name,
             charts.cell(join(words.signed(found.mean), tag("small", words.bounds(found))), "figure stacked"), charts.cell(charts.pill(words.verdict(found)))]
            for pair, differences in comparison.pairs for name, found in differences.items()]
    return join(tag("h3", "Further comparisons"), table(["setting", "", charts.right("difference"), ""], rows, "settings")) if rows else join()


def _scale(cells: Sequence[Cell]) -> tuple[float, float] | None:
    """Around zero and all that is drawn; None where nothing is."""
    found = [cell.difference for cell in cells if cell.difference]
    ends = [value for one in found for value in (one.mean, one.interval.low, one.interval.high)]
    ends += [cell.paper_difference for cell in cells if cell.difference and cell.paper_difference is not None]
    known = [value for value in ends if not math.isnan(value)]
    return charts.scale_of([0.0, *known]) if known else None


def _picture(row: Row, cell: Cell, scale: tuple[float, float]) -> Markup:
    """Zero, the interval, the difference, and the paper's."""
    middle, shapes = charts.STRIP[1] / 2, [charts.rule(), charts.tick(0.0, scale, "zero")]
    if cell.difference:
        shapes += _marks(cell.difference, scale)
    if cell.difference and cell.paper_difference is not None:
        shapes.append(tag("circle", cx=charts.along(cell.paper_difference, scale), cy=middle, r=5, class_="ring"))
    return charts.strip(shapes, f"{row.name}: {words.compared(cell)}; the paper: {words.paper_difference(cell)}")


def _marks(found: Difference, scale: tuple[float, float]) -> list[Markup]:
    color, middle = COLORS.get(found.interval.verdict, "even"), charts.STRIP[1] / 2
    dot = tag("circle", cx=charts.along(found.mean, scale), cy=middle, r=5, class_=f"point {color}")
    if not found.interval.replicates:
        return [dot]
    low, high = (charts.along(value, scale) for value in (found.interval.low, found.interval.high))
    return [tag("line", x1=low, x2=high, y1=middle, y2=middle, class_=f"whisker {color}"), dot]


def _per_class(comparison: Comparison, column: Column) -> Markup:
    """A row a category, a column a setting that was run."""
    cells = {row.name: comparison.cells[row.name][column.name] for row in comparison.plan.rows}
    cells = {name: cell for name, cell in cells.items() if cell.values}
    if not cells:
        return tag("p", "No run is there.", class_="quiet")
    names = next(iter(cells.values())).per_class
    rows = [[name, *(charts.heat(none(cell.per_class[name]), note=_moved(cell, name)) for cell in cells.values())] for name in names]
    return charts.folded(table(["category", *(charts.right(name) for name in cells)], rows, "heat noted"), len(names))


def _moved(cell: Cell, name: str) -> str:
    return words.signed(cell.difference.per_class[name], 1) if cell.difference else ""


def _runs(origin: Origin) -> Markup:
    rows = [[one.row, charts.cell(str(one.seed), "figure"), tag("code", one.folder), tag("code", one.config) if one.config else words.DASH,
             tag("a", one.fingerprint, href=one.copy) if one.copy else words.DASH] for one in origin.runs]
    return table(["setting", charts.right("seed"), "run", "config", "resolved config"], rows, "stages") if rows else join()
