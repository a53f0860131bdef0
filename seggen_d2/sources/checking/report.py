"""A check's report as text: problems by kind, the gravest first, and how much there is of each category."""

from __future__ import annotations

from collections import defaultdict

from .dataset import CategoryUse, Report
from .problems import GRAVEST_FIRST, KINDS, SEVERITIES, Problem

_MOST_NAMES = 12


def report_text(report: Report, most: int = 5) -> str:
    """The report.

    Args:
        report: what was found.
        most: files shown of each kind; 0 shows all.
    """
    groups: defaultdict[str, list[Problem]] = defaultdict(list)
    for problem in report.problems:
        groups[problem.kind].append(problem)
    blocks = [_block(kind, groups[kind], most) for kind in GRAVEST_FIRST if kind in groups]
    counts = ", ".join(f"{report.count(severity)} {severity}s" for severity in SEVERITIES)
    ending = "training would stop, or learn from wrong labels" if report.failed else "nothing speaks against training"
    return "\n\n".join([*blocks, _use_text(report), f"{report.name}: {report.photos} photos, {counts}: {ending}"])


def _block(kind: str, problems: list[Problem], most: int) -> str:
    facts = KINDS[kind]
    shown = problems[: most or None]
    lines = [f"{facts.severity.upper()} ({len(problems)}): {facts.title}"]
    lines += [f"    {problem.file}: {problem.detail}" if problem.detail else f"    {problem.file}" for problem in shown]
    lines += [f"    and {len(problems) - len(shown)} more (--all)"] if len(problems) > len(shown) else []
    return "\n".join([*lines, f"  to do: {facts.remedy}"] if facts.remedy else lines)


def _use_text(report: Report) -> str:
    total = max(sum(use.pixels for use in report.use), 1)
    ranked = sorted(report.use, key=lambda use: -use.pixels)
    lines = ["categories, by their share of the labelled pixels:"]
    lines += [_row(use, total) for use in ranked[:_MOST_NAMES]]
    if len(ranked) > _MOST_NAMES:
        lines += [f"    ... {len(ranked) - _MOST_NAMES} more; the rarest: {', '.join(use.name for use in ranked[-5:])} (--json FILE holds all)"]
    return "\n".join([*lines, f"    {'unlabelled':<24} {report.unlabelled:>8.2%} of all pixels"])


def _row(use: CategoryUse, total: int) -> str:
    return f"    {use.name:<24.24} {use.pixels / total:>8.2%}   in {use.photos} photos"
