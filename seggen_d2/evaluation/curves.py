"""Figures against a cost, as one SVG that needs no style from elsewhere: curves over a logarithmic axis, beside what costs nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seggen_d2.foundation.markup import Markup, join, tag

SIZE = (820, 430)  # width and height, CSS pixels
LEFT, RIGHT, TOP, BOTTOM = 62, 190, 36, 54
COLORS = ("#1f7a8c", "#b4632c", "#5b6abf", "#5d8a3a", "#a8477f", "#8a7a1f", "#44505c", "#c0392b")
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: #4d555d; }
.grid { stroke: #e4e1da; } .level { stroke: #22262b; stroke-dasharray: 5 4; stroke-width: 1.5; } .band { fill: #22262b; fill-opacity: .07; }
polyline { fill: none; stroke-width: 2; } .whisker { stroke-width: 5; stroke-opacity: .22; stroke-linecap: round; } .seed { fill-opacity: .45; }
"""


@dataclass(frozen=True)
class Point:
    """A setting: what it costs (above 0), the mean over seeds, percent, each seed's figure, and the interval of the mean ((), where there is none)."""

    name: str
    cost: float
    mean: float
    values: tuple[float, ...] = ()
    interval: tuple[float, ...] = ()


@dataclass(frozen=True)
class Curve:
    """Settings that differ in their cost, and what they have in common."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Level:
    """What costs nothing, such as real data alone: a figure in percent, and its deviation over seeds (None of one seed)."""

    name: str
    mean: float
    spread: float | None = None


@dataclass(frozen=True)
class _Axes:
    """From costs and percent to CSS pixels."""

    costs: tuple[float, float]
    percent: tuple[float, float]

    def x(self, cost: float) -> float:
        low, high = map(math.log, self.costs)
        return round(LEFT + (SIZE[0] - LEFT - RIGHT) * ((math.log(cost) - low) / (high - low) if high > low else 0.5), 1)

    def y(self, value: float) -> float:
        low, high = self.percent
        return round(SIZE[1] - BOTTOM - (SIZE[1] - BOTTOM - TOP) * (value - low) / (high - low), 1)


def curves(drawn: Sequence[Curve], levels: Sequence[Level], cost: str, figure: str) -> Markup:
    """The picture.

    Args:
        drawn: at least one point in all.
        levels: drawn as lines from side to side, with a band of their spread.
        cost, figure: words for the axes.
    """
    points = [point for curve in drawn for point in curve.points]
    axes = _Axes((min(p.cost for p in points), max(p.cost for p in points)), _percent(points, levels))
    shapes = [tag("title", f"{figure} against {cost}"), tag("style", Markup(STYLE)), tag("rect", x=0, y=0, width=SIZE[0], height=SIZE[1], fill="#ffffff")]
    shapes += [*_grid(axes, sorted({p.cost for p in points}), cost, figure), *(shape for level in levels for shape in _level(level, axes))]
    for place, curve in enumerate(drawn):
        shapes += _curve(curve, axes, COLORS[place % len(COLORS)])
    shapes += _legend(drawn)
    return tag("svg", shapes, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {SIZE[0]} {SIZE[1]}", width=SIZE[0], height=SIZE[1], role="img")


def _percent(points: Sequence[Point], levels: Sequence[Level]) -> tuple[float, float]:
    found = [value for p in points for value in (p.mean, *p.values, *p.interval)]
    found += [value for level in levels for value in (level.mean - (level.spread or 0), level.mean + (level.spread or 0))]
    step = step_of(max(found) - min(found))
    return math.floor(min(found) / step - 0.1) * step, math.ceil(max(found) / step + 0.1) * step


def step_of(span: float) -> float:
    """Between ticks: 1, 2 or 5 times a power of ten, five to ten of them in ``span``."""
    power = 10.0 ** math.floor(math.log10(max(span, 1.0) / 5))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * 10 >= max(span, 1.0))


def _grid(axes: _Axes, costs: Sequence[float], cost: str, figure: str) -> Iterator[Markup]:
    low, high = axes.percent
    step, right, last = step_of(high - low), SIZE[0] - RIGHT, -math.inf
    for place in range(round((high - low) / step) + 1):
        y = axes.y(low + place * step)
        yield tag("line", x1=LEFT, x2=right, y1=y, y2=y, class_="grid")
        yield tag("text", f"{low + place * step:g}", x=LEFT - 10, y=y + 4, text_anchor="end")
    for value in costs:
        x = axes.x(value)
        yield tag("line", x1=x, x2=x, y1=SIZE[1] - BOTTOM, y2=SIZE[1] - BOTTOM + 5, class_="grid")
        if x - last >= 36:
            last = x
            yield tag("text", f"{value:.3g}" if value < 1000 else f"{value:,.0f}", x=x, y=SIZE[1] - BOTTOM + 20, text_anchor="middle")
    yield tag("text", cost, x=(LEFT + right) / 2, y=SIZE[1] - 12, text_anchor="middle")
    yield tag("text", figure, x=LEFT - 48, y=TOP - 18)


def _level(level: Level, axes: _Axes) -> Iterator[Markup]:
    y, right = axes.y(level.mean), SIZE[0] - RIGHT
    if level.spread:
        top = axes.y(level.mean + level.spread)
        yield tag("rect", x=LEFT, y=top, width=right - LEFT, height=round(axes.y(level.mean - level.spread) - top, 1), class_="band")
    yield tag("line", x1=LEFT, x2=right, y1=y, y2=y, class_="level")
    yield tag("text", f"{level.name}: {level.mean:.1f}", x=right - 6, y=y - 6, text_anchor="end")


def _curve(curve: Curve, axes: _Axes, color: str) -> Iterator[Markup]:
    points = sorted(curve.points, key=lambda point: point.cost)
    yield tag("polyline", points=" ".join(f"{axes.x(p.cost)},{axes.y(p.mean)}" for p in points), stroke=color)
    for p in points:
        x = axes.x(p.cost)
        if p.interval:
            yield tag("line", x1=x, x2=x, y1=axes.y(p.interval[0]), y2=axes.y(p.interval[1]), class_="whisker", stroke=color)
        yield from (tag("circle", cx=x, cy=axes.y(value), r=3, class_="seed", fill=color) for value in p.values)
        told = f"{p.name}: {p.mean:.1f}" + (f" ({', '.join(f'{value:.1f}' for value in p.values)})" if len(p.values) > 1 else "")
        yield tag("g", tag("title", told), tag("circle", cx=x, cy=axes.y(p.mean), r=5, fill=color))


def _legend(drawn: Sequence[Curve]) -> Iterator[Markup]:
    for place, curve in enumerate(drawn):
        y = TOP + 8 + 20 * place
        dot = tag("circle", cx=SIZE[0] - RIGHT + 16, cy=y - 4, r=5, fill=COLORS[place % len(COLORS)])
        yield join(dot, tag("text", curve.name, x=SIZE[0] - RIGHT + 28, y=y))
