"""Measuring: ways of doing one thing take turns, so that whatever else the machine does meets all of them."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any


def interleaved(
    ways: Sequence[Callable[[int], Any]], turns: int, clock: Callable[[], float] = time.perf_counter, between: Callable[[], Any] = lambda: None
) -> list[list[float]]:
    """Seconds of ``way(turn)`` for each way, a list each, over ``turns`` turns; every turn begins with another way.

    Args:
        ways: each called once a turn, with the turn's number.
        turns: how many.
        clock: seconds. ``time.thread_time`` leaves out what other processes take, and serves one thread's arithmetic.
        between: called after each way, untimed.
    """
    seconds: list[list[float]] = [[0.0] * turns for _ in ways]
    for turn in range(turns):
        for place in range(len(ways)):
            which = (turn + place) % len(ways)
            start = clock()
            ways[which](turn)
            seconds[which][turn] = clock() - start
            between()
    return seconds


def median_ratio(seconds: Sequence[float], reference: Sequence[float]) -> float:
    """The median over turns of one way's seconds against another's in the same turn."""
    return statistics.median(a / b for a, b in zip(seconds, reference, strict=True))


def row(name: str, value: float, unit: str, ratio: float | None = None, reference: str = "") -> dict[str, Any]:
    """A row of ``tools/benchmark.py``: ``ratio`` is ``value`` against what ``reference`` names."""
    ratio = None if ratio is None else round(ratio, 4)
    return {"name": name, "value": round(value, 4), "unit": unit, "ratio": ratio, "reference": reference}


def rows_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text, a line each."""
    width = max(len(row["name"]) for row in rows)
    return "\n".join(_line(row, width) for row in rows)


def _line(row: dict[str, Any], width: int) -> str:
    ratio = "" if row["ratio"] is None else f"x {row['ratio']:.3f}"
    return f"{row['name']:<{width}}  {row['value']:>12,.3f} {row['unit']:<4}  {ratio:<9} {row['reference']}".rstrip()


def peak_rss_mb() -> float:
    """The largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
