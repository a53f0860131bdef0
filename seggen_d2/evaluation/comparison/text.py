"""``table.md``: the table, its notes, and where each figure is from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from seggen_d2.evaluation.tables import number

from . import words
from .cells import Cell, Comparison
from .plan import Row
from .provenance import Origin


def markdown(table: Comparison, origin: Origin) -> str:
    """The whole file."""
    plan = table.plan
    facts = [f"{name}: {value}" for name, value in origin.facts() if value]
    runs = [(one.row, str(one.seed), f"`{one.folder}`", f"`{one.config}`" if one.config else words.DASH,
             f"[{one.copy}]({one.copy})" if one.copy else words.DASH, one.fingerprint or words.DASH) for one in origin.runs]
    parts = [f"# {plan.title}", "  \n".join(facts), _figures(table), _pairs(table), "\n".join(f"- {note}" for note in words.notes(table)), "## Runs",
             _pipes(("row", "seed", "run", "config", "resolved config", "fingerprint"), runs)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(table: Comparison) -> str:
    header = ["setting", "model", "against", "seeds"]
    header += [name for column in table.plan.columns for name in (column.name, "paper's", "difference; paper's")]
    rows = []
    for row in table.plan.rows:
        cells = [table.cells[row.name][column.name] for column in table.plan.columns]
        told = [text for cell in cells for text in (_ours(row, cell), number(cell.paper), _differences(cell))]
        rows.append([row.name, row.model, row.against or words.DASH, words.seeds(row, table), *told])
    return _pipes(header, rows)


def _ours(row: Row, cell: Cell) -> str:
    each = words.each(cell)
    return words.ours(row, cell) + (f" ({each})" if each else "")


def _pairs(table: Comparison) -> str:
    """Further comparisons, a line each."""
    if not table.pairs:
        return ""
    names = [column.name for column in table.plan.columns]
    rows = [(pair.row, pair.against, *(words.told(found[name]) if name in found else words.DASH for name in names)) for pair, found in table.pairs]
    return _pipes(("setting", "against", *(f"{name}, difference" for name in names)), rows)


def _differences(cell: Cell) -> str:
    return "; ".join([words.compared(cell), *([words.paper_difference(cell)] if cell.paper_difference is not None else [])])


def _pipes(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)
