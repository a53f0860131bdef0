"""The page's tables: settings over seeds, figures by category, time and memory a stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from seggen_d2.foundation.markup import Markup, join, table, tag

from .tables import Summary, baseline_of, number

WORDS = {
    "real": "real data alone, the baseline",
    "real+seggen": "real samples swapped for synthetic ones of both banks",
    "real+imgsyn": "swapped for samples of the ImgSyn bank only",
    "real+masksyn": "swapped for samples of the MaskSyn bank only",
    "synthetic": "synthetic samples alone, never a real image",
    "pretrain-finetune": "synthetic samples first, then real data",
    "real+annotator": "swapped for generated images that a segmenter labelled",
    "synthetic-annotator": "those images alone, never a real one",
    "pretrained-real": "real data alone, from a pre-trained backbone",
    "pretrained-real+seggen": "both banks, from a pre-trained backbone",
    "real+oracle": "swapped for true scenes: what no generator can beat",
    "real+oracle-imgsyn": "swapped for the labelled layouts, truly painted in other looks",
}
STRIP = (260, 26)  # width and height of a row of dots, in CSS pixels
FOLD = 40  # categories past which the table is folded away


def settings_table(summaries: Sequence[Summary]) -> Markup:
    """A row a setting: mean, spread, seeds, difference, verdict, and a dot a seed on a common scale."""
    scale = scale_of([value for summary in summaries for value in summary.values])
    known = {summary.setting: summary for summary in summaries}
    metric = summaries[0].metric
    header = ["setting", right(metric), right("each seed"), right("difference"), "", axis(scale, f"{metric} of each seed")]
    return table(header, [_setting_row(summary, known.get(baseline_of(summary.setting)), scale) for summary in summaries], "settings")


def _setting_row(summary: Summary, baseline: Summary | None, scale: tuple[float, float]) -> list[Markup]:
    verdict = pill(summary.verdict) if summary.verdict else ""
    spread = "" if summary.spread is None else f" ± {summary.spread:.1f}"
    name = tag("th", tag("b", summary.setting), tag("small", WORDS.get(summary.setting, "")), scope="row")
    cells = [
        cell(join(tag("b", number(summary.mean)), spread), "figure"),
        cell(", ".join(number(value) for value in summary.values), "figure"),
        cell(_difference(summary), "figure stacked"),
    ]
    return [name, *cells, cell(verdict), cell(_dots(summary, baseline, scale))]


def _difference(summary: Summary) -> Markup:
    """The difference with its interval and its share of the oracle's."""
    if summary.difference is None:
        return join()
    found, share = summary.interval, summary.share
    told = [f"[{found.low:+.1f}, {found.high:+.1f}]"] if found else []
    told += [f"{share:.0f}% of the oracle’s"] if share is not None else []
    return join(signed(summary.difference), [tag("small", text.replace("-", "−")) for text in told])


def signed(value: float) -> str:
    """``+1.2`` or ``−0.3``."""
    return f"{value:+.1f}".replace("-", "−")


def _dots(summary: Summary, baseline: Summary | None, scale: tuple[float, float]) -> Markup:
    middle, height = STRIP[1] / 2, STRIP[1]
    shapes = []
    if baseline:
        low, high = (along(baseline.mean + sign * (baseline.spread or 0), scale) for sign in (-1, 1))
        shapes.append(tag("rect", x=low, y=0, width=max(1.5, high - low), height=height, class_="band"))
    shapes.append(rule())
    shapes += [tag("circle", cx=along(value, scale), cy=middle, r=4.5, class_="dot") for value in summary.values]
    shapes.append(tick(summary.mean, scale, "mean"))
    return strip(shapes, f"{summary.setting}: " + ", ".join(number(value) for value in summary.values))


def strip(shapes: Sequence[Markup], words: str) -> Markup:
    """A picture as high as a row; ``words`` say what it shows."""
    width, height = STRIP
    return tag("svg", tag("title", words), shapes, viewBox=f"0 0 {width} {height}", width=width, height=height, role="img")


def rule() -> Markup:
    """The line that a row's marks stand on."""
    return tag("line", x1=0, x2=STRIP[0], y1=STRIP[1] / 2, y2=STRIP[1] / 2, class_="rule")


def tick(value: float, scale: tuple[float, float], class_: str) -> Markup:
    """An upright line at a value."""
    return tag("line", x1=along(value, scale), x2=along(value, scale), y1=4, y2=STRIP[1] - 4, class_=class_)


