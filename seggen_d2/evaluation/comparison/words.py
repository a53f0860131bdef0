"""What a table says about its figures, and only that: cells as text, and the notes below."""

from __future__ import annotations

from collections.abc import Iterator

from seggen_d2.evaluation.tables import none, number

from .bootstrap import LEVEL, NEITHER
from .cells import Cell, Comparison, Difference
from .plan import Row

FEW_IMAGES = 30
NOT_RUN, MISSING, DASH = "not run", "missing", "–"
MEANS = "All figures are in percent, differences in points. “±” is the standard deviation over training seeds."
INTERVAL = (
    f"Brackets hold the {LEVEL:.0%} interval of a difference from {{replicates:,}} paired bootstrap draws of the test images: the same images for both "
    "rows and all their seeds. “Better” and “worse” are said only where it excludes zero."
)
OVER_IMAGES = (
    "The interval is over test images: it tells how far a difference would move with other images of the same kind. It is not over trainings. "
    "The generators and the banks were made once; making them again, or training with other seeds, would move the figures too, by how much the "
    "interval does not say."
)
OF_FEW_IMAGES = (
    "{} test images are few: percentile intervals of so few are too narrow, and “better” or “worse” is said too often where there is nothing to tell."
)
ONE_SEED = "One seed alone stands behind {}: how far seeds differ there is unknown, so that a difference may be one of seeds."


def signed(value: float, digits: int = 2) -> str:
    """``+1.20`` or ``−0.30``; a dash for NaN."""
    return DASH if none(value) is None else f"{value:+.{digits}f}".replace("-", "−")


def ours(row: Row, cell: Cell) -> str:
    """The mean and spread of a row in a column, or why there is none."""
    if row.not_run:
        return NOT_RUN
    if not cell.values:
        return MISSING if cell.missing else DASH
    return mean(cell) + (f" ({lost(cell)})" if cell.missing else "")


def mean(cell: Cell) -> str:
    """``47.2 ± 0.3``, or with one seed ``47.2``."""
    return number(none(cell.mean)) + ("" if cell.spread is None else f" ± {number(none(cell.spread))}")


def lost(cell: Cell) -> str:
    """How many seeds are missing; "" where none is."""
    return f"{len(cell.missing)} {MISSING}" if cell.missing else ""


def bounds(difference: Difference) -> str:
    """``[low, high]``."""
    return f"[{signed(difference.interval.low)}, {signed(difference.interval.high)}]"


def compared(cell: Cell) -> str:
    """``+1.20 [+0.40, +2.00] better``, or a dash."""
    found = cell.difference
    return DASH if found is None else f"{signed(found.mean)} {bounds(found)} {verdict(found)}"


def paper_difference(cell: Cell) -> str:
    """The paper's difference, rounded as its figures are, or a dash."""
    return DASH if cell.paper_difference is None else signed(cell.paper_difference, 1)


def verdict(found: Difference) -> str:
    """What the interval says, and that it is of one seed where a side has no more."""
    return found.interval.verdict + (", one seed" if found.seeds == 1 else "")


def seeds(row: Row, table: Comparison) -> str:
    """How many seeds stand in a row: ``3``, or ``2–3`` where columns differ; a dash without runs."""
    counts = sorted({len(cell.values) for cell in table.cells[row.name].values() if cell.values})
    return DASH if not counts else DASH.join(str(count) for count in {counts[0]: None, counts[-1]: None})


def notes(table: Comparison) -> list[str]:
    """How to read the table, and its caveats."""
    return [MEANS, INTERVAL.format(replicates=table.replicates), *caveats(table)]


def caveats(table: Comparison) -> list[str]:
    """What a reader must know before believing the table: of every table, of this one, and the plan's own."""
    few = sorted({count for count in table.images.values() if count < FEW_IMAGES})
    told = [OVER_IMAGES, *(OF_FEW_IMAGES.format(count) for count in few)]
    alone = [row.name for row in table.plan.rows if any(len(cell.values) == 1 for cell in table.cells[row.name].values())]
    told += [ONE_SEED.format(", ".join(f"“{name}”" for name in alone))] if alone else []
    told += [f"Not run: “{row.name}”: {row.not_run}" for row in table.plan.rows if row.not_run]
    told += [f"Missing: {one}." for one in table.missing]
    return [*told, *_few(table), *table.plan.notes]


def _few(table: Comparison) -> Iterator[str]:
    """Figures that some draws of images leave undefined."""
    for row in table.plan.rows:
        for column, cell in table.cells[row.name].items():
            if cell.difference and cell.difference.interval.replicates < table.replicates:
                yield (f"“{row.name}”, {column}: {table.replicates - cell.difference.interval.replicates:,} of {table.replicates:,} draws hold nothing to "
                       "measure and have no part in the interval.")


def meaning(table: Comparison) -> list[str]:
    """A sentence for each difference, column by column."""
    cells = [(row, column.name, table.cells[row.name][column.name]) for column in table.plan.columns for row in table.plan.rows]
    return [_sentence(row, column, cell.difference) for row, column, cell in cells if cell.difference]


def _sentence(row: Row, column: str, found: Difference) -> str:
    side, alone = "above" if found.mean >= 0 else "below", ", as far as one seed tells" if found.seeds == 1 else ""
    told = "these test images do not tell the two apart" if found.interval.verdict == NEITHER else f"{found.interval.verdict} on images like these"
    return f"“{row.name}” is {abs(found.mean):.2f} points {side} “{row.against}” in {column}, {bounds(found)}: {told}{alone}."
