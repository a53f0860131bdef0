"""Advice beside what full trainings gave: does the verdict hold, and do the classes move as it said?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from seggen_d2.evaluation.bootstrap import BETTER, NEITHER, WORSE
from seggen_d2.evaluation.comparison.words import signed
from seggen_d2.evaluation.tables import text_table
from seggen_d2.foundation.errors import SegGenError, nearest
from seggen_d2.foundation.files import read_json

WORDS = {BETTER: "helps", WORSE: "harms", NEITHER: "no difference seen"}  # of a table's verdicts
TOLD = {"gains": 1, "loses": -1}


@dataclass(frozen=True)
class Check:
    """Both sides.

    Attributes:
        advised, measured: the verdicts' words. overall: points of the mean, advised and measured.
        classes: by name the advised verdict, and the difference advised and measured, points; classes without a figure on either side are left out.
    """

    advised: str
    measured: str
    overall: tuple[float, float]
    classes: dict[str, tuple[str, float, float]]

    @property
    def wrong(self) -> tuple[str, ...]:
        """Classes that were said to gain or lose and did the other."""
        return tuple(name for name, (word, _, measured) in self.classes.items() if word in TOLD and TOLD[word] * measured < 0)

    @property
    def contradicted(self) -> bool:
        """One says helps and the other harms, or a class went the other way. Nothing seen on either side contradicts nothing."""
        return {self.advised, self.measured} == {"helps", "harms"} or bool(self.wrong)


def check(advice: str | os.PathLike, table: str | os.PathLike, row: str, column: str = "") -> Check:
    """Compare ``advice.json`` with a row of ``table.json``.

    Raises:
        SegGenError: a file cannot be read, or the table has no such row or column, or the row no difference to another.
    """
    told, cell = read_json(advice, "advice"), _cell(read_json(table, "table"), table, row, column)
    shown = next(way for way in told["ways"] if {key: way[key] for key in told["shown"]} == told["shown"])
    measured = cell["difference"]["per_class"]
    pairs = {name: (change["verdict"], change["value"], measured.get(name)) for name, change in shown["classes"].items()}
    return Check(told["verdict"], WORDS[cell["difference"]["verdict"]], (shown["overall"]["value"], cell["difference"]["mean"]),
                 {name: pair for name, pair in pairs.items() if None not in pair})


def _cell(table: dict[str, Any], path: str | os.PathLike, row: str, column: str) -> dict[str, Any]:
    rows = {one["name"]: one for one in table["rows"]}
    column = column or table["columns"][0]["name"]
    cells = rows[row]["cells"] if row in rows else {}
    if column not in cells:
        known = cells if row in rows else rows
        raise SegGenError(f"table {path} has no such {'column' if row in rows else 'row'}", expected=", ".join(known), found=column if row in rows else row,
                          remedy=nearest(column if row in rows else row, known))
    if not cells[column]["difference"]:
        raise SegGenError(f"row {row!r} of table {path} is compared with no other", expected="a row with a difference to real data alone", found="none",
                          remedy="name another --row, or make the table whole")
    return cells[column]


def check_text(found: Check) -> str:
    """Both sides, and how well they agree."""
    rows = [("mean", found.advised, *(signed(value, 1) for value in found.overall), found.measured)]
    rows += [(name, word, signed(advised, 1), signed(measured, 1), _agreement(word, measured)) for name, (word, advised, measured) in found.classes.items()]
    told = [name for name, (word, _, _) in found.classes.items() if word in TOLD]
    same = sum(advised * measured > 0 for _, advised, measured in found.classes.values())
    lines = [text_table(("", "advice", "points", "measured", "full trainings"), rows), "",
             f"classes said to gain or lose: {len(told)}, of which {len(told) - len(found.wrong)} did; same sign in {same} of {len(found.classes)} classes",
             "the verdict " + ("is contradicted" if {found.advised, found.measured} == {"helps", "harms"} else
                               "is the same" if found.advised == found.measured else "differs; neither side contradicts the other")]
    return "\n".join(lines)


def _agreement(word: str, measured: float) -> str:
    return "" if word not in TOLD else "as said" if TOLD[word] * measured > 0 else "the other way"