def along(value: float, scale: tuple[float, float]) -> float:
    """Where on a strip a value stands, in CSS pixels."""
    return round(6 + (STRIP[0] - 12) * (value - scale[0]) / (scale[1] - scale[0]), 1)


def scale_of(values: Sequence[float]) -> tuple[float, float]:
    """Whole numbers around all values, with some room."""
    low, high = min(values), max(values)
    room = max(1.0, 0.06 * (high - low))
    return math.floor(low - room), math.ceil(high + room)


def axis(scale: tuple[float, float], words: str) -> Markup:
    """The head of a column of strips: what they show, between the ends of their scale."""
    ends = [tag("span", f"{value:g}".replace("-", "−")) for value in scale]
    return tag("th", tag("div", ends[0], tag("span", words), ends[1], class_="axis"), scope="col")


def pill(verdict: str) -> Markup:
    """``better``, ``worse`` and others, by colour."""
    return tag("span", verdict, class_="verdict " + verdict.replace(",", "").replace(" ", "-"))


def per_class_table(summaries: Sequence[Summary]) -> Markup:
    """A row a category, a column a setting, shaded by the figure; folded where there are many categories."""
    names = dict.fromkeys(name for summary in summaries for name in summary.per_class)
    header = ["category", *(right(summary.setting) for summary in summaries)]
    rows = [[name, *(heat(summary.per_class.get(name)) for summary in summaries)] for name in names]
    rows.append(
        [tag("th", "mean", scope="row", class_="total"), *(heat(summary.mean, "total") for summary in summaries)]
    )
    return folded(table(header, rows, "heat"), len(names))


def folded(shown: Markup, categories: int) -> Markup:
    """A table by category, closed at first where there are many."""
    return shown if categories <= FOLD else tag("details", tag("summary", f"{categories} categories"), shown)


def heat(value: float | None, class_: str = "", note: str = "") -> Markup:
    """A cell shaded by a figure in percent, with a ``note`` beside it; a dash for None."""
    style = None if value is None else f"--v:{value / 100:.3f}"
    return tag("td", number(value), tag("small", note) if note else "", class_=f"figure {class_}".strip(), style=style)


def stages_table(stages: Sequence[Mapping[str, Any]]) -> Markup:
    """A row a stage: seconds, with a bar, and peak memory."""
    longest = max((stage["seconds"] for stage in stages), default=0) or 1
    heaviest = max((stage["peak_rss_mb"] for stage in stages), default=0) or 1
    header = ["stage", right("time"), "", right("peak memory"), ""]
    rows = [
        [
            stage["name"],
            cell(duration(stage["seconds"]), "figure"),
            _bar(stage["seconds"] / longest),
            cell(f"{stage['peak_rss_mb']:,.0f} MB", "figure"),
            _bar(stage["peak_rss_mb"] / heaviest, "memory"),
        ]
        for stage in stages
    ]
    return table(header, rows, "stages")


def duration(seconds: float) -> str:
    """``8 s``, ``2 min 05 s`` or ``1 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


def legend(names: Sequence[str], colors: Sequence[Sequence[int]], ignore_color: Sequence[int]) -> Markup:
    """Each category's colour."""
    rows = [*zip(names, colors, strict=True), ("not labelled", ignore_color)]
    chips = [
        tag("span", tag("i", style=f"background:rgb({','.join(str(int(c)) for c in color)})"), name)
        for name, color in rows
    ]
    return tag("div", chips, class_="legend")


def facts(rows: Sequence[tuple[str, str]]) -> Markup:
    """``(value, words)`` each, in a line."""
    return join([tag("div", tag("b", value), tag("span", words)) for value, words in rows])


def bullets(lines: Sequence[str]) -> Markup:
    return tag("ul", [tag("li", line) for line in lines])


def _bar(share: float, class_: str = "") -> Markup:
    bar = tag("div", tag("i", style=f"width:{100 * share:.1f}%"), class_=f"bar {class_}".strip())
    return tag("td", bar, class_="wide")


def cell(content: str, class_: str | None = None) -> Markup:
    """A cell that is no row's head."""
    return tag("td", join(content), class_=class_)


def right(words: str) -> Markup:
    """A column's head above figures."""
    return tag("th", words, scope="col", class_="figure")
