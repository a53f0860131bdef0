"""What a table says about its figures, and only that: cells as text, and the notes below."""

from __future__ import annotations

from collections.abc import Iterator

from seggen_d2.evaluation.bootstrap import LEVEL, NEITHER
from seggen_d2.evaluation.tables import none, number

from .cells import Cell, Comparison, Difference
from .plan import Pair, Row

FEW_IMAGES = 30
NOT_RUN, MISSING, DASH = "not run", "missing", "–"
MEANS = "All figures are in percent, differences in points. “±” is the standard deviation over training seeds."
INTERVAL = (
    f"Brackets hold the {LEVEL:.0%} interval of a difference from {{replicates:,}} paired bootstrap draws of test images and of training seeds: the same "
    "images for both rows, and the same seeds where both have the same. As few seeds underrate how far seeds differ, their part is widened by Student’s t. "
    "“Better” and “worse” are said only where the interval excludes zero."
)
SHARE = "A share is that of the oracle’s gain: of what true samples in place of the synthetic ones would give. It is told where that gain is told from zero."
UNKNOWN_CHAINS = (
    "Where the generators and the banks were made once and stand under all seeds, the interval does not hold what making them again would change."
)
ONE_CHAIN = (
    "One labelled set, one training of each generator and one of each bank stand under all seeds: the interval does not hold what others would change."
)
CHAINS = (
    "{} labelled sets, each with generators and banks of its own, stand under the seeds in turn: the interval holds what others of those would change, "
    "but not what another base or pre-trained backbone would."
)
OF_FEW_IMAGES = (
    "{} test images are few: percentile intervals of so few are too narrow, and “better” or “worse” is said too often where there is nothing to tell."
)
ONE_SEED = (
    "One seed alone stands behind {}: how far seeds differ there is unknown, and the interval knows of test images alone, so that a difference may be "
    "one of seeds."
)


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


def each(cell: Cell) -> str:
    """``52.0, 53.4, 49.0``: every seed, by its number; "" where there is one, or none."""
    return ", ".join(number(none(cell.values[seed])) for seed in sorted(cell.values)) if len(cell.values) > 1 else ""


def share(found: Difference) -> str:
    """``45% of the oracle's``, or "" where there is none."""
    return "" if found.share is None else f"{found.share:.0f}% of the oracle’s".replace("-", "−")


def lost(cell: Cell) -> str:
    """How many seeds are missing; "" where none is."""
    return f"{len(cell.missing)} {MISSING}" if cell.missing else ""


def bounds(difference: Difference) -> str:
    """``[low, high]``."""
    return f"[{signed(difference.interval.low)}, {signed(difference.interval.high)}]"


def compared(cell: Cell) -> str:
    """``+1.20 [+0.40, +2.00] better, 45% of the oracle's``, or a dash."""
    found = cell.difference
    return DASH if found is None else ", ".join(filter(None, (told(found), share(found))))


def told(found: Difference) -> str:
    """``+1.20 [+0.40, +2.00] better``."""
    return f"{signed(found.mean)} {bounds(found)} {verdict(found)}"


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
    shares = [SHARE] if any(row.oracle for row in table.plan.rows) else []
    return [MEANS, INTERVAL.format(replicates=table.replicates), *shares, *caveats(table)]


def caveats(table: Comparison) -> list[str]:
    """What a reader must know before believing the table: of every table, of this one, and the plan's own."""
    few = sorted({count for count in table.images.values() if count < FEW_IMAGES})
    chains = table.plan.replications
    told = [UNKNOWN_CHAINS if not chains else ONE_CHAIN if chains == 1 else CHAINS.format(chains), *(OF_FEW_IMAGES.format(count) for count in few)]
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
    lines = [_sentence(row, column, cell.difference) for row, column, cell in cells if cell.difference]
    return lines + [_sentence(pair, column, found) for pair, differences in table.pairs for column, found in differences.items()]


def _sentence(row: Row | Pair, column: str, found: Difference) -> str:
    side, alone = "above" if found.mean >= 0 else "below", ", as far as one seed tells" if found.seeds == 1 else ""
    told = "these images and seeds do not tell the two apart" if found.interval.verdict == NEITHER else f"{found.interval.verdict} on images like these"
    name, reached = row.name if isinstance(row, Row) else row.row, f", {share(found)} gain" if found.share is not None else ""
    return f"“{name}” is {abs(found.mean):.2f} points {side} “{row.against}” in {column}, {bounds(found)}{reached}: {told}{alone}."
