"""``advice.html``: the verdict, the ways of training, the classes, and why. One file that needs nothing else."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from seggen_d2.evaluation import charts
from seggen_d2.evaluation.comparison.words import signed
from seggen_d2.evaluation.document import document
from seggen_d2.evaluation.tables import none, number, seed_spread
from seggen_d2.foundation.markup import Markup, join, table, tag

from . import words
from .advice import Advice
from .verdict import GAINS, HARMS, HELPS, LOSES, Change

COLORS = {HELPS: "gain", GAINS: "gain", HARMS: "loss", LOSES: "loss"}  # classes of the style
PILLS = {HELPS: "better", GAINS: "better", HARMS: "worse", LOSES: "worse"}


def page(found: Advice) -> str:
    """The HTML document."""
    verdict, several = found.verdict, len(found.facts) > 1
    banks = [one.root for one in found.facts]
    main = tag("div", tag("b", verdict.word), tag("small", words.recommendation(found)), class_="main")
    return document(
        "advice",
        title=f"Will {'they' if several else 'it'} help on {found.dataset}?",
        lead=join(words.headline(found)),
        headline=tag("div", main, class_="headline"),
        facts=charts.facts([(str(found.images), "held-out images"), (str(found.probes), "probes"),
                            (f"{sum(one.samples for one in found.facts):,}", "synthetic samples"), (_base(verdict.base), "mIoU on real data alone")]),
        ways=_table("way of training", [(str(one.arm), one.overall) for one in verdict.arms]),
        level=join(f"{verdict.level:.1%}"),
        shown=join(str(verdict.shown.arm)),
        classes=charts.folded(_table("class", list(verdict.shown.classes.items())), len(found.names)),
        statistics=charts.folded(_statistics(found), len(found.names)),
        why=charts.bullets([f"{reason.text}" + (f" To do: {reason.remedy}." if reason.remedy else "") for reason in found.reasons] or ["Nothing stands out."]),
        caveats=charts.bullets(words.caveats(found)),
        made=table(["", ""], [[tag("th", "probes", scope="row"), words.made(found)], *([tag("th", "bank", scope="row"), root] for root in banks)], "origin"),
    )


def _base(values: Sequence[float]) -> str:
    spread = seed_spread(values)
    return number(statistics.fmean(values)) + ("" if spread is None else f" ± {number(spread)}")


def _table(head: str, rows: Sequence[tuple[str, Change]]) -> Markup:
    """A row a figure: without, the difference and its picture, the chance of a gain, the verdict."""
    ends = [value for _, change in rows for value in (change.value, change.interval.low, change.interval.high) if not math.isnan(value)]
    scale = charts.scale_of([0.0, *ends])
    header = [head, charts.right("without"), charts.right("difference"), charts.axis(scale, "difference, points"), charts.right("chance of a gain"), ""]
    return table(header, [_row(name, change, scale) for name, change in rows], "settings")


def _row(name: str, change: Change, scale: tuple[float, float]) -> list[Markup]:
    told = join(signed(change.value, 1), tag("small", words.bounds(change)))
    pill = tag("span", change.verdict, class_=f"verdict {PILLS.get(change.verdict, '')}".strip())
    return [tag("th", tag("b", name), scope="row"), charts.cell(number(none(change.base)), "figure"), charts.cell(told, "figure stacked"),
            charts.cell(_picture(change, scale)), charts.cell(words.chance(change), "figure"), charts.cell(pill)]


def _picture(change: Change, scale: tuple[float, float]) -> Markup:
    """Zero, the interval and the difference."""
    shapes, middle = [charts.rule(), charts.tick(0.0, scale, "zero")], charts.STRIP[1] / 2
    if not math.isnan(change.value + change.interval.low):
        colour = COLORS.get(change.verdict, "even")
        low, high, value = (charts.along(end, scale) for end in (change.interval.low, change.interval.high, change.value))
        shapes.append(tag("line", x1=low, x2=high, y1=middle, y2=middle, class_=f"whisker {colour}"))
        shapes.append(tag("circle", cx=value, cy=middle, r=5, class_=f"point {colour}"))
    return charts.strip(shapes, f"{signed(change.value, 1)} {words.bounds(change)}")


def _statistics(found: Advice) -> Markup:
    header = ["class", *(charts.right(text) for text in ("pixels, real %", "bank %", "images, real %", "bank %", "labels agree, real %", "bank %"))]
    rows = []
    for place, name in enumerate(found.names):
        real, bank, *agree = words.statistics(found, place)
        held = [number(float(side.occurrence[place]), 0) for side in (found.real, found.bank)]
        rows.append([name, *(charts.cell(text, "figure") for text in (real, bank, *held, *agree))])
    return table(header, rows)
